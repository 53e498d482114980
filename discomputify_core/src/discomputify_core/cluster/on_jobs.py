"""What happens to jobs: submitted, admitted, stopped, cleared. One function per event."""

from __future__ import annotations

from discomputify_core.cluster import dependencies
from discomputify_core.cluster.lifecycle import Cause
from discomputify_core.cluster.on_attempts import stop
from discomputify_core.cluster.parts import Parts
from discomputify_core.cluster.state import Job
from discomputify_core.cluster.turn import Turn
from discomputify_core.model import events as ev
from discomputify_core.model.commands import CheckTree, ClearMemory, ClearStore
from discomputify_core.model.job import PartState


def on_job_submitted(turn: Turn, event: ev.JobSubmitted) -> None:
    """A new job; the store is asked whether it holds the program."""
    spec = event.spec
    if spec.process_id in turn.state.jobs:
        return
    job = turn.state.jobs[spec.process_id] = Job(spec, turn.state.next_order(), event.wall, Parts(spec.parts))
    turn.touch(job.id)
    dependencies.follow(turn, job, event.wall)
    if not job.ended:
        turn.commands.append(CheckTree(spec.process_id, spec.key, spec.tree))


def on_tree_checked(turn: Turn, event: ev.TreeChecked) -> None:
    """The store said whether it holds the program: the job may start as far as that goes, or it has failed."""
    job = turn.state.jobs.get(event.process_id)
    if job is None or job.spec.key != event.key or job.checked or job.ended:
        return
    turn.touch(job.id)
    job.reason = event.fault
    if not event.fault:
        job.checked = True
        dependencies.start_perhaps(turn, job)
    elif event.final:
        dependencies.give_up(turn, job, event.fault, "", event.wall)


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
    """Forget a job that ended, and that no other one needs."""
    job = turn.state.jobs.get(event.process_id)
    if job is None or not job.ended or dependencies.in_need(turn.state, job) is not None:
        return
    del turn.state.jobs[job.id]
    dependencies.forget(turn, job)
    turn.telling.pop(job.id, None)
    if job.memory.used:
        turn.commands.append(ClearMemory(job.scope))
    if not event.keep_files:
        turn.commands.append(ClearStore(job.id))
    turn.changed[job.id] = None
