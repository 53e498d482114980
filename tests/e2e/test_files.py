"""Files that go in and come out: inputs, outputs, what is left elsewhere, logs."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster_kit import Cluster, program, tree, until

#: Writes what lies in its current folder.
LISTING = """
import json, os
found = {}
for place, folders, names in os.walk("."):
    for name in folders + names:
        path = os.path.join(place, name)
        found[os.path.relpath(path)] = os.path.getsize(path) if os.path.isfile(path) else None
assert found.pop("discomputify_conf.json")  # the node's, for old programs
with open(os.path.join(os.environ["DISCOMPUTIFY_OUTPUT_PATH"], "listing.json"), "w") as file:
    json.dump(found, file)
"""

OUTPUTS = """
import os, pathlib, sys
out = pathlib.Path(os.environ["DISCOMPUTIFY_OUTPUT_PATH"])
assert out == pathlib.Path.cwd() / "OUTPUT_PATH" and not any(out.iterdir())
(out / "deep" / "er").mkdir(parents=True)
(out / "deep" / "er" / "grüße 東京.txt").write_bytes(b"\\x00\\xff" * int(sys.argv[1]))
(out / "nothing").mkdir()
(out / "empty").touch()
(out / "tool.sh").write_text("#!/bin/sh\\n")
(out / "tool.sh").chmod(0o755)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"), ("127.0.0.1", "127.0.0.2"))
    try:
        yield made.start()
    finally:
        made.close()


# --- in -------------------------------------------------------------------------------------------


def listings(cluster: Cluster, folder: Path, process_id: str, *options: object) -> list[dict[str, int | None]]:
    """What each of two parts saw in its folder, without the program and the empty OUTPUT_PATH."""
    cluster.submit(folder, "-n", 2, "--process-id", process_id, *options).ok()
    found = []
    for part in (1, 2):
        path = cluster.here / process_id / f"{process_id}_{part}_2" / "listing.json"
        seen = json.loads(path.read_text(encoding="utf-8"))
        assert seen.pop("main.py")
        assert seen.pop("OUTPUT_PATH", 0) is None
        found.append(seen)
    return found


def test_all_inputs_are_in_place_before_a_part_starts(cluster: Cluster, tmp_path: Path) -> None:
    files = {
        "INPUT_PATH/1/a": "A",
        "INPUT_PATH/empty": "",
        "INPUT_PATH/ü 1.txt": "12",
        "INPUT_PATH/none/": "",
        "lib/x.py": "",
        "void/": "",
    }
    folder = program(tmp_path / "program", LISTING, files)
    everything = {
        "INPUT_PATH": None,
        "INPUT_PATH/1": None,
        "INPUT_PATH/1/a": 1,
        "INPUT_PATH/empty": 0,
        "INPUT_PATH/ü 1.txt": 2,
        "INPUT_PATH/none": None,
        "lib": None,
        "lib/x.py": 0,
        "void": None,
    }
    assert listings(cluster, folder, "all") == [everything, everything]


def test_a_pattern_gives_each_part_its_slice_only(cluster: Cluster, tmp_path: Path) -> None:
    files = {f"INPUT_PATH/{part}/deep/{part}": "x" * part for part in (1, 2)} | {"lib.py": ""}
    folder = program(tmp_path / "program", LISTING, files)
    first, second = listings(cluster, folder, "slices", "--inputs", "INPUT_PATH/{part}/**")
    for part, seen in ((1, first), (2, second)):
        files_seen = {name: size for name, size in seen.items() if size is not None}
        assert files_seen == {"lib.py": 0, f"INPUT_PATH/{part}/deep/{part}": part}


