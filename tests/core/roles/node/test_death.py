"""The report of how a program ended: the cause in a sentence, and the end of its stderr."""

from typing import Any

import pytest

from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec, Request
from discomputify_core.model.node import NodeFacts
from discomputify_core.roles.node.death import CHARACTERS, LINES, memory_limit, tail, verdict
from discomputify_core.roles.runner.launch import Exit

FACTS = NodeFacts(NodeName("n1"), 2, python="3.12.1", interpreter="/py")
GIB = 2**30


def spec(**more: Any) -> JobSpec:
    return JobSpec(ProcessId("job"), "key", 1, "blake2b:" + "0" * 64, **more)


def ended(**more: Any) -> Exit:
    return Exit(AttemptId("job.1.1.key"), started_at=100.0, ended_at=112.25, cpu_seconds=3.5, peak_rss=7, **more)


@pytest.mark.parametrize(
    ("exit_", "job", "end", "code", "reason"),
    [
        (ended(), spec(), End.DONE, 0, ""),
        (ended(code=3), spec(), End.EXIT, 3, "ended with exit code 3"),
        (ended(code=1, stderr_tail="ValueError: no"), spec(), End.EXIT, 1, "failed with ValueError: no (exit code 1)"),
        (ended(signal=6), spec(), End.SIGNAL, 6, "was ended by SIGABRT. It gave up by itself: usually a compiled"),
        (ended(stopped=True, signal=15), spec(), End.STOPPED, 15, "stopped"),
        (ended(broken="it is gone"), spec(), End.BROKEN, 0, "was cut short: it is gone"),
        (ended(limit="time"), spec(time_limit=10), End.TIME_LIMIT, 0, "ran for 12.2 s, its time limit is 10 s"),
        (
            ended(limit="time"),
            spec(time_limit=3600.5),
            End.TIME_LIMIT,
            0,
            "ran for 3,600.5 s, its time limit is 3,600.5 s",
        ),
        (
            ended(limit="memory", signal=9, over=int(2.1 * GIB)),
            spec(memory_limit=2 * GIB),
            End.MEMORY_LIMIT,
            9,
            "used 2.1 GiB, its limit is 2.0 GiB",
        ),
        (
            ended(limit="memory", over=2 * GIB + 2**22),
            spec(request=Request(memory=2 * GIB)),
            End.MEMORY_LIMIT,
            0,
            "used 2.004 GiB, its limit is 2.000 GiB",
        ),
        (
            ended(limit="memory", signal=9),
            spec(memory_limit=100 * 2**20),
            End.MEMORY_LIMIT,
            9,
            "used all of the 100.0 MiB of memory that are its limit, and asked for more",
        ),
    ],
)
def test_every_end_has_its_cause(exit_: Exit, job: JobSpec, end: End, code: int, reason: str) -> None:
    found = verdict(exit_, job, FACTS, "/work")
    assert (found.end, found.code) == (end, code)
    assert found.reason.startswith(reason)
    assert (found.started_at, found.ended_at, found.cpu_seconds, found.peak_memory) == (100.0, 112.25, 3.5, 7)


def test_the_limit_of_the_job_comes_before_what_it_asks_for() -> None:
    assert memory_limit(spec()) == 0
    assert memory_limit(spec(request=Request(memory=5))) == 5
    assert memory_limit(spec(request=Request(memory=5), memory_limit=3)) == 3


def test_the_end_of_stderr_has_whole_lines() -> None:
    assert tail("") == ""
    assert tail("a\nb") == "a\nb"
    many = "\n".join(map(str, range(200)))
    assert tail(many).split("\n") == [str(number) for number in range(200 - LINES, 200)]
    wide = "\n".join(letter * 3000 for letter in "abcd")
    assert tail(wide) == "c" * 3000 + "\n" + "d" * 3000
    assert tail("x" * (2 * CHARACTERS)) == "x" * CHARACTERS
