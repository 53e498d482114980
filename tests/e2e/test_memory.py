"""Programs whose parts depend on each other, on real clusters: also when something dies in the middle."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from .cluster_kit import NODES, Cluster, program, until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SHARED: dict[str, Any] = {"SHARED_MEM": "sharedmem"}


def script(*command: object) -> str:
    """What a script of an example prints."""
    line = [sys.executable, "-B", *map(str, command)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes with two slots each. A test that kills one starts it again."""
    made = Cluster(tmp_path_factory.mktemp("memory"), **SHARED)
    try:
        yield made.start()
    finally:
        made.close()


def kill_and_start_again(cluster: Cluster, node: str) -> None:
    """End a node as a crash would; it is back once the master knows that it was gone."""
    cluster.roles[node].kill()
    until(lambda: cluster.node_states()[node]["state"] == "lost")
    cluster.start_node(node)


def done(ran: Any, parts: int) -> dict[str, Any]:
    """The status of a job that ended well."""
    assert ran.code == 0, ran.err + ran.out
    status: dict[str, Any] = ran.json
    assert (status["state"], status["parts"]["done"]) == ("done", parts)
    return status


#: What a copy of an example runs first: in its fourth pause, the first attempt of each part waits until it may go on.
HELD = """
import itertools, os, pathlib, time

from discomputify_core import program

there, pause, pauses = pathlib.Path(os.environ["THERE"]), time.sleep, itertools.count(1)


def held(seconds):
    if program.attempt() == 1 and next(pauses) == 4:
        (there / f"part-{program.part()}").touch()
        while not (there / "go").exists():
            pause(0.02)
    pause(seconds)


time.sleep = held
"""


def copied(example: str, folder: Path) -> Path:
    """A copy of an example, with *HELD* before its own main.py."""
    files = {path.name: path.read_bytes() for path in (EXAMPLES / example).glob("*.py")}
    main = files.pop("main.py").decode("utf-8").replace("\nimport time\n", "\nimport held\nimport time\n", 1)
    assert "import held" in main
    return program(folder, main, {**files, "held.py": HELD})


def run_with_a_node_killed(cluster: Cluster, folder: Path, name: str, *options: object) -> dict[str, Any]:
    """The status of a job of three parts at its end; a node that runs one is killed once all are in their midst."""
    there = folder.parent / "there"
    there.mkdir()
    how = ("-n", 3, "--together", "--process-id", name, "--json", "--env", f"THERE={there}")
    submit = cluster.spawn("submit", folder, *how, *options)
    until(lambda: len(list(there.glob("part-*"))) == 3)
    busy = [node for node, status in cluster.node_states().items() if status["running"]]
    kill_and_start_again(cluster, busy[0])
    (there / "go").touch()
    status = done(submit.wait(), 3)
    assert {failure["end"] for failure in status["failures"]} == {"lost"}
    return status


@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "a node is killed"])
def test_kmeans_finds_what_one_process_finds(cluster: Cluster, tmp_path: Path, killed: bool) -> None:
    folder, name = tmp_path / "kmeans", f"kmeans-{killed}"
    program(folder, "", {path.name: path.read_bytes() for path in (EXAMPLES / "kmeans").glob("*.py")})
    script(folder / "prepare.py", folder / "INPUT_PATH")
    if killed:
        run_with_a_node_killed(cluster, copied("kmeans", folder), name)
    else:
        done(cluster.submit(folder, "-n", 3, "--together", "--process-id", name), 3)
    found = json.loads(script(folder / "merge.py", cluster.here / name, "--json"))
    alone = json.loads(script(folder / "merge.py", "--serial", folder / "INPUT_PATH", "--json"))
    assert found["labels"] == alone["labels"]
    assert abs(found["inertia"] - alone["inertia"]) < 1e-9 * alone["inertia"]
    differences = [
        abs(a - b)
        for ours, theirs in zip(found["centroids"], alone["centroids"], strict=True)
        for a, b in zip(ours, theirs, strict=True)
    ]
    assert max(differences) < 1e-9


