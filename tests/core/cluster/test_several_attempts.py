"""Parts with more than one attempt: of nodes that were given up and came back, of slow parts; and what they keep."""

from __future__ import annotations

import attrs

from discomputify_core.cluster import report, why
from discomputify_core.cluster.on_attempts import BEATEN
from discomputify_core.model import events as ev
from discomputify_core.model.commands import DropJob, StartPart, StopAttempt
from discomputify_core.model.ids import AttemptId, NodeName
from discomputify_core.model.job import End, JobState, Outcome, PartState, Request

from .test_machine import DIGEST, Driver, facts

OUTCOME = Outcome(AttemptId("x"), End.DONE, manifest=DIGEST)


def lose(driver: Driver, name: str) -> None:
    """The node's process is gone, as far as anybody knows."""
    driver.do(ev.NodeCut(NodeName(name), "s1", "reset"))
    driver.now += 2.5
    driver.do(ev.Tick(300.0))
    assert driver.cluster.state.nodes[NodeName(name)].state == "lost"


def back(driver: Driver, name: str, *starts: StartPart) -> list[object]:
    """The node is back, with what it runs; it ends what nobody waits for."""
    attempts = tuple(start.attempt for start in starts)
    return driver.do(ev.NodeJoined(facts(name, 1), f"{name}:1", attempts))


def begun(driver: Driver, start: StartPart, wall: float) -> None:
    driver.do(ev.AttemptStarted(start.node, start.attempt, wall))


def test_an_attempt_that_comes_back_before_another_one_began_goes_on_and_costs_nothing() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    driver.submit(2, lost_attempts=1)
    one, two = driver.starts
    begun(driver, one, 100.0)
    lose(driver, one.node)
    assert driver.status.failures[-1].end == "lost"
    back(driver, one.node, one)
    assert driver.job.parts.state(one.part) is PartState.RUNNING
    assert driver.cluster.unknown_attempts([one.attempt]) == ()
    assert not driver.status.failures
    driver.end(one)
    driver.end(two)
    assert driver.state() is JobState.DONE
    assert report.attempts(driver.job, one.part)[0].number == 1


def test_of_two_attempts_the_one_that_has_run_for_longer_stays() -> None:
    driver = Driver(facts("one", 1), facts("two", 1), facts("three", 1))
    driver.submit(1)
    (first,) = driver.starts
    begun(driver, first, 100.0)
    lose(driver, first.node)
    second = driver.starts[-1]
    begun(driver, second, 103.0)
    commands = back(driver, first.node, first)
    assert [c.attempt for c in commands if isinstance(c, StopAttempt)] == [second.attempt]
    driver.end(second, End.STOPPED)
    assert driver.status.parts.running == 1
    driver.end(first)
    assert driver.state() is JobState.DONE
    assert report.attempts(driver.job, 1)[0].number == 1


def test_the_first_commit_wins_and_the_other_attempt_is_stopped_and_counts_nothing() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    driver.submit(1)
    (first,) = driver.starts
    begun(driver, first, 100.0)
    lose(driver, first.node)
    second = driver.starts[-1]
    begun(driver, second, 103.0)
    back(driver, first.node, first)
    commands = driver.end(second)
    assert driver.state() is JobState.DONE
    assert [(c.attempt, c.reason) for c in commands if isinstance(c, StopAttempt)] == [(first.attempt, BEATEN)]
    assert DropJob(first.node, driver.job.id) not in commands
    assert driver.cluster.state.nodes[first.node].free_cpus == 0
    driver.do(ev.JobClearAsked(driver.job.id))
    commands = driver.do(ev.AttemptEnded(first.node, attrs.evolve(OUTCOME, attempt=first.attempt)))
    assert DropJob(first.node, first.spec.process_id) in commands
    assert driver.cluster.state.nodes[first.node].free_cpus == 1


def test_after_a_commit_an_attempt_that_comes_back_is_not_wanted() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    driver.submit(1)
    (first,) = driver.starts
    begun(driver, first, 100.0)
    lose(driver, first.node)
    driver.end(driver.starts[-1])
    back(driver, first.node, first)
    assert driver.cluster.unknown_attempts([first.attempt]) == (first.attempt,)
    late = driver.cluster.state.late
    driver.end(first)
    assert driver.cluster.state.late > late
    assert len(driver.job.outputs) == 1


