"""Jobs whose parts start together, on a real cluster of two nodes with two slots each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster_kit import Cluster, Process, program, until

NODES = ("127.0.0.1", "127.0.0.2")
#: Ends well once as many parts of its job run at one time as PARTS says, and the file "go" is there.
MEET = """
import os, pathlib, sys, time

there = pathlib.Path(os.environ["THERE"])
(there / f"{sys.argv[3]}.{sys.argv[1]}").touch()
end = time.monotonic() + 80
while len(list(there.glob(f"{sys.argv[3]}.*"))) < int(os.environ["PARTS"]) or not (there / "go").exists():
    if time.monotonic() > end:
        sys.exit("the others did not come")
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("together"), NODES)
    try:
        yield made.start()
    finally:
        made.close()


class Place:
    """A folder in which parts meet; parts in it go on when they may."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.there = folder / "there"
        self.there.mkdir()
        self.program = program(folder / "program", MEET)

    def start(self, process_id: str, parts: int, *options: object) -> None:
        env = ("--env", f"THERE={self.there}", "--env", f"PARTS={parts}")
        found = self.cluster.submit(self.program, "-n", parts, "--process-id", process_id, "--detach", *env, *options)
        found.ok()

    def came(self, process_id: str) -> int:
        return len(list(self.there.glob(f"{process_id}.*")))

    def go(self) -> None:
        (self.there / "go").touch()

    def ends(self, *process_ids: str) -> None:
        waiting: list[Process] = [self.cluster.spawn("wait", process_id) for process_id in process_ids]
        assert [each.wait().code for each in waiting] == [0] * len(waiting)


@pytest.fixture
def place(cluster: Cluster, tmp_path: Path) -> Place:
    return Place(cluster, tmp_path)


def test_parts_wait_for_room_for_all_and_start_at_once(cluster: Cluster, place: Place, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Place(cluster, tmp_path / "other")
    other.start("long", 1)
    until(lambda: other.came("long"))
    place.start("gang", 4, "--together")
    cluster.why(
        "gang",
        "gang is waiting: its 4 parts start together: 3 of 4 would fit now; "
        "waiting for 1 more free slot on 127.0.0.1, 127.0.0.2\n",
    )
    assert cluster.status("gang")["parts"]["ready"] == 4
    place.go()
    other.go()
    place.ends("gang")
    other.ends("long")
    assert cluster.status("gang")["nodes"] == {"127.0.0.1": 2, "127.0.0.2": 2}


def test_a_gang_that_can_never_fit_says_so_and_lets_others_pass(cluster: Cluster, place: Place) -> None:
    place.go()
    place.start("huge", 5, "--together")
    place.start("tiny", 4)
    place.ends("tiny")
    cluster.why("huge", "its 5 parts start together and need 5 CPUs; the connected nodes have 4 in all (")
    cluster.why("huge.2", "part 2 is ready: its 5 parts start together and need 5 CPUs")
    cluster.cli("stop", "huge").ok()
    assert cluster.status("huge")["parts"]["stopped"] == 5


def test_two_gangs_go_one_after_the_other(cluster: Cluster, place: Place) -> None:
    place.start("first", 3, "--together")
    place.start("second", 4, "--together")
    until(lambda: place.came("first") == 3)
    cluster.why("second", "1 of 4 would fit now")
    assert place.came("second") == 0
    place.go()
    place.ends("first", "second")
