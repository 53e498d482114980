"""What happens to jobs: submitted, admitted, stopped, cleared. One function per event."""

from __future__ import annotations

from discomputify_core.cluster.lifecycle import Cause
from discomputify_core.cluster.on_attempts import stop
from discomputify_core.cluster.parts import Parts
from discomputify_core.cluster.state import Job
from discomputify_core.cluster.turn import Turn
from discomputify_core.model import events as ev
from discomputify_core.model.commands import CheckTree, ClearStore
from discomputify_core.model.job import PartState


def on_job_submitted(turn: Turn, event: ev.JobSubmitted) -> None:
    """A new job; the store is asked whether it holds the program."""
    spec = event.spec
    if spec.process_id in turn.state.jobs:
        return
    turn.state.jobs[spec.process_id] = Job(spec, turn.state.next_order(), event.wall, Parts(spec.parts))
    turn.commands.append(CheckTree(spec.process_id, spec.key, spec.tree))
    turn.touch(spec.process_id)


def on_tree_checked(turn: Turn, event: ev.TreeChecked) -> None:
    """The store said whether it holds the program: the job's parts are ready, or it has failed."""
    job = turn.state.jobs.get(event.process_id)
    if job is None or job.spec.key != event.key or job.admitted or job.ended:
        return
    turn.touch(job.id)
    job.reason = event.fault
    if not event.fault:
        job.admitted = True
        job.parts.move_all(PartState.WAITING, Cause.ADMITTED)
        turn.feed(job)
    elif event.final:
        job.parts.move_all(PartState.WAITING, Cause.GAVE_UP)
        turn.ended_perhaps(job, event.wall)


def on_job_stop_asked(turn: Turn, event: ev.JobStopAsked) -> None:
    """End what runs, and let nothing more start."""
    job = turn.state.jobs.get(event.process_id)
    if job is None or job.ended or job.stop_asked:
        return
    turn.touch(job.id)
    job.stop_asked = event.by or "a user"
    job.reason = f"stopped by {job.stop_asked}"
    job.parts.move_all(PartState.WAITING, Cause.STOPPED)
    job.parts.move_all(PartState.READY, Cause.STOPPED)
    turn.state.hungry.pop(job.id, None)
    for attempt in job.live.values():
        stop(turn, attempt, job.reason)
    turn.ended_perhaps(job, event.wall)


def on_job_clear_asked(turn: Turn, event: ev.JobClearAsked) -> None:
    """Forget a job that ended."""
    job = turn.state.jobs.get(event.process_id)
    if job is None or not job.ended:
        return
    del turn.state.jobs[job.id]
    if not event.keep_files:
        turn.commands.append(ClearStore(job.id))
    turn.changed[job.id] = None
