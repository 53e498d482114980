"""Shared memory in the master's state machine: who is told what, and what starts again when it is lost."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest

from discomputify_core.cluster import report, why
from discomputify_core.model import events as ev
from discomputify_core.model.commands import ClearMemory, StartPart, StopAttempt, TellMemory
from discomputify_core.model.ids import AttemptId, NodeName
from discomputify_core.model.job import End, JobState, Outcome, PartState
from discomputify_core.model.memory import AGAIN, DONE, GONE, Over, Scope

from .test_machine import DIGEST, JOB, Driver, facts

T = TypeVar("T")
OTHER_DIGEST = "blake3:" + "ef" * 32
SCOPE = Scope(JOB, "k", 0)


def of(commands: list[object], kind: type[T]) -> list[T]:
    return [command for command in commands if isinstance(command, kind)]


class Sharing(Driver):
    """A driver of jobs whose parts share memory."""

    def use(self, *starts: StartPart, table: str = "t1") -> list[object]:
        return self.do(*(ev.MemoryUsed(start.node, start.attempt, table) for start in starts))

    def lose(self, table: str = "t1") -> list[object]:
        return self.do(ev.MemoryTableLost(table, "the shared memory was started again", 300.0))

    def stopped(self, commands: list[object]) -> list[object]:
        """The nodes do as they are told."""
        found: list[object] = []
        for command in of(commands, StopAttempt):
            found += self.do(ev.AttemptEnded(command.node, Outcome(command.attempt, End.STOPPED), 310.0))
        return found

    def taken(self, count: int | None = None) -> list[StartPart]:
        """What was started since the last time, by part."""
        starts = sorted(self.starts, key=lambda start: start.part)
        self.starts.clear()
        assert count is None or len(starts) == count
        return starts


def started(parts: int, slots: int | None = None, **more: Any) -> tuple[Sharing, list[StartPart]]:
    driver = Sharing(facts(slots=slots or parts))
    driver.submit(parts, **more)
    return driver, driver.taken(min(parts, slots or parts))


# --- telling ----------------------------------------------------------------------------------------


def test_a_job_that_shares_nothing_tells_and_clears_nothing() -> None:
    driver, starts = started(2)
    said = [command for start in starts for command in driver.end(start)]
    said += driver.do(ev.JobClearAsked(JOB))
    assert not of(said, TellMemory)
    assert not of(said, ClearMemory)


def test_the_first_use_tells_who_is_over_and_later_ends_are_told_as_they_come() -> None:
    driver, (one, two, three, four) = started(4, attempts=1)
    assert not of(driver.end(one), TellMemory)
    driver.end(two, End.EXIT, reason="exit code 1")
    (tell,) = of(driver.use(three), TellMemory)
    assert (tell.scope, tell.total) == (SCOPE, 4)
    assert tell.over == (Over(1, 1, one.attempt, DONE), Over(2, 1, two.attempt, GONE, "exit code 1"))
    assert not of(driver.use(four), TellMemory)
    (tell,) = of(driver.end(four), TellMemory)
    assert tell.over == (Over(4, 1, four.attempt, DONE),)


@pytest.mark.parametrize("end", [End.EXIT, End.BROKEN, End.LOST, End.RETURNED])
def test_an_attempt_that_is_tried_again_is_told_as_such(end: End) -> None:
    driver, (one,) = started(1)
    driver.use(one)
    (tell,) = of(driver.end(one, end), TellMemory)
    assert tell.over == (Over(1, 1, one.attempt, AGAIN),)


def test_ends_of_one_turn_are_told_together_and_in_bounded_pieces() -> None:
    driver, starts = started(12_001)
    driver.use(starts[0])
    ends = (Outcome(start.attempt, End.DONE, manifest=DIGEST) for start in starts[1:])
    tells = of(driver.do(*(ev.AttemptEnded(starts[0].node, end) for end in ends)), TellMemory)
    assert [len(tell.over) for tell in tells] == [5000, 5000, 2000]
    assert len({over.part for tell in tells for over in tell.over}) == 12_000


def test_parts_that_were_stopped_or_lost_with_their_node_are_told() -> None:
    driver, (one, _) = started(2)
    driver.use(one)
    driver.do(ev.NodeCut(NodeName("one"), "s1"))
    driver.now = 3.0
    (tell,) = of(driver.do(ev.Tick()), TellMemory)
    assert [over.stands for over in tell.over] == [AGAIN, AGAIN]
    driver.do(ev.NodeJoined(facts(session="s2"), "one:1"))
    again = driver.taken(2)
    said = driver.do(ev.JobStopAsked(JOB, "somebody"))
    (tell, *_) = of(driver.stopped(said), TellMemory)
    assert tell.over == (Over(1, 2, again[0].attempt, GONE, "stopped by somebody"),)


def test_clearing_a_job_frees_its_memory() -> None:
    driver, (one,) = started(1)
    driver.use(one)
    driver.end(one)
    assert of(driver.do(ev.JobClearAsked(JOB)), ClearMemory) == [ClearMemory(SCOPE)]


def test_what_is_told_and_forgotten_in_one_turn_is_not_told() -> None:
    driver, (one,) = started(1)
    driver.use(one)
    outcome = Outcome(one.attempt, End.DONE, manifest=DIGEST)
    said = driver.do(ev.AttemptEnded(one.node, outcome), ev.JobClearAsked(JOB))
    assert not of(said, TellMemory)
    assert of(said, ClearMemory)


def test_late_words_of_attempts_that_are_over_change_nothing() -> None:
    driver, (one,) = started(1)
    driver.end(one)
    said = driver.use(one) + driver.do(ev.StartOverAsked(one.node, one.attempt, "gone"))
    assert not said
    assert driver.job.generation == 0


# --- starting over ----------------------------------------------------------------------------------


def test_a_lost_table_starts_over_what_used_it_and_nothing_else() -> None:
    driver, (one, two, three, four) = started(4)
    driver.use(one, two)
    driver.end(one)
    driver.end(three)
    said = driver.lose()
    assert of(said, ClearMemory) == [ClearMemory(SCOPE)]
    assert [stop.attempt for stop in of(said, StopAttempt)] == [two.attempt]
    assert driver.job.parts.state(1) is PartState.PLACED
    assert driver.job.parts.state(3) is PartState.DONE
    (first,) = driver.taken(1)
    assert (first.part, first.number, first.generation) == (1, 2, 1)
    driver.stopped(said)
    (second,) = driver.taken(1)
    assert (second.part, second.number, second.generation) == (2, 2, 1)
    assert [row.part for row in report.outputs(driver.job, 0, 10).outputs] == [3]
    assert driver.status.nodes == {"one": 1}
    assert driver.status.failures == ()
    assert driver.status.warnings == (
        "all parts that shared memory started again together once: the shared memory was started again",
    )
    for start in (first, second, four):
        driver.end(start)
    assert driver.state() is JobState.DONE
    assert [each.end for each in report.attempts(driver.job, 1)] == ["lost", "done"]


def test_the_new_generation_has_a_scope_of_its_own() -> None:
    driver, (one, two) = started(2)
    driver.use(one)
    driver.end(two)
    said = driver.lose()
    assert not of(said, TellMemory)
    driver.stopped(said)
    (again,) = driver.taken(1)
    (tell,) = of(driver.use(again, table="t2"), TellMemory)
    assert tell.scope == Scope(JOB, "k", 1)
    assert [(over.part, over.stands) for over in tell.over] == [(2, DONE)]
    driver.end(again)
    assert of(driver.do(ev.JobClearAsked(JOB)), ClearMemory) == [ClearMemory(Scope(JOB, "k", 1))]


def test_what_the_old_attempt_reports_after_the_loss_does_not_count() -> None:
    driver, (one,) = started(1)
    driver.use(one)
    driver.lose()
    assert "it is being ended: the shared memory" in why.why_part(driver.cluster.state, driver.job, 1)[0]
    assert not driver.starts
    driver.end(one)  # it was faster than the order to stop
    assert driver.status.parts.done == 0
    (again,) = driver.taken(1)
    assert driver.job.parts.trouble[1].losses == 1
    driver.end(one)
    assert driver.cluster.state.late == 2
    driver.end(again)
    assert driver.state() is JobState.DONE


def test_an_attempt_that_its_node_ended_for_the_loss_counts_as_lost_once() -> None:
    driver, (one, two) = started(2)
    driver.use(one, two)
    driver.end(one, End.LOST, memory_lost=True, reason="the shared memory was lost")
    (again,) = driver.taken(1)
    assert (again.part, again.generation) == (1, 0)
    driver.use(again, table="t2")  # it is in the new table before the master knows of it: all start over
    assert driver.job.generation == 1
    driver.end(two, End.LOST, memory_lost=True, reason="the shared memory was lost")
    driver.end(again, End.STOPPED)
    assert {part: trouble.losses for part, trouble in driver.job.parts.trouble.items()} == {1: 1, 2: 1}
    driver.lose()
    assert driver.job.generation == 1
    driver.finish()
    assert driver.state() is JobState.DONE


def test_a_table_that_nobody_needs_any_more_is_forgotten_quietly() -> None:
    driver, (one, two) = started(2)
    driver.use(one)
    driver.end(two)
    driver.end(one, End.LOST, memory_lost=True, reason="the shared memory was lost")
    assert not driver.lose()
    assert driver.job.generation == 0
    (again,) = driver.taken(1)
    (tell,) = of(driver.use(again, table="t2"), TellMemory)
    assert [over.part for over in tell.over] == [2]


def test_a_failure_for_want_of_memory_costs_no_attempt_of_the_program() -> None:
    driver, (one,) = started(1, attempts=1)
    driver.end(one, End.LOST, memory_lost=True, reason="the shared memory cannot be reached")
    assert driver.taken(1)[0].number == 2


def test_a_part_asks_for_a_start_over() -> None:
    driver, (one, two) = started(2)
    driver.use(one, two)
    driver.end(two)
    said = driver.do(ev.StartOverAsked(one.node, one.attempt, "the result of round 3 is not kept", 300.0))
    driver.do(ev.StartOverAsked(one.node, one.attempt, "once more", 300.0))
    driver.end(one, End.EXIT, reason="RoundForgotten")  # what the program makes of the error is not its fault
    assert of(said, ClearMemory) == [ClearMemory(SCOPE)]
    assert driver.job.generation == 1
    assert driver.job.parts.trouble[1].failures == 0
    assert [start.part for start in driver.taken(2)] == [1, 2]
    assert "not kept" in driver.status.warnings[0]


def test_an_attempt_of_an_earlier_generation_cannot_begin_to_share() -> None:
    driver, (one, two) = started(2)
    driver.use(one)
    driver.stopped(driver.lose())
    driver.taken(1)
    said = driver.use(two, table="t2")
    assert [stop.attempt for stop in of(said, StopAttempt)] == [two.attempt]
    assert not of(said, TellMemory)
    assert driver.job.generation == 1
    driver.stopped(said)
    (again,) = driver.taken(1)
    assert (again.part, again.generation) == (2, 1)


def test_a_part_that_never_shares_is_left_alone_in_all_generations() -> None:
    driver, (one, two) = started(2)
    driver.use(one)
    driver.stopped(driver.lose())
    (again,) = driver.taken(1)
    driver.use(again, table="t2")
    (tell,) = of(driver.end(two), TellMemory)
    assert (tell.scope.generation, tell.over) == (1, (Over(2, 1, two.attempt, DONE),))
    assert driver.job.parts.state(2) is PartState.DONE


def test_losing_memory_again_and_again_fails_the_parts() -> None:
    driver, starts = started(2, lost_attempts=2)
    for number in range(3):
        driver.use(*starts, table=f"t{number}")
        driver.end(starts[0])
        driver.stopped(driver.lose(f"t{number}"))
        starts = driver.taken()
        assert len(starts) == (2 if number < 2 else 0)
    assert driver.state() is JobState.FAILED
    assert driver.status.reason == (
        "part 1 failed after 3 attempts, the last on one: the shared memory was started again; its work was lost "
        "3 times, which is more than the 2 that are made up for (2 of 2 parts failed)"
    )
    assert driver.status.ended_at == 310.0
    assert not driver.job.outputs.count


def test_losses_of_a_done_part_are_remembered() -> None:
    driver, (one, two) = started(2, lost_attempts=1)
    driver.use(one, two)
    driver.end(one, End.LOST, reason="its node was lost")
    (again,) = driver.taken(1)
    driver.use(again)
    driver.end(again)
    driver.lose()
    assert driver.job.parts.state(1) is PartState.FAILED
    (failed,) = driver.status.failures[1:]
    assert "lost 2 times" in failed.reason


def test_a_job_that_has_ended_or_is_being_stopped_does_not_start_over() -> None:
    driver, (one,) = started(1)
    driver.use(one)
    driver.end(one)
    assert not driver.lose()
    assert driver.state() is JobState.DONE
    driver, (one, two) = started(2)
    driver.use(one, two)
    driver.end(one)
    said = driver.do(ev.JobStopAsked(JOB, "somebody"))
    assert not driver.lose()
    driver.stopped(said)
    assert driver.state() is JobState.STOPPED
    assert driver.status.parts.done == 1
    assert driver.job.generation == 0


def test_a_job_is_stopped_while_it_starts_over() -> None:
    driver, (one, two) = started(2)
    driver.use(one, two)
    driver.end(one)
    said = driver.lose()
    driver.taken(1)
    stops = driver.do(ev.JobStopAsked(JOB, "somebody"))
    driver.stopped(said + stops)
    assert driver.state() is JobState.STOPPED
    assert driver.status.parts.stopped == 2


def test_a_node_that_returns_is_told_again_to_end_what_must_start_over() -> None:
    driver, (one,) = started(1)
    driver.use(one)
    driver.do(ev.NodeCut(NodeName("one"), "s1"))
    driver.lose()
    said = driver.do(ev.NodeJoined(facts(slots=1), "one:1", (AttemptId(one.attempt),)))
    assert [stop.attempt for stop in of(said, StopAttempt)] == [one.attempt]


def test_a_table_that_is_not_known_yet_may_be_the_lost_one() -> None:
    driver, (one,) = started(1)
    driver.use(one, table="")
    assert of(driver.lose("t7"), StopAttempt)
    driver, (one,) = started(1)
    driver.use(one, table="")
    driver.use(one, table="t2")
    assert not driver.lose("t1")


# --- outputs ----------------------------------------------------------------------------------------


def test_positions_of_outputs_stay_valid_when_some_are_taken_back() -> None:
    driver, (one, two, three) = started(3)
    driver.use(one)
    for start in (one, two):
        driver.end(start)
    page = report.outputs(driver.job, 0, 10)
    assert ([row.part for row in page.outputs], page.next) == ([1, 2], 2)
    driver.lose()
    (again,) = driver.taken(1)
    driver.end(three)
    outcome = Outcome(again.attempt, End.DONE, manifest=OTHER_DIGEST)
    driver.do(ev.AttemptEnded(again.node, outcome, 400.0))
    page = report.outputs(driver.job, page.next, 10)
    assert [(row.part, row.number) for row in page.outputs] == [(3, 1), (1, 2)]
    assert (page.next, page.ended) == (4, True)
    page = report.outputs(driver.job, 0, 10)
    assert [(row.part, row.number, row.manifest) for row in page.outputs] == [
        (2, 1, DIGEST),
        (3, 1, DIGEST),
        (1, 2, OTHER_DIGEST),
    ]
    assert driver.job.outputs.find(1) == (1, 2, "one", OTHER_DIGEST)
    assert driver.job.outputs.row(0)[0] == 0
