"""Disks that are full or cannot be written, at store, node and client: the path is named, nothing half shows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .bad_kit import GOOD, NODE, check_serving, check_working, inside, told
from .cluster_kit import Cluster, Ran, program, tree, until
from .disks import MIB, SIZE, filled, free, mounted

#: Writes as many bytes as its argument says.
WRITES = "import os, sys\nopen('OUTPUT_PATH/big', 'wb').write(os.urandom(int(sys.argv[4])))\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Store, work folders and cache are on small disks of their own."""
    folder = tmp_path_factory.mktemp("cluster")
    machines = folder / "machines"
    with contextlib.ExitStack() as stack:
        for place in ("store/store", f"{NODE}/work", f"{NODE}/cache"):
            stack.enter_context(mounted(machines / place))
        made = Cluster(folder, (NODE,), SLOTS=1)
        stack.callback(made.close)
        made.start()
        program(folder / "good", GOOD)
        program(folder / "writes", WRITES)
        yield made


@pytest.fixture(autouse=True)
def still_serving(cluster: Cluster) -> Iterator[None]:
    yield
    check_serving(cluster)
    check_working(cluster, cluster.folder / "good")


def place(cluster: Cluster, name: str) -> Path:
    """A folder on a small disk: ``store``, ``work`` or ``cache``."""
    return cluster.folder / "machines" / ("store" if name == "store" else NODE) / name


def visible(folder: Path) -> list[str]:
    """Files below *folder* that a user, or a service that starts, could take for whole ones."""
    return [
        path for path, data in tree(folder).items() if data is not None and not path.startswith(("incoming/", "lock"))
    ]


def submit(cluster: Cluster, folder: Path, job: str, *options: object) -> Ran:
    return cluster.cli("submit", folder, "-n", 1, "--process-id", job, *options)


def failed(cluster: Cluster, ran: Ran, job: str, *words: object) -> dict[str, Any]:
    """The job failed, and *words* are in every answer about it."""
    assert ran.code == 1, ran.err
    assert "Traceback (most" not in ran.err
    assert "bug in discomputify" not in ran.out + ran.err
    status: dict[str, Any] = inside(cluster.conf, "status", job, "--json").ok().json
    why = inside(cluster.conf, "why", f"{job}.1").ok().out
    assert (status["state"], status["parts"]["failed"]) == ("failed", 1)
    for word in map(str, words):
        assert word in ran.out
        assert word in status["reason"]
        assert word in why
    return status


# --- the store -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files",
    [{"big": os.urandom(SIZE + MIB)}, {f"data/{number}": os.urandom(60_000) for number in range(400)}],
    ids=["one file", "many files"],
)
def test_an_upload_that_does_not_fit(cluster: Cluster, tmp_path: Path, files: dict[str, bytes]) -> None:
    store = place(cluster, "store")
    held = visible(store)
    ran = submit(cluster, program(tmp_path / "big", GOOD, files), "toobig")
    told(ran, 1, "No space", str(store), "Free space there", lines=3)
    assert inside(cluster.conf, "status", "--json").ok().json == []
    sizes = {len(data) for data in (*files.values(), GOOD.encode())}
    assert {(store / path).stat().st_size for path in set(visible(store)) - set(held)} <= sizes
    assert not list(store.rglob("*.new"))
    # What had arrived does not keep the disk full.
    assert free(store) > SIZE // 4


def test_outputs_that_do_not_fit_into_the_store_wait_until_they_do(cluster: Cluster) -> None:
    store = place(cluster, "store")
    with filled(store, 2 * MIB):
        submit(cluster, cluster.folder / "writes", "full", "--detach", "--", 3 * MIB).ok()
        until(lambda: "wait for room in the store" in cluster.cli("why", "full.1").ok().out)
        status: dict[str, Any] = inside(cluster.conf, "status", "full", "--json").ok().json
        assert (status["state"], status["parts"]["running"]) == ("running", 1)
        assert max((store / path).stat().st_size for path in visible(store) if path != "filler") < MIB
    cluster.cli("wait", "full").ok()
    cluster.cli("fetch", "full").ok()
    assert (cluster.here / "full" / "full_1_1" / "big").stat().st_size == 3 * MIB
    assert "attempt 2" not in cluster.cli("why", "full.1").ok().out


def test_a_store_that_cannot_be_written(cluster: Cluster, tmp_path: Path) -> None:
    incoming = place(cluster, "store") / "incoming"
    new = program(tmp_path / "new", GOOD, {"data": os.urandom(1000)})
    with mounted(incoming, "ro"):
        told(submit(cluster, new, "readonly"), 2, str(incoming), "Read-only file system")
    submit(cluster, new, "readonly").ok()


def test_folders_that_cannot_be_written_stop_a_role_at_once(cluster: Cluster, tmp_path: Path) -> None:
    with mounted(tmp_path / "readonly", "ro") as folder:
        for role, key in (
            ("ftp_node", "FTP_BASE_PATH"),
            ("computing_node", "WORK_PATH"),
            ("computing_node", "CACHE_PATH"),
        ):
            conf = cluster.write_conf(
                "spare", **{key: str(folder / "below"), "FTP_NODE": "127.0.0.7", "COMP_NODE": "spare"}
            )
            told(cluster.cli("run", role, conf=conf), 2, str(folder / "below"), "ead-only")
        told(cluster.cli("run", "master_node", "--log-file", folder / "log"), 2, str(folder / "log"))


