"""Limits of whole jobs: too many failed parts, a deadline that passes, how long a job is remembered that has ended.

What becomes of a job that is ended early: what has not started does not, what runs is stopped. Limits of single parts
(time, memory) are kept by the nodes that run them; budgets of attempts are in on_attempts.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from discomputify_core.cluster import dependencies
from discomputify_core.cluster.lifecycle import Cause
from discomputify_core.cluster.on_attempts import forget, stop
from discomputify_core.cluster.state import Job, State
from discomputify_core.cluster.turn import Settings, Turn, why_failed
from discomputify_core.model import events as ev
from discomputify_core.model.job import PartState

#: Most jobs that are forgotten for their age at one tick of the clock.
FORGOTTEN_AT_ONCE = 50


def end_early(turn: Turn, job: Job, by: str, reason: str, wall: float) -> None:
    """Stop what runs of *job*, and let nothing more start."""
    turn.touch(job.id)
    job.stop_asked, job.reason = by, reason
    job.parts.move_all(PartState.WAITING, Cause.STOPPED)
    job.parts.move_all(PartState.READY, Cause.STOPPED)
    turn.state.hungry.pop(job.id, None)
    for attempt in job.live.values():
        stop(turn, attempt, reason)
    for part in [*job.fenced, *job.checkpoints]:
        if part not in job.on_part:
            forget(turn, job, part)
    turn.ended_perhaps(job, wall)


def fail_early(turn: Turn, job: Job, reason: str, wall: float) -> None:
    """End *job* as failed, because it passed a limit."""
    job.limit_passed = True
    end_early(turn, job, "a limit of the job", reason, wall)


def check_failures(turn: Turn) -> None:
    """End the jobs of which too many parts have failed by now."""
    given_up, turn.given_up = turn.given_up, {}
    for process_id, wall in given_up.items():
        job = turn.state.jobs.get(process_id)
        if job is None or job.ended or job.stop_asked or not job.spec.max_failures:
            continue
        failed = job.parts.count(PartState.FAILED)
        if failed >= job.spec.max_failures:
            parts = "1 part" if failed == 1 else f"{failed} parts"
            reason = f"stopped after {parts} failed (--max-failures {job.spec.max_failures}): {why_failed(job)}"
            fail_early(turn, job, reason, wall)


def overdue(state: State, settings: Settings, now: float, wall: float) -> Iterator[ev.Event]:
    """Jobs whose deadline has passed."""
    for process_id in state.timed:
        job = state.jobs[process_id]
        if not job.stop_asked and now >= job.submitted_at + job.spec.deadline:
            yield ev.JobOverdue(process_id, wall)


def on_job_overdue(turn: Turn, event: ev.JobOverdue) -> None:
    """A job has not ended in time."""
    job = turn.state.jobs.get(event.process_id)
    if job is not None and not job.ended and not job.stop_asked:
        fail_early(turn, job, f"its deadline of {span(job.spec.deadline)} passed (--deadline)", event.wall)


def outlived(state: State, settings: Settings, now: float, wall: float) -> Iterable[ev.Event]:
    """Jobs that have ended for so long that they are forgotten, unless others need them."""
    found: list[ev.Event] = []
    if settings.keep is None:
        return found
    for process_id in state.over:
        job = state.jobs[process_id]
        if now < job.ended_at + settings.keep or len(found) == FORGOTTEN_AT_ONCE:
            break
        if dependencies.in_need(state, job) is None:
            found.append(ev.JobClearAsked(process_id))
    return found


def span(seconds: float) -> str:
    """*seconds* for people: ``90 s``, ``5 min``, ``1 h 30 min``, ``14 d``."""
    if seconds < 120:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    said = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")) if count]
    return " ".join(said[:2])
