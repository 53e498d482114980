"""Limits of whole jobs: failed parts, deadlines, and how long jobs are remembered that have ended."""

from __future__ import annotations

import pytest

from discomputify_core.cluster import limits, report, saving, why
from discomputify_core.cluster.machine import Cluster, Settings
from discomputify_core.model import events as ev
from discomputify_core.model.commands import ClearStore, StopAttempt
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, JobState
from discomputify_core.model.node import NodeLoad
from discomputify_core.plugins.fifo import Fifo

from .test_machine import JOB, Driver, facts


def wait(driver: Driver, seconds: float) -> list[object]:
    """Let *seconds* pass; all nodes are heard of."""
    found: list[object] = []
    for _ in range(int(seconds)):
        driver.now += 1
        beats = [ev.NodeBeat(NodeName(name), NodeLoad()) for name in driver.cluster.state.nodes]
        found += driver.do(*beats, ev.Tick(driver.now))
    return found


def stops(commands: list[object]) -> list[StopAttempt]:
    return [each for each in commands if isinstance(each, StopAttempt)]


# --- max_failures -----------------------------------------------------------------------------------


def test_too_many_failed_parts_end_the_whole_job() -> None:
    driver = Driver(facts(slots=4))
    driver.submit(9, attempts=1, max_failures=2)
    starts = driver.starts[:]
    driver.end(starts[0])
    assert not stops(driver.end(starts[1], End.EXIT, code=3, reason="exit code 3"))
    stopped = stops(driver.end(starts[2], End.EXIT, code=3, reason="exit code 3"))
    under_way = {each.attempt for each in stopped}
    assert len(under_way) == 3
    assert starts[3].attempt in under_way
    assert driver.state() is JobState.RUNNING
    assert "are being ended" in why.why_job(driver.cluster.state, driver.job)
    for start in driver.starts:
        if start.attempt in under_way:
            driver.end(start, End.STOPPED, reason="stopped")
    assert driver.state() is JobState.FAILED
    assert driver.status.reason == (
        "stopped after 2 parts failed (--max-failures 2): part 2 failed after 1 attempt, the last on one: exit code 3 "
        "(2 of 9 parts failed)"
    )
    counts = driver.status.parts
    assert (counts.done, counts.failed, counts.stopped) == (1, 2, 6)


def test_attempts_that_fail_are_no_failed_parts() -> None:
    driver = Driver(facts("a", slots=1), facts("b", slots=1), facts("c", slots=1))
    driver.submit(2, attempts=3, max_failures=1)
    for _ in range(2):
        driver.end(driver.starts.pop(0), End.MEMORY_LIMIT, reason="used more than 1 GiB of memory")
    driver.finish()
    assert driver.state() is JobState.DONE


@pytest.mark.parametrize("end", [End.TIME_LIMIT, End.MEMORY_LIMIT])
def test_a_part_over_its_limit_fails_by_itself_and_avoids_the_node(end: End) -> None:
    driver = Driver(facts("a", slots=1), facts("b", slots=1))
    driver.submit(1, attempts=2, lost_attempts=0)
    driver.end(driver.starts[0], end, reason="over its limit")
    assert [start.node for start in driver.starts] == ["a", "b"]
    driver.end(driver.starts[1], end, reason="over its limit")
    assert driver.state() is JobState.FAILED
    assert [each.end for each in driver.status.failures] == [end.value, end.value]


def test_a_part_that_is_done_while_its_job_ends_counts() -> None:
    driver = Driver(facts(slots=2))
    driver.submit(2, attempts=1, max_failures=1)
    driver.end(driver.starts[0], End.EXIT)
    driver.end(driver.starts[1])
    assert driver.state() is JobState.FAILED
    assert driver.status.parts.done == 1


def test_jobs_that_follow_fail_with_the_reason() -> None:
    driver = Driver(facts(slots=1))
    driver.submit(3, attempts=1, max_failures=1)
    driver.submit(1, "next", after=(JOB,))
    driver.end(driver.starts[0], End.EXIT, reason="exit code 1")
    following = driver.cluster.job(ProcessId("next"))
    assert following.state is JobState.FAILED
    assert "--max-failures 1" in following.reason


# --- deadline ---------------------------------------------------------------------------------------


