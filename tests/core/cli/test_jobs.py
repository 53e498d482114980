"""Commands about jobs: status, logs, wait, stop, fetch, clear."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
COUNTS = {"total", "waiting", "ready", "placed", "running", "done", "failed", "stopped"}


@pytest.fixture
def command(cli: Cli, running_cluster: Any) -> Cli:
    """Runs a command on the cluster."""
    return lambda *args: cli("--conf", str(running_cluster.conf), *args)


def submitted(command: Cli, folder: Path, process_id: str, text: str, *args: str) -> None:
    place = folder / "program"
    place.mkdir(exist_ok=True)
    (place / "main.py").write_text(text, encoding="utf-8")
    answer = command("submit", str(place), "-n", "2", "--process-id", process_id, "--detach", *args)
    assert answer.code == 0, answer


SPEAKS = "import sys\nprint('out', sys.argv[1])\nprint('err', sys.argv[1], file=sys.stderr)\nopen('OUTPUT_PATH/n', 'w')"
ENDLESS = "import time\nprint('begun', flush=True)\ntime.sleep(600)"
FAILS = "import sys; sys.exit(3)"


def test_the_life_of_a_job(command: Cli, folder: Path) -> None:
    submitted(command, folder, "j-life", SPEAKS)
    answer = command("wait", "j-life", "--json")
    assert (answer.code, answer.json()["state"]) == (0, "done")
    found = command("status", "j-life", "--json").json()
    assert (found["process_id"], found["state"], found["reason"]) == ("j-life", "done", "")
    assert set(found["parts"]) >= COUNTS
    assert found["parts"]["done"] == 2
    assert found["submitted_at"] <= found["ended_at"]
    assert "j-life: done, 2 of 2 parts done" in command("status", "j-life").out
    (row,) = [job for job in command("status", "--json").json() if job["process_id"] == "j-life"]
    assert (row["state"], row["parts"]) == (found["state"], found["parts"])
    assert "j-life" in command("status").out

    logs = command("logs", "j-life", "--part", "2")
    assert (logs.out.split(), logs.err.split()) == (["out", "2"], ["err", "2"])
    assert command("logs", "j-life", "--stream", "err").out == ""
    assert command("logs", "j-life", "-f").out.split() == ["out", "1"]
    assert command("logs", "j-life", "--attempt", "2").code == 2
    assert command("logs", "j-life", "--part", "3").code == 2

    fetched = command("fetch", "j-life", "--out", "out", "--json").json()
    assert (fetched["parts"], fetched["files"]) == (2, 2)
    assert command("fetch", "j-life", "--part", "1").code == 0
    assert (folder / "j-life/j-life_1_2/n").exists()
    assert not (folder / "j-life/j-life_2_2").exists()

    assert command("clear", "j-life", "--json").json() == {"process_id": "j-life", "cleared": True}
    submitted(command, folder, "j-life", SPEAKS)
    assert command("wait", "j-life").code == 0


def test_a_running_job(command: Cli, folder: Path) -> None:
    submitted(command, folder, "j-runs", ENDLESS)
    answer = command("wait", "j-runs", "--timeout", "0.1")
    assert answer.code == 4
    refused = command("clear", "j-runs")
    assert (refused.code, "stop it first" in refused.err) == (2, True)
    stopped = command("stop", "j-runs", "--json")
    assert (stopped.code, stopped.json()["state"]) == (0, "stopped")
    again = command("stop", "j-runs")
    assert (again.code, "stopped" in again.out) == (0, True)
    assert command("wait", "j-runs").code == 1
    assert "stopped by" in command("status", "j-runs").out


def test_a_failed_job(command: Cli, folder: Path) -> None:
    submitted(command, folder, "j-fails", FAILS)
    assert command("wait", "j-fails").code == 1
    answer = command("status", "j-fails")
    assert answer.code == 0
    assert "exit code 3" in answer.out
    assert command("fetch", "j-fails").code == 0


@pytest.mark.parametrize("name", ["status", "logs", "wait", "stop", "fetch", "clear", "why"])
def test_a_job_that_nobody_knows(command: Cli, name: str) -> None:
    answer = command(name, "j-unknown")
    assert answer.code == 2
    assert "knows no job 'j-unknown'" in answer.err
    assert answer.out == ""
    assert command(name, "a/b").code == 2


def test_a_cluster_is_needed(cli: Cli, folder: Path) -> None:
    answer = cli("status")
    assert answer.code == 2
    assert "discomputify init" in answer.err


def test_jobs_that_follow_each_other_are_shown_as_a_tree(command: Cli, folder: Path) -> None:
    submitted(command, folder, "j-first", ENDLESS)
    submitted(command, folder, "j-second", SPEAKS, "--after", "j-first", "--after-any", "j-first")
    submitted(
        command, folder, "j-third", SPEAKS, "--inputs-from", "j-second,j-first", "--after", "j-first", "--together"
    )
    found = command("status", "j-third", "--json").json()
    assert (found["after"], found["inputs_from"]) == (["j-first", "j-second"], ["j-second", "j-first"])
    assert (found["after_any"], found["together"], found["dependants"]) == ([], True, [])
    rows = [row.rstrip() for row in command("status").out.splitlines() if "j-" in row.split("  waits")[0]]
    places = {row.split()[0]: len(row) - len(row.lstrip()) for row in rows}
    assert {name: places[name] for name in ("j-first", "j-second", "j-third")} == {
        "j-first": 0,
        "j-second": 2,
        "j-third": 2,
    }
    shown = command("status", "j-second").out
    assert "waits for 'j-first'" in shown
    assert "  follows\n    j-first: " in shown
    assert "  followed by\n    j-third (takes the outputs as inputs): waiting, 0 of 2 parts done\n" in shown
    assert command("stop", "j-first").code == 0
    told = command("wait", "j-third", "--json")
    assert told.code == 1
    assert "'j-first'" in told.json()["reason"]
    at_once = command("submit", "program", "-n", "1", "--process-id", "j-late", "--after", "j-first", "--detach")
    assert at_once.code == 1
    assert "j-late: failed" in at_once.out
    assert "'j-first', which it was to follow, was stopped" in at_once.out
    assert command("clear", "j-late").code == 0
    for name in ("j-third", "j-second", "j-first"):
        assert command("clear", name).code == 0


def test_a_job_that_others_need_is_not_cleared(command: Cli, folder: Path) -> None:
    submitted(command, folder, "j-needed", SPEAKS)
    assert command("wait", "j-needed").code == 0
    submitted(command, folder, "j-needs", ENDLESS, "--after", "j-needed")
    refused = command("clear", "j-needed")
    assert refused.code == 2
    assert "'j-needs'" in refused.err
    assert command("stop", "j-needs").code == 0
    assert command("clear", "j-needed").code == 0