@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "a node is killed"])
def test_heat_paints_what_one_process_paints(cluster: Cluster, tmp_path: Path, killed: bool) -> None:
    name, example = f"heat-{killed}", EXAMPLES / "heat"
    if killed:
        run_with_a_node_killed(cluster, copied("heat", tmp_path / "heat"), name, "--", "60")
    else:
        done(cluster.submit(example, "-n", 3, "--together", "--process-id", name, "--", "60"), 3)
    script(example / "merge.py", cluster.here / name, tmp_path / "parts.png")
    script(example / "merge.py", "--serial", tmp_path / "serial.png", "60")
    assert (tmp_path / "parts.png").read_bytes() == (tmp_path / "serial.png").read_bytes()


#: Adds to a counter and takes a lock, many times; writes down what was acknowledged before it goes on.
HAMMER = """
import os, time
from discomputify_core import program
there = os.environ["THERE"]
memory = program.memory()
with open(os.path.join(there, f"{program.part()}-{program.attempt()}"), "a", buffering=1) as said:
    for turn in range(4):
        said.write(f"count {memory.increment('count')}\\n")
        with memory.lock("one", lease=60) as lock:
            said.write(f"held {lock.token} {time.monotonic_ns()}\\n")
            said.write(f"back {lock.token} {time.monotonic_ns()}\\n")
"""


def test_what_was_acknowledged_counts_once_whatever_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    folder = program(tmp_path / "hammer", HAMMER)
    options = ("-n", 200, "--process-id", "hammer", "--env", f"THERE={there}")
    submit = cluster.spawn("submit", folder, *options, "--json")
    kills = 0
    while kills < 12 and submit.running:
        for process in cluster.parts(attempt=1)[:1]:
            with contextlib.suppress(psutil.Error):
                process.kill()
                kills += 1
        if kills == 6:
            kill_and_start_again(cluster, NODES[1])
        before = len(list(there.iterdir()))
        until(lambda: len(list(there.iterdir())) > before + 5 or not submit.running)  # noqa: B023
    status = done(submit.wait(), 200)
    assert len(status["failures"]) > 0
    counts, held, back = said_by_parts(there)
    assert len(set(counts)) == len(counts) >= 800
    (row,) = cluster.cli("memory", "hammer", "count", "--json").ok().json["rows"]
    assert row["name"] == "count"
    final = int(cluster.cli("memory", "hammer", "count").ok().out.split()[-1])
    assert max(counts) <= final
    # What was not acknowledged was on its way when its part was killed: at most one for each that ended early.
    assert final - len(counts) <= len(list(there.iterdir())) - 200
    in_order = sorted(held)
    assert len(set(held)) == len(held)
    for (token, _), (later, start) in itertools.pairwise((token, held[token]) for token in in_order):
        assert held[token] < start, f"{later} was held before {token}"
        assert back.get(token, 0) < start, f"{later} was held while {token} was"


def said_by_parts(there: Path) -> tuple[list[int], dict[int, int], dict[int, int]]:
    """Acknowledged counts; by token of the lock, when it was held, when given back. Torn lines are left out."""
    counts: list[int] = []
    held: dict[int, int] = {}
    back: dict[int, int] = {}
    for path in there.iterdir():
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if not line.endswith("\n"):
                continue
            match line.split():
                case ["count", number]:
                    counts.append(int(number))
                case ["held", token, moment]:
                    held[int(token)] = int(moment)
                case ["back", token, moment]:
                    back[int(token)] = int(moment)
    return counts, held, back


#: Meets the others twice; in between, it waits until it may go on.
MEETS = """
import os, time
from discomputify_core import program
there = os.environ["THERE"]
memory = program.memory()
memory["seen by %d" % program.part()] = program.attempt()
memory.barrier("first")
open(os.path.join(there, f"{program.part()}-{program.attempt()}"), "w").close()
if program.attempt() == 1:
    memory.get("go", wait=60)
total = memory.reduce("sum", program.part())
with program.open("total", "w") as out:
    out.write(f"{total} {program.attempt()}")
"""