def test_a_job_that_is_not_done_in_time_is_ended() -> None:
    driver = Driver(facts(slots=2))
    driver.submit(5, deadline=90.0)
    driver.end(driver.starts.pop(0))
    assert not stops(wait(driver, 89))
    assert len(stops(wait(driver, 1))) == 2
    assert not stops(wait(driver, 5)), "it is ended once"
    for start in driver.starts:
        driver.end(start, End.STOPPED)
    assert driver.state() is JobState.FAILED
    assert driver.status.reason == "its deadline of 90 s passed (--deadline)"
    assert (driver.status.parts.done, driver.status.parts.stopped) == (1, 4)


def test_a_deadline_holds_while_a_job_waits_for_others() -> None:
    driver = Driver(facts(slots=1))
    driver.submit(1)
    driver.submit(1, "next", after=(JOB,), deadline=3.0)
    wait(driver, 3)
    following = driver.cluster.job(ProcessId("next"))
    assert (following.state, following.reason) == (JobState.FAILED, "its deadline of 3 s passed (--deadline)")
    driver.finish()
    assert driver.state() is JobState.DONE


def test_what_has_ended_in_time_is_left_alone() -> None:
    driver = Driver(facts())
    driver.submit(1, deadline=5.0)
    driver.finish()
    wait(driver, 10)
    assert driver.state() is JobState.DONE


def test_a_deadline_holds_after_a_restart_of_the_master() -> None:
    driver = Driver(facts())
    driver.submit(1, deadline=30.0)
    driver.cluster = Cluster(Fifo(), state=saving.load(saving.save(driver.cluster.state)))
    driver.do(ev.MasterStarted(0.0))
    wait(driver, 29)
    assert driver.state() is not JobState.FAILED
    wait(driver, 1)
    assert driver.job.limit_passed


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.5, "0.5 s"), (90.0, "90 s"), (300, "5 min"), (5400, "1 h 30 min"), (14 * 86400, "14 d"), (90061, "1 d 1 h")],
)
def test_spans_are_told_as_people_do(seconds: float, said: str) -> None:
    assert limits.span(seconds) == said


# --- jobs that have ended long ago ------------------------------------------------------------------


def test_jobs_are_forgotten_some_time_after_their_end() -> None:
    driver = Driver(facts(slots=4), settings=Settings(keep=100.0))
    driver.submit(1, "first")
    driver.finish()
    wait(driver, 50)
    driver.submit(1, "second")
    driver.submit(1, "third")
    driver.end(next(start for start in driver.starts if start.spec.process_id == "second"))
    assert ClearStore(ProcessId("first")) in wait(driver, 50)
    assert list(driver.cluster.state.jobs) == ["second", "third"]
    wait(driver, 50)
    assert list(driver.cluster.state.jobs) == ["third"], "what has not ended stays"
    assert not any(
        status.ended for status in [report.job_status(driver.cluster.state, driver.cluster.job(ProcessId("third")))]
    )


def test_jobs_that_others_need_are_kept() -> None:
    driver = Driver(facts(slots=1), settings=Settings(keep=10.0))
    driver.submit(1)
    driver.finish()
    driver.submit(1, "next", after=(JOB,))
    wait(driver, 30)
    assert JOB in driver.cluster.state.jobs
    driver.finish()
    wait(driver, 1)
    assert list(driver.cluster.state.jobs) == ["next"]
    wait(driver, 10)
    assert not driver.cluster.state.jobs


def test_jobs_are_kept_for_ever_unless_somebody_says_for_how_long() -> None:
    driver = Driver(facts())
    driver.submit(1)
    driver.finish()
    driver.now = 1e9
    driver.do(ev.NodeBeat(NodeName("one"), NodeLoad()), ev.Tick(driver.now))
    assert JOB in driver.cluster.state.jobs


def test_many_old_jobs_are_forgotten_a_few_at_a_time() -> None:
    driver = Driver(facts(), settings=Settings(keep=10.0))
    for number in range(limits.FORGOTTEN_AT_ONCE + 5):
        driver.submit(1, f"job{number}")
        driver.finish()
    wait(driver, 10)
    assert len(driver.cluster.state.jobs) == 5
    wait(driver, 1)
    assert not driver.cluster.state.jobs