def test_lazy_inputs_come_when_they_are_opened(cluster: Cluster, tmp_path: Path) -> None:
    main = """
import os
from discomputify_core import program
assert os.listdir("INPUT_PATH") == [], os.listdir("INPUT_PATH")
with program.open(f"{program.part()}/in.txt") as file, program.open("out.txt", "w") as out:
    out.write(file.read() + " " + " ".join(sorted(os.listdir("INPUT_PATH"))))
"""
    files = {f"INPUT_PATH/{part}/in.txt": f"for {part}" for part in (1, 2)}
    folder = program(tmp_path / "program", main, files)
    cluster.submit(folder, "-n", 2, "--process-id", "lazy", "--inputs", "lazy").ok()
    for part in (1, 2):
        said = cluster.here / "lazy" / f"lazy_{part}_2" / "out.txt"
        assert said.read_text(encoding="utf-8") == f"for {part} {part}"


def test_a_part_cannot_change_what_later_parts_get(cluster: Cluster, tmp_path: Path) -> None:
    main = """
import os, pathlib
data = pathlib.Path("INPUT_PATH/data")
(pathlib.Path("OUTPUT_PATH") / "seen").write_bytes(data.read_bytes())
data.chmod(0o600)
with data.open("r+b") as file:
    file.write(b"CHANGED!")
"""
    folder = program(tmp_path / "program", main, {"INPUT_PATH/data": "original"})
    for process_id in ("change-1", "change-2"):
        status = cluster.submit(folder, "-n", 4, "--process-id", process_id).ok().json
        assert "INPUT_PATH/data" in status["warnings"][0]
        seen = {path.read_bytes() for path in (cluster.here / process_id).glob("*/seen")}
        assert seen == {b"original"}


# --- out ------------------------------------------------------------------------------------------


def test_outputs_are_exactly_what_the_parts_left(cluster: Cluster, tmp_path: Path) -> None:
    folder = program(tmp_path / "program", OUTPUTS)
    cluster.submit(folder, "-n", 2, "--process-id", "exact", "--out", tmp_path / "out").ok()
    for part in (1, 2):
        found = tmp_path / "out" / "exact" / f"exact_{part}_2"
        assert tree(found) == {
            "deep": None,
            "deep/er": None,
            "deep/er/grüße 東京.txt": b"\x00\xff" * part,
            "empty": b"",
            "nothing": None,
            "tool.sh": b"#!/bin/sh\n",
        }
        assert stat.S_IMODE((found / "tool.sh").stat().st_mode) & 0o111
        assert not stat.S_IMODE((found / "empty").stat().st_mode) & 0o111
    names = {path.name for path in (tmp_path / "out" / "exact").iterdir() if not path.name.startswith(".")}
    assert names == {"exact_1_2", "exact_2_2", "logs"}


def test_one_part_is_fetched_alone(cluster: Cluster, tmp_path: Path) -> None:
    folder = program(tmp_path / "program", OUTPUTS)
    cluster.submit(folder, "-n", 3, "--process-id", "three").ok()
    fetched = cluster.cli("fetch", "three", "--part", 2, "--out", tmp_path / "one", "--json").ok().json
    assert (fetched["parts"], fetched["files"]) == (1, 3)
    assert [path.name for path in (tmp_path / "one" / "three").glob("three_*")] == ["three_2_3"]
    refused = cluster.cli("fetch", "three", "--part", 4, "--out", tmp_path / "one")
    assert refused.code == 2
    assert "there is no part 4" in refused.err
    # A second fetch adds the rest, and what is there stays.
    cluster.cli("fetch", "three", "--out", tmp_path / "one").ok()
    assert tree(tmp_path / "one" / "three") == tree(cluster.here / "three")


def test_files_elsewhere_are_named_or_collected(cluster: Cluster, tmp_path: Path) -> None:
    main = """
import pathlib, sys
pathlib.Path("result.csv").write_text(sys.argv[1])
pathlib.Path("plots").mkdir()
pathlib.Path("plots/a.svg").write_text("svg")
"""
    folder = program(tmp_path / "program", main)
    ran = cluster.cli("submit", folder, "-n", 2, "--process-id", "strays").ok()
    assert "warning: " in ran.out
    assert "plots/a.svg, result.csv" in ran.out
    assert "--collect" in cluster.cli("status", "strays").ok().out
    status = cluster.submit(folder, "-n", 2, "--process-id", "home", "--collect", "*.csv", "--collect", "plots/").ok()
    assert status.json["warnings"] == []
    assert tree(cluster.here / "home" / "collected") == {
        "1": None,
        "1/plots": None,
        "1/plots/a.svg": b"svg",
        "1/result.csv": b"1",
        "2": None,
        "2/plots": None,
        "2/plots/a.svg": b"svg",
        "2/result.csv": b"2",
    }


