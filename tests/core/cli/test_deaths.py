"""How commands tell of attempts that did not end well, of what a job holds, and of nodes that get no parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.cli.progress import away_line
from discomputify_core.cli.shown import death_lines, job_lines, node_rows
from discomputify_core.client.away import Away
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.job import AttemptReport, JobState, JobStatus, PartCounts
from discomputify_core.model.node import NodeLoad, NodeStatus

Cli = Callable[..., Any]
DEAD = AttemptReport(
    part=2,
    number=1,
    attempt=AttemptId("a"),
    node="n",
    end="signal",
    code=9,
    reason="was ended by SIGKILL",
    stderr_tail="\n".join(f"line {number}" for number in range(50)),
    started_at=1000.0,
    ended_at=1012.5,
    cpu_seconds=11.25,
    peak_memory=3 * 2**20,
)


@pytest.fixture
def command(cli: Cli, running_cluster: Any) -> Cli:
    """Runs a command on the cluster."""
    return lambda *args: cli("--conf", str(running_cluster.conf), *args)


def test_a_death_report_has_all_that_is_known() -> None:
    status = JobStatus(
        ProcessId("j"),
        JobState.FAILED,
        PartCounts(total=3, done=2, failed=1),
        1000.0,
        failures=(DEAD,),
        trees=(("blake3:" + "a" * 64, 1), ("blake3:" + "b" * 64, 1)),
        output_bytes=2_000_000,
        tree_bytes=1500,
    )
    lines = list(job_lines(status))
    assert "  size       program 1.5 kB, outputs and logs 2.0 MB" in lines
    assert "  programs   blake3:aaaaaaaaaaaa made 1 part; blake3:bbbbbbbbbbbb made 1 part" in lines
    at = lines.index("  part 2, attempt 1 on n: was ended by SIGKILL")
    assert lines[at + 1].endswith(" (12.5 s), signal 9, CPU time 11.2 s, peak memory 3.0 MiB")
    assert lines[at + 2 :] == [f"    | line {number}" for number in range(40, 50)]


def test_of_a_part_the_last_one_is_told_in_full() -> None:
    running = AttemptReport(2, 2, AttemptId("b"), "n", end="running")
    lines = list(death_lines([DEAD, running]))
    assert lines[-1] == "    | line 49"
    assert len(lines) == 52
    assert list(death_lines([running])) == []


def test_why_of_a_part_has_its_death_reports(command: Cli, folder: Path) -> None:
    place = folder / "program"
    place.mkdir()
    (place / "main.py").write_text("raise ValueError('oh')", encoding="utf-8")
    (place / "requirements.txt").write_text("-r more.txt\n", encoding="utf-8")
    answer = command("submit", str(place), "-n", "1", "--process-id", "d-why", "--retries", "1")
    assert answer.code == 1
    assert "not checked on nodes, since they are no plain requirements: '-r more.txt' (requirements.txt)" in answer.err
    told = command("why", "d-why.1")
    assert told.out.count("attempt 1 on local") == 1
    assert told.out.count("(exit code 1)") == 3  # of the part, and of each attempt
    assert told.out.count("peak memory") == 2
    assert "| ValueError: oh" in told.out
    assert [each["number"] for each in command("why", "d-why.1", "--json").json()["attempts"]] == [1, 2]
    assert "exit code 1" in command("status", "d-why").out
    assert "SIZE" in command("status").out.splitlines()[0]


def test_old_jobs_are_cleared(command: Cli, folder: Path) -> None:
    place = folder / "program"
    place.mkdir()
    (place / "main.py").touch()
    assert command("submit", str(place), "-n", "1", "--process-id", "d-old").code == 0
    assert command("clear", "--older-than", "1h", "--json").json() == {"cleared": [], "kept": {}}
    assert command("clear").code == 2
    assert command("clear", "d-old", "--older-than", "1h").code == 2
    assert command("clear", "--older-than", "soon").code == 2
    assert "d-old: cleared" in command("clear", "d-old").out


def test_a_node_is_drained_and_comes_back(command: Cli) -> None:
    try:
        answer = command("nodes", "drain", "local")
        assert (answer.code, "gets no more parts" in answer.out) == (0, True)
        assert "live, drained" in command("nodes").out
        (node,) = command("nodes", "--json").json()
        assert node["drained"]
    finally:
        assert command("nodes", "drain", "local", "--undo", "--json").json()["drained"] is False
    assert command("nodes", "drain", "nobody").code == 2


def test_nodes_say_what_keeps_parts_off_them() -> None:
    load = NodeLoad(paused="its disk is full")
    (row,) = node_rows([NodeStatus("n", "live", load=load, drained=True, reason="drained by me")])
    assert row[1] == "live, drained, paused"
    assert row[-1] == "drained by me; its disk is full"
    (row,) = node_rows([NodeStatus("n", "live", load=load, reason="paused: its disk is full")])
    assert row[-1] == "paused: its disk is full"


def test_what_is_away_is_said_with_the_way_out() -> None:
    assert "is away since" in away_line(Away("master", "h:1", 1000.0))
    assert "Ctrl-C detaches" in away_line(Away("master", "h:1", 1000.0))
    assert away_line(Away("store", "h:1", 1000.0, back=True)) == "the store at h:1 is back"


def test_this_machine_alone_is_asked_for_packages_first(cli: Cli, folder: Path) -> None:
    place = folder / "program"
    place.mkdir()
    (place / "main.py").touch()
    answer = cli("submit", str(place), "--local", "1", "--require", "nothing-of-this-name>=2")
    assert answer.code == 2
    assert "nothing-of-this-name>=2: there is none" in answer.err