def test_parts_run_again_together_when_the_shared_memory_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    folder = program(tmp_path / "meets", MEETS)
    submit = cluster.spawn(
        "submit", folder, "-n", 4, "--together", "--process-id", "meets", "--env", f"THERE={there}", "--json"
    )
    until(lambda: len(list(there.glob("*-1"))) == 4)
    cluster.roles["shared_mem_node"].kill()
    until(lambda: not cluster.parts(attempt=1), what="parts that wait for what is lost have ended")
    cluster.start_memory()
    status = done(submit.wait(), 4)
    # Whoever notices first says so: the master, of the whole job, or the nodes, of each part.
    assert {report["end"] for report in status["failures"]} <= {"lost"}
    assert "shared-memory service" in " ".join([*status["warnings"], *(each["reason"] for each in status["failures"])])
    for part in range(1, 5):
        total, attempt = (cluster.here / "meets" / f"meets_{part}_4" / "total").read_text().split()
        assert (int(total), int(attempt) > 1) == (10, True)


#: Part 1 gives a large array; all add it up, and none can change it.
ARRAYS = """
import numpy as np
from discomputify_core import program
memory = program.memory()
if program.part() == 1:
    memory["large"] = np.arange(500_000, dtype="<f8").reshape((1000, 500), order="F")
    memory["text"] = b"x" * 3_000_000
array = memory.get("large", wait=60)
assert array.shape == (1000, 500) and array.dtype == "<f8" and array.flags.f_contiguous and not array.flags.writeable
assert memory.get("text", wait=60) == b"x" * 3_000_000
total = memory.reduce("all", np.full(300_000, float(program.part())))
assert (total == 10.0).all()
memory.barrier("over")
with program.open("sum", "w") as out:
    out.write(str(array.sum()))
"""


def test_large_arrays_reach_other_nodes_and_cannot_be_changed(cluster: Cluster, tmp_path: Path) -> None:
    folder = program(tmp_path / "arrays", ARRAYS)
    status = done(cluster.submit(folder, "-n", 4, "--together", "--process-id", "arrays"), 4)
    assert len(status["nodes"]) > 1
    for part in range(1, 5):
        text = (cluster.here / "arrays" / f"arrays_{part}_4" / "sum").read_text(encoding="utf-8")
        assert float(text) == sum(range(500_000))
    rows = {row["name"]: row for row in cluster.cli("memory", "arrays", "--json").ok().json["rows"]}
    assert rows["large"]["holds"].startswith("ref")
    cluster.cli("clear", "arrays").ok()
    assert cluster.cli("memory", "arrays").code == 2


def test_a_barrier_without_a_part_says_which(cluster: Cluster, tmp_path: Path) -> None:
    main = "from discomputify_core import program\nif program.part() != 2:\n    program.memory().barrier('all')\n"
    folder = program(tmp_path / "alone", main)
    ran = cluster.submit(folder, "-n", 3, "--process-id", "alone")
    assert ran.code == 1
    assert ran.json["parts"]["failed"] == 2
    tail = ran.json["failures"][-1]["stderr_tail"]
    assert "PartGone" in tail
    assert "part 2" in tail.lower()


def test_who_waits_for_whom_can_be_seen(cluster: Cluster, tmp_path: Path) -> None:
    main = """
from discomputify_core import program
memory = program.memory()
memory["greeting"] = {"to": ["all"]}
if program.part() == 1:
    memory.get("go", wait=60)
memory.barrier("all")
"""
    folder = program(tmp_path / "waits", main)
    submit = cluster.spawn("submit", folder, "-n", 2, "--process-id", "waits", "--json")

    def barrier() -> Any:
        ran = cluster.cli("memory", "waits", "--json")
        rows = ran.json["rows"] if ran.code == 0 else []
        return next((row for row in rows if row["kind"] == "barrier"), None)

    row = until(barrier)
    assert (row["name"], row["waiting"], row["missing"]) == ("all", [2], [1])
    shown = cluster.cli("memory", "waits").ok().out
    assert "greeting" in shown
    assert "1 of 2 parts; waiting for part 1" in shown
    assert '{"to":["all"]}' in cluster.cli("memory", "waits", "greeting").ok().out
    cluster.cli("stop", "waits").ok()
    assert submit.wait().json["state"] == "stopped"


def test_a_job_without_shared_memory_is_told_how_to_get_it(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "bare", (NODES[0],))
    try:
        cluster.start()
        folder = program(tmp_path / "wants", "from discomputify_core import program\nprogram.memory()['a'] = 1\n")
        ran = cluster.submit(folder, "-n", 1, "--process-id", "wants")
        assert ran.code == 1
        assert "SHARED_MEM" in ran.json["failures"][-1]["stderr_tail"]
    finally:
        cluster.close()