# --- logs -----------------------------------------------------------------------------------------


def test_every_attempts_log_is_kept(cluster: Cluster, tmp_path: Path) -> None:
    main = """
import os, sys
attempt = os.environ["DISCOMPUTIFY_ATTEMPT"]
print("attempt", attempt)
print("trouble", attempt, file=sys.stderr)
sys.exit(0 if attempt == "2" else 5)
"""
    folder = program(tmp_path / "program", main)
    cluster.submit(folder, "-n", 1, "--process-id", "tries").ok()
    for options, number in (((), 2), (("--attempt", 1), 1), (("--attempt", 2), 2)):
        ran = cluster.cli("logs", "tries", *options).ok()
        assert (ran.out, ran.err) == (f"attempt {number}\n", f"trouble {number}\n")
    assert cluster.cli("logs", "tries", "--stream", "err").ok().out == ""
    unknown = cluster.cli("logs", "tries", "--attempt", 3)
    assert unknown.code == 2
    assert "no attempt 3; there are: 1, 2" in unknown.err
    logs = cluster.here / "tries" / "logs"
    assert tree(logs) == {"1.out": b"attempt 2\n", "1.err": b"trouble 2\n"}
    assert "exit code 5" in cluster.why("tries.1")
    cluster.cli("clear", "tries").ok()
    assert cluster.cli("logs", "tries").code == 2


def test_logs_are_followed_live(cluster: Cluster, tmp_path: Path) -> None:
    main = """
import os, time
print("first")
while not os.path.exists(os.environ["GO"]):
    time.sleep(0.02)
print("second")
"""
    go = tmp_path / "go"
    folder = program(tmp_path / "program", main)
    cluster.submit(folder, "-n", 1, "--process-id", "live", "--detach", "--env", f"GO={go}").ok()
    until(lambda: cluster.status("live")["parts"]["running"] == 1)
    follow = cluster.spawn("logs", "live", "-f")
    follow.line("first")
    assert follow.running
    assert cluster.cli("logs", "live").ok().out == "first\n"
    go.touch()
    assert follow.wait().out == "first\nsecond\n"


def test_a_flood_of_output_is_capped_with_a_mark(cluster: Cluster, tmp_path: Path) -> None:
    main = """
import os, sys
sys.stdout.write("begin\\n")
for number in range(40):
    sys.stdout.write(str(number % 10) * (1 << 20))
sys.stdout.write("\\nend\\n")
"""
    folder = program(tmp_path / "program", main)
    cluster.submit(folder, "-n", 1, "--process-id", "flood").ok()
    kept = (cluster.here / "flood" / "logs" / "1.out").read_bytes()
    assert len(kept) < 17 << 20
    assert kept.startswith(b"begin\n000")
    assert kept.endswith(b"999\nend\n")
    before, _, after = kept.partition(b"\n[discomputify: ")
    left_out, _, after = after.partition(b" bytes of output were left out here]\n")
    assert len(before) + int(left_out.replace(b",", b"")) + len(after) == (40 << 20) + len("begin\n\nend\n")


def test_nothing_of_jobs_stays_in_work_folders(cluster: Cluster, tmp_path: Path) -> None:
    before = set(cluster.temporary.iterdir())
    cluster.submit(program(tmp_path / "program", OUTPUTS), "-n", 4, "--process-id", "tidy").ok()

    def left() -> list[str]:
        works = [cluster.folder / "machines" / node / "work" for node in cluster.nodes]
        return [name for work in works for _, folders, _ in os.walk(work) for name in folders if "tidy" in name]

    until(lambda: not left())
    assert set(cluster.temporary.iterdir()) == before
