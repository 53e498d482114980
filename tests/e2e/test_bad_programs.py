"""Programs that fail, flood, fork and never end: the right reason everywhere, no process left, the node lives."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from discomputify_core.roles.runner.launch import DEFAULT_CAP

from .bad_kit import GOOD, check_serving, check_working, inside, standing
from .cluster_kit import Cluster, program, tree, until

#: Bytes of stdout of the program that writes too much.
FLOOD = 60_000_000
#: Seconds in which ``stop`` ends a job's processes.
STOPS = 5.0
#: Bytes by which a role's memory may grow over all of this.
GROWTH = 96 * 1024 * 1024


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standing(tmp_path_factory.mktemp("cluster")) as made:
        program(made.folder / "good", GOOD)
        made.cli("submit", made.folder / "good", "-n", 4, "--process-id", "warm").ok()
        yield made


@pytest.fixture(autouse=True)
def still_serving(cluster: Cluster) -> Iterator[None]:
    before = memory(cluster)
    yield
    assert cluster.parts() == []
    check_serving(cluster)
    check_working(cluster, cluster.folder / "good")
    grown = {name: now - before[name] for name, now in memory(cluster).items()}
    assert max(grown.values()) < GROWTH, grown


def memory(cluster: Cluster) -> dict[str, int]:
    """Resident bytes of each role, its helper processes included."""
    found = {}
    for name, role in cluster.roles.items():
        process = psutil.Process(role.pid)
        found[name] = sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
    return found


@attrs.frozen
class Told:
    """What the commands say of a job that ended."""

    code: int
    summary: str
    state: str
    status: Any
    why: str
    why_part: str
    logs: str
    folder: Path


def ran(cluster: Cluster, main: str, job: str) -> Told:
    """Run *main* as the one part of *job*; ask about it."""
    folder = program(cluster.folder / job, main)
    ended = cluster.cli("submit", folder, "-n", 1, "--process-id", job)
    assert "bug in discomputify" not in ended.err
    status = inside(cluster.conf, "status", job, "--json").ok().json
    assert f"{job}: {status['state']}" in inside(cluster.conf, "status", job).ok().out
    logs = cluster.cli("logs", job).ok()
    why, why_part = (inside(cluster.conf, "why", what).ok().out for what in (job, f"{job}.1"))
    return Told(
        ended.code,
        ended.out,
        status["state"],
        status,
        why,
        why_part,
        logs.out + logs.err,
        cluster.here / job,
    )


@pytest.mark.parametrize(
    ("name", "main", "reason", "end", "code", "logged"),
    [
        ("syntax", "print('never')\ndef broken(:\n", "SyntaxError: invalid syntax (main.py, line 2)", "exit", 1, "^"),
        (
            "raises",
            "open('OUTPUT_PATH/half', 'w').write('half')\nraise ValueError('the moon is full')\n",
            "ValueError: the moon is full (exit code 1)",
            "exit",
            1,
            "line 2, in <module>",
        ),
        (
            "exits",
            "import sys\nprint('to out')\nprint('to err', file=sys.stderr)\nsys.exit(3)\n",
            "exit code 3",
            "exit",
            3,
            "to out\nto err",
        ),
        (
            "killed",
            "import os, signal\nprint('so far', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n",
            "SIGKILL",
            "signal",
            int(signal.SIGKILL),
            "so far",
        ),
    ],
    ids=["syntax", "raises", "exits", "killed"],
)
def test_a_program_that_fails(
    cluster: Cluster, name: str, main: str, reason: str, end: str, code: int, logged: str
) -> None:
    told = ran(cluster, main, name)

    assert (told.code, told.state) == (1, "failed")
    assert told.status["parts"]["failed"] == 1
    for said in (told.summary, told.status["reason"], told.why, told.why_part):
        assert reason in said
    assert "part 1 failed after 3 attempts" in told.status["reason"]
    failures = told.status["failures"]
    assert [(each["number"], each["end"], each["code"]) for each in failures] == [(n, end, code) for n in (1, 2, 3)]
    assert told.why_part.count(reason) == 4
    assert logged in told.logs
    # Nothing of a part that failed counts as output; its streams come home.
    assert sorted(tree(told.folder)) == [".discomputify_job", "logs", "logs/1.err", "logs/1.out"]
    assert logged in (told.folder / "logs/1.out").read_text() + (told.folder / "logs/1.err").read_text()


def test_a_flood_on_stdout_is_cut_and_marked(cluster: Cluster) -> None:
    main = (
        f"import sys\nline = b'x' * 999 + b'\\n'\nfor _ in range({FLOOD // 1000}): sys.stdout.buffer.write(line)\n"
        "sys.stdout.flush()\nprint('the very last line')\nopen('OUTPUT_PATH/done', 'w').close()\n"
    )
    told = ran(cluster, main, "flood")
    assert (told.code, told.state) == (0, "done")
    kept = (told.folder / "logs/1.out").read_bytes()
    assert len(kept) <= DEFAULT_CAP + 1000
    assert told.logs.encode() == kept
    # What was left out is said, and the end, which says most, is there.
    (mark,) = (line for line in told.logs.splitlines() if line.startswith("[discomputify:"))
    assert "bytes of output were left out here" in mark
    assert told.logs.endswith("the very last line\n")
    assert (told.folder / "flood_1_1" / "done").exists()


#: Starts a process that would go on for ever, in each of the ways that evade a simple end.
CHILDREN = """
import os, subprocess, sys
forever = [sys.executable, "-c", "import signal, threading; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
           "signal.signal(signal.SIGHUP, signal.SIG_IGN); threading.Event().wait()"]
