"""What happens to jobs: submitted, admitted, stopped, cleared. One function per event."""

from __future__ import annotations

from discomputify_core.cluster import dependencies, limits, on_memory
from discomputify_core.cluster.parts import Parts
from discomputify_core.cluster.state import Job
from discomputify_core.cluster.turn import Turn
from discomputify_core.model import events as ev
from discomputify_core.model.commands import CheckTree, ClearStore


def on_job_submitted(turn: Turn, event: ev.JobSubmitted) -> None:
    """A new job; the store is asked whether it holds the program."""
    spec = event.spec
    if spec.process_id in turn.state.jobs:
        return
    turn.state.clearing.pop(spec.process_id, None)  # what the store holds under that name is the new job's
    job = turn.state.jobs[spec.process_id] = Job(spec, turn.state.next_order(), event.wall, Parts(spec.parts))
    job.submitted_at = turn.now
    turn.state.clock(job)
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
    by = event.by or "a user"
    limits.end_early(turn, job, by, f"stopped by {by}", event.wall)


def on_job_clear_asked(turn: Turn, event: ev.JobClearAsked) -> None:
    """Forget a job that ended, and that no other one needs."""
    job = turn.state.jobs.get(event.process_id)
    if job is None or not job.ended or dependencies.in_need(turn.state, job) is not None:
        return
    del turn.state.jobs[job.id]
    turn.state.clock(job, known=False)
    dependencies.forget(turn, job)
    turn.telling.pop(job.id, None)
    if job.memory.used:
        on_memory.clear(turn, job.scope)
    if not event.keep_files:
        turn.state.clearing[job.id] = None
        turn.commands.append(ClearStore(job.id))
    turn.changed[job.id] = None


def on_store_cleared(turn: Turn, event: ev.StoreCleared) -> None:
    """The store has removed what it held of a job that was forgotten."""
    turn.state.clearing.pop(event.process_id, None)
