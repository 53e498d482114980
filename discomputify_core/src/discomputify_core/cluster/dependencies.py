"""Jobs that follow other jobs: which ones they wait for, and what becomes of them when those have ended.

A job knows what it waits for, and the jobs before it know who waits, so that the end of a job costs as much as it has
dependants. Whole chains that fail are worked off one by one, not by recursion. Not here: what is said of it
(why_waiting.py), how outputs become inputs (the role's business).
"""

from __future__ import annotations

from discomputify_core.cluster.lifecycle import Cause
from discomputify_core.cluster.state import Job, State
from discomputify_core.cluster.turn import Turn
from discomputify_core.errors import BadInput, NoSuchJob
from discomputify_core.model import events as ev
from discomputify_core.model.commands import GatherInputs
from discomputify_core.model.ids import MAX_NAME, ProcessId
from discomputify_core.model.job import JobSpec, JobState, PartState


def unknown_job(state: State, process_id: str, option: str = "") -> NoSuchJob:
    """The error for the id of a job that there is not.

    Args:
        option: of the command line, that named it.
    """
    known = ", ".join(list(state.jobs)[-5:]) or "none"
    asked = process_id[:MAX_NAME]  # what a peer asks for may be of any length
    named = f"{option} {asked}: the" if option else "The"
    return NoSuchJob(
        f"{named} cluster knows no job '{asked}' (it was cleared, or never submitted here). Latest jobs: {known}.",
        process_id=asked,
    )


def check(state: State, spec: JobSpec) -> None:
    """Whether all jobs are known that a new one is to wait for.

    They were there before it, and what they wait for does not change: so no job can come to wait for itself.

    Raises:
        NoSuchJob: one is not.
    """
    named = (("--inputs-from", spec.inputs_from), ("--after", spec.after), ("--after-any", spec.after_any))
    for option, process_ids in named:
        for process_id in process_ids:
            if process_id not in state.jobs:
                raise unknown_job(state, process_id, option)


def check_clear(state: State, job: Job) -> None:
    """Whether no job that has not ended needs *job*.

    Raises:
        BadInput: one does.
    """
    needs = in_need(state, job)
    if needs is not None:
        raise BadInput(
            f"The job '{needs.id}' is {needs.state.value} and depends on '{job.id}'. Wait for its end, or stop it "
            f"first: discomputify stop {needs.id}"
        )


def in_need(state: State, job: Job) -> Job | None:
    """A job that has not ended and was told to follow *job*."""
    return next((other for each in job.dependants if not (other := state.jobs[each]).ended), None)


def predecessors(spec: JobSpec) -> dict[ProcessId, bool]:
    """The jobs that one is to follow, and whether they have to be done."""
    return {**dict.fromkeys(spec.after_any, False), **dict.fromkeys((*spec.after, *spec.inputs_from), True)}


def follow(turn: Turn, job: Job, wall: float) -> None:
    """Note what the new *job* waits for. What has ended already counts at once."""
    for process_id, to_be_done in predecessors(job.spec).items():
        before = turn.state.jobs.get(process_id)
        if before is None:
            give_up(turn, job, f"the job '{process_id}', which it was to follow, is not known any more", "", wall)
            return
        before.dependants[job.id] = None
        turn.touch(before.id)
        if not before.ended:
            job.pending[process_id] = to_be_done
        elif to_be_done and before.state is not JobState.DONE:
            fail_after(turn, job, before, wall)
            return


def settle(turn: Turn) -> None:
    """Let those who wait know of the jobs that have ended; some of these may end, too."""
    while turn.settled:
        before = turn.settled.popleft()
        for each in before.dependants:
            job = turn.state.jobs[each]
            to_be_done = job.pending.pop(before.id, None)
            if to_be_done is None or job.ended:
                continue
            turn.touch(job.id)
            if to_be_done and before.state is not JobState.DONE:
                fail_after(turn, job, before, before.ended_wall or 0.0)
            else:
                start_perhaps(turn, job)


def start_perhaps(turn: Turn, job: Job) -> None:
    """Let *job* go on if there is nothing left that it has to wait for."""
    if job.ended or job.pending or not job.checked:
        return
    if job.spec.inputs_from:
        job.gathering = True
        turn.commands.append(GatherInputs(job.spec))
    else:
        admit(turn, job)


def admit(turn: Turn, job: Job) -> None:
    """The parts of *job* may be placed."""
    job.admitted = True
    job.parts.move_all(PartState.WAITING, Cause.ADMITTED)
    turn.feed(job)


def on_inputs_gathered(turn: Turn, event: ev.InputsGathered) -> None:
    """The outputs of other jobs are among the inputs of a job, or cannot be."""
    job = turn.state.jobs.get(event.process_id)
    if job is None or job.spec.key != event.key or not job.gathering or job.admitted or job.ended:
        return
    turn.touch(job.id)
    job.reason = event.fault
    if not event.fault:
        job.take_tree(event.tree, event.tree_bytes, event.tree_files, event.part_bytes)
        admit(turn, job)
    elif event.final:
        give_up(turn, job, event.fault, "", event.wall)


def fail_after(turn: Turn, job: Job, before: Job, wall: float) -> None:
    """*job* cannot run, because *before* is not done."""
    how = f"failed: {before.reason}" if before.state is JobState.FAILED else f"was {before.reason}"
    blame = before.blame or f"'{before.id}' {how}"
    said = f"failed because {before.blame}" if before.blame else how
    give_up(turn, job, f"the job '{before.id}', which it was to follow, {said}", blame, wall)


def give_up(turn: Turn, job: Job, reason: str, blame: str, wall: float) -> None:
    """No part of *job* can ever run.

    Args:
        blame: what kept the first job of a chain from being done, for those that follow this one; "" if this is it.
    """
    job.reason, job.blame = reason, blame
    job.parts.move_all(PartState.WAITING, Cause.GAVE_UP)
    turn.touch(job.id)
    turn.ended_perhaps(job, wall)


def forget(turn: Turn, job: Job) -> None:
    """*job* is forgotten: those before it have one dependant less."""
    for process_id in predecessors(job.spec):
        before = turn.state.jobs.get(process_id)
        if before is not None:
            before.dependants.pop(job.id, None)