def test_where_memory_is_shared_the_newer_attempt_stays() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    driver.submit(1)
    (first,) = driver.starts
    begun(driver, first, 100.0)
    driver.do(ev.MemoryUsed(first.node, first.attempt, "t"))
    lose(driver, first.node)
    second = driver.starts[-1]
    back(driver, first.node, first)
    assert driver.cluster.unknown_attempts([first.attempt, second.attempt]) == (first.attempt,)


def hurry(driver: Driver) -> StartPart:
    """All parts but one are done, each in a second; returns the one that hangs."""
    driver.submit(5, second_attempts=True)
    hangs = driver.starts.pop(0)
    begun(driver, hangs, 100.0)
    while driver.starts:
        start = driver.starts.pop(0)
        begun(driver, start, 100.0)
        driver.do(ev.AttemptEnded(start.node, attrs.evolve(OUTCOME, attempt=start.attempt), 101.0))
    return hangs


def test_a_slow_part_is_tried_on_another_node_and_the_first_to_commit_wins() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    hangs = hurry(driver)
    driver.do(ev.AttemptKept(hangs.node, hangs.attempt, DIGEST))
    driver.do(ev.Tick(104.0))
    assert not driver.starts
    driver.do(ev.Tick(106.0))
    (second,) = driver.starts
    assert (second.part, second.number, second.checkpoint) == (hangs.part, 2, DIGEST)
    assert second.node != hangs.node
    driver.do(ev.Tick(200.0))
    assert driver.starts == [second]
    assert "at the same time on" in why.why_part(driver.cluster.state, driver.job, hangs.part)[0]
    commands = driver.end(second)
    assert driver.state() is JobState.DONE
    assert [c.attempt for c in commands if isinstance(c, StopAttempt)] == [hangs.attempt]


def test_a_job_that_no_node_can_run_keeps_nobody_from_a_second_attempt() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    hangs = hurry(driver)
    driver.submit(1, "never", request=Request(cpus=64))
    driver.do(ev.Tick(106.0))
    (second,) = driver.starts
    assert (second.part, second.number) == (hangs.part, 2)


def test_a_job_that_waits_for_room_goes_before_second_attempts() -> None:
    driver = Driver(facts("one", 1), facts("two", 3))
    hangs = hurry(driver)
    assert hangs.node == "one"
    driver.submit(2, "large", request=Request(cpus=2))
    assert len(driver.starts) == 1
    driver.do(ev.Tick(106.0))  # a CPU is free, and a part of the other job waits for it and another one
    assert [start.spec.process_id for start in driver.starts] == ["large"]


def test_a_second_attempt_that_fails_leaves_the_first_one_alone() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    hangs = hurry(driver)
    driver.do(ev.Tick(110.0))
    driver.end(driver.starts.pop(), End.EXIT, code=1)
    assert driver.status.parts.running == 1
    assert driver.status.failures[-1].reason == "its program ended with exit code 1"
    driver.end(hangs)
    assert driver.state() is JobState.DONE


def test_nothing_is_tried_twice_while_other_parts_wait_or_nobody_asked_for_it() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    hurry(driver)
    driver.submit(3, "other")
    driver.do(ev.Tick(150.0))
    assert {start.spec.process_id for start in driver.starts} == {"other"}


def test_the_next_attempt_of_a_part_starts_with_its_newest_checkpoint() -> None:
    driver = Driver(facts("one", 1))
    driver.submit(1)
    first = driver.starts.pop()
    assert first.checkpoint == ""
    for digest in ("blake3:" + "01" * 32, "blake3:" + "02" * 32):
        driver.do(ev.AttemptKept(first.node, first.attempt, digest))
    driver.end(first, End.EXIT, code=1)
    driver.do(ev.AttemptKept(first.node, first.attempt, DIGEST))  # late
    second = driver.starts.pop()
    assert second.checkpoint == digest
    driver.end(second)
    assert not driver.job.checkpoints