# --- the node ------------------------------------------------------------------------------------


def test_a_program_that_fills_the_work_folders(cluster: Cluster) -> None:
    work = place(cluster, "work") / NODE
    ran = submit(cluster, cluster.folder / "writes", "fills", "--", SIZE + MIB)
    failed(cluster, ran, "fills", "No space left on device", f"Work folders there are in {work}")
    assert not (cluster.here / "fills" / "fills_1_1").exists()
    assert not [path for path in work.iterdir() if path.is_dir()]


def test_a_program_that_prints_more_than_the_disk_holds(cluster: Cluster, tmp_path: Path) -> None:
    prints = "import sys\nfor _ in range(18_000): print('x' * 1000)\nopen('OUTPUT_PATH/done', 'w').close()\n"
    ran = submit(cluster, program(tmp_path / "prints", prints), "prints")
    # Losing a log is no reason to lose a result; but nobody is told that all is well when it is not.
    assert ran.code in (0, 1)
    assert "bug in discomputify" not in ran.out + ran.err
    if ran.code:
        failed(cluster, ran, "prints", place(cluster, "work"))
    assert not [path for path in (place(cluster, "work") / NODE).iterdir() if path.is_dir()]


@pytest.mark.parametrize("name", ["cache", "work"])
def test_a_node_without_room_takes_no_parts_until_it_has(cluster: Cluster, tmp_path: Path, name: str) -> None:
    folder = place(cluster, name)
    # Less than a tenth of the disk, which is what the cache may hold; more than it could make room for.
    big = program(tmp_path / "big", GOOD, {"data": os.urandom(MIB * 3 // 2)})
    full = f"the disk of {folder / NODE} is nearly used up"
    with filled(folder, MIB // 8):
        until(lambda: full in cluster.cli("nodes", "--json").ok().out)
        submit(cluster, big, "noroom", "--detach").ok()
        until(lambda: full in cluster.cli("why", "noroom").ok().out)
        assert not list(folder.rglob("data"))
    cluster.cli("wait", "noroom").ok()
    assert "attempt 2" not in cluster.cli("why", "noroom.1").ok().out


@pytest.mark.parametrize(("name", "below"), [("work", NODE), ("cache", f"{NODE}/blobs")])
def test_a_node_whose_folders_become_read_only(cluster: Cluster, tmp_path: Path, name: str, below: str) -> None:
    folder = place(cluster, name) / below
    new = program(tmp_path / "new", GOOD, {"data": os.urandom(1000)})
    with mounted(folder, "ro"):
        failed(cluster, submit(cluster, new, "readonly"), "readonly", "could not be run", folder, "ead-only")
    submit(cluster, new, "writable").ok()


# --- the client ----------------------------------------------------------------------------------


def test_a_client_without_room_for_outputs(cluster: Cluster, tmp_path: Path) -> None:
    with mounted(tmp_path / "small") as out, filled(out, MIB):
        ran = submit(cluster, cluster.folder / "writes", "home", "--out", out, "--", 2 * MIB)
        assert "discomputify fetch home" in told(ran, 2, "No space", str(out / "home"), lines=6)
        told(cluster.cli("fetch", "home", "--out", out), 2, "No space", str(out / "home"))
        # What is there is whole.
        assert sorted(tree(out / "home")) in ([".discomputify_job", "logs"], [".discomputify_job", "logs", *LOGS])
    cluster.cli("wait", "home").ok()
    cluster.cli("fetch", "home", "--out", tmp_path / "roomy").ok()
    assert (tmp_path / "roomy" / "home" / "home_1_1" / "big").stat().st_size == 2 * MIB


LOGS = ["logs/1.err", "logs/1.out"]


def test_a_client_that_may_not_write(cluster: Cluster, tmp_path: Path) -> None:
    with mounted(tmp_path / "readonly", "ro") as out:
        for where in (out, out / "deeper" / "still"):
            # Said before anything is uploaded.
            told(submit(cluster, cluster.folder / "good", "nowhere", "--out", where), 2, str(where / "nowhere"))
        assert inside(cluster.conf, "status", "--json").ok().json == []
        submit(cluster, cluster.folder / "good", "here").ok()
        told(cluster.cli("fetch", "here", "--out", out), 2, str(out / "here"), "Read-only")
        # The embedded cluster needs a temporary folder.
        local = submit(cluster, cluster.folder / "good", "there", "--local", "--out", tmp_path)
        local.ok()
    with mounted(tmp_path / "tiny") as temporary, filled(temporary, 64 * 1024):
        big = program(tmp_path / "big", GOOD, {"data": os.urandom(MIB)})
        ran = cluster.cli("submit", big, "-n", 1, "--local", env={"TMPDIR": str(temporary)})
        told(ran, 1, "No space", str(temporary), lines=2)
        assert [path.name for path in temporary.iterdir()] == ["filler"]