pids = [subprocess.Popen(forever).pid, subprocess.Popen(forever, start_new_session=True).pid,
        subprocess.Popen(forever, env={}, start_new_session=True).pid]
reading, writing = os.pipe()
if not os.fork():
    os.setsid()
    if not os.fork():
        os.write(writing, str(os.getpid()).encode())
        os.execv(forever[0], forever)
    os._exit(0)
os.wait()
pids.append(int(os.read(reading, 20)))
with open("OUTPUT_PATH/pids", "w") as file:
    file.write(" ".join(map(str, pids)))
print("pids", *pids, flush=True)
"""


def alive(pids: list[int]) -> list[int]:
    """Those of *pids* that run."""
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def test_children_that_outlive_their_program_are_ended(cluster: Cluster) -> None:
    told = ran(cluster, CHILDREN, "children")
    assert (told.code, told.state) == (0, "done")
    pids = [int(pid) for pid in (told.folder / "children_1_1" / "pids").read_text().split()]
    assert len(pids) == 4
    assert alive(pids) == []


def test_an_endless_loop_is_stopped_with_its_children(cluster: Cluster) -> None:
    loop = CHILDREN + "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass\n"
    folder = program(cluster.folder / "loop", loop)
    cluster.cli("submit", folder, "-n", 1, "--process-id", "loop", "--detach").ok()
    line = until(lambda: inside(cluster.conf, "logs", "loop").out, what="the loop runs")
    pids = [int(pid) for pid in line.split()[1:]]
    assert len(alive(pids)) == 4
    assert cluster.status("loop")["state"] == "running"

    start = time.monotonic()
    inside(cluster.conf, "stop", "loop").ok()
    took = time.monotonic() - start

    assert took < STOPS
    assert alive(pids) == []
    status = cluster.status("loop")
    assert (status["state"], status["parts"]["stopped"]) == ("stopped", 1)
    assert status["reason"] == f"stopped by {status['owner']}"
    assert "stopped by" in cluster.why("loop.1")
    assert cluster.cli("logs", "loop").ok().out == line
    ended = cluster.cli("wait", "loop")
    assert ended.code == 1
    assert "stopped by" in ended.out
    cluster.cli("clear", "loop").ok()
