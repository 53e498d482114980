"""Jobs that follow each other, on a real cluster, by the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from .cluster_kit import NODES, Cluster, program, tree, until

MAPREDUCE = Path(__file__).resolve().parents[2] / "examples" / "mapreduce"
QUICK = "import sys; open('OUTPUT_PATH/n', 'w').write(sys.argv[1])"
WAITS = """
import pathlib, sys, time
while not pathlib.Path(sys.argv[4]).exists():
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes with two slots each. A test that kills one starts it again."""
    made = Cluster(tmp_path_factory.mktemp("dependencies"))
    try:
        yield made.start()
    finally:
        made.close()


def submit(cluster: Cluster, folder: Path, name: str, *options: object, parts: int = 1) -> None:
    """Start a job and do not wait for it."""
    ran = cluster.submit(folder, "-n", parts, "--process-id", name, "--detach", *options)
    assert ran.code == 0, ran.err


def test_a_chain_runs_in_its_order_and_is_shown_as_a_tree(cluster: Cluster, tmp_path: Path) -> None:
    waits, go, on = program(tmp_path / "waits", WAITS), tmp_path / "go", tmp_path / "on"
    submit(cluster, waits, "one", "--", go, parts=2)
    submit(cluster, waits, "two", "--after", "one", "--", on)
    submit(cluster, program(tmp_path / "quick", QUICK), "three", "--after", "one,two")
    cluster.why("three", "waits for 'one' (running, 0 of 2 parts done) and 'two'")
    listed = cluster.cli("status").ok().out.splitlines()
    rows = [line.partition("  waiting")[0].partition("  running")[0] for line in listed]
    assert [row.rstrip() for row in rows if row.split()[0] in ("one", "two", "three")] == ["one", "  two", "  three"]
    shown = cluster.cli("status", "two").ok().out
    assert shown.splitlines()[-4:] == [
        "  follows",
        "    one: running, 0 of 2 parts done, 2 running",
        "  followed by",
        "    three: waiting, 0 of 1 parts done",
    ]
    go.touch()
    one = cluster.cli("wait", "one", "--json").ok().json
    refused = cluster.cli("clear", "one")
    assert refused.code == 2
    assert "depends on 'one'" in refused.err
    on.touch()
    three = cluster.cli("wait", "three", "--json").ok().json
    assert (three["state"], three["after"]) == ("done", ["one", "two"])
    two = cluster.status("two")
    assert one["ended_at"] <= two["ended_at"] <= three["ended_at"]
    assert one["dependants"] == ["two", "three"]
    cluster.cli("clear", "one").ok()


def test_a_failed_job_ends_those_that_follow_it_and_starts_those_that_wait_for_any_end(
    cluster: Cluster, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    submit(cluster, program(tmp_path / "fails", WAITS + "sys.exit(7)\n"), "fails", "--", go)
    quick = program(tmp_path / "quick", QUICK)
    submit(cluster, quick, "next", "--after", "fails")
    submit(cluster, quick, "last", "--inputs-from", "next")
    any_end = cluster.spawn("submit", quick, "-n", 1, "--process-id", "any", "--after-any", "fails", "--json")
    until(lambda: "any" in cluster.cli("status").ok().out)
    go.touch()
    last = cluster.cli("wait", "last", "--json")
    assert last.code == 1
    assert last.json["state"] == "failed"
    assert last.json["reason"].startswith(
        "the job 'next', which it was to follow, failed because 'fails' failed: part 1"
    )
    assert any_end.wait().ok().json["state"] == "done"
    assert (cluster.here / "any" / "any_1_1" / "n").read_text(encoding="utf-8") == "1"


MAKES = """
import pathlib, sys
part = sys.argv[1]
if part != "3":
    for name in ("top.txt", "deep/er/below.txt"):
        path = pathlib.Path("OUTPUT_PATH", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} of {part}")
"""
READS = """
import json, os, pathlib, time
base = pathlib.Path("INPUT_PATH")
seen = {
    path.relative_to(base).as_posix(): [path.read_text(), path.stat().st_mode & 0o222] if path.is_file() else None
    for path in base.rglob("*")
}
pathlib.Path("OUTPUT_PATH/seen.json").write_text(json.dumps(seen))
time.sleep(0.5)
"""


def test_outputs_are_read_only_inputs_on_all_nodes(cluster: Cluster, tmp_path: Path) -> None:
    submit(cluster, program(tmp_path / "makes", MAKES), "makes", parts=3)
    reads = program(tmp_path / "reads", READS, {"INPUT_PATH/own.txt": "mine"})
    ran = cluster.submit(reads, "-n", 6, "--process-id", "reads", "--inputs-from", "makes").ok()
    assert sorted(ran.json["nodes"]) == list(NODES)
    cluster.cli("fetch", "makes").ok()
    fetched = tree(cluster.here / "makes")
    expected = {
        f"makes/{path}": None if data is None else [data.decode(), 0]
        for path, data in fetched.items()
        if path.startswith("makes_")
    }
    assert len(expected) == 11
    for part in range(1, 7):
        seen = json.loads((cluster.here / "reads" / f"reads_{part}_6" / "seen.json").read_text(encoding="utf-8"))
        assert seen == {"makes": None, "own.txt": ["mine", 0], **expected}
    taken = program(tmp_path / "taken", QUICK, {"INPUT_PATH/makes/x": "mine"})
    refused = cluster.submit(taken, "-n", 1, "--inputs-from", "makes")
    assert refused.code == 2
    assert "'INPUT_PATH/makes' itself" in refused.err


def test_unknown_jobs_and_cycles_are_refused(cluster: Cluster, tmp_path: Path) -> None:
    quick = program(tmp_path / "quick", QUICK)
    unknown = cluster.submit(quick, "-n", 1, "--process-id", "new", "--after", "nobody")
    assert unknown.code == 2
    assert "--after nobody: The cluster knows no job 'nobody'" in unknown.err
    itself = cluster.submit(quick, "-n", 1, "--process-id", "new", "--after-any", "new")
    assert itself.code == 2
    assert "'new' cannot wait for itself" in itself.err


def script(*command: object) -> str:
    """What a script of the example prints."""
    line = [sys.executable, "-B", *map(str, command)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout


def test_mapreduce_counts_the_same_when_a_node_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "mapreduce"
    program(folder, "", {path.name: path.read_bytes() for path in MAPREDUCE.glob("*.py")})
    script(folder / "prepare.py", "--into", folder / "INPUT_PATH")
    submit(cluster, folder, "words", "--", "map", 3, "0.1", parts=6)
    second = cluster.spawn(
        *("submit", folder, "-n", 3, "--process-id", "totals", "--json"),
        *("--inputs-from", "words", "--inputs", "INPUT_PATH/words/*/{part}.json", "--", "reduce"),
    )
    node = psutil.Process(cluster.roles[NODES[0]].pid)
    until(lambda: set(cluster.parts()).intersection(node.children(recursive=True)))
    cluster.roles[NODES[0]].kill()
    status = second.wait().ok().json
    assert (status["state"], status["parts"]["done"]) == ("done", 3)
    found = json.loads(script(folder / "merge.py", cluster.here / "totals", "--json"))
    assert found == json.loads(script(folder / "merge.py", "--serial", folder / "INPUT_PATH", "--json"))
    nodes = cluster.status("words")["nodes"]
    assert sum(nodes.values()) == 6
    assert NODES[0] not in nodes
    cluster.start_node(NODES[0])
