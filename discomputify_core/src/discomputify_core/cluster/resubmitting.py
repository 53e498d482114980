"""A job that has ended goes on with another program: its parts that are not done run again.

What is done stays, with its outputs: these remember of which *origin* (key and program) they are. The exception are
done parts that used the job's shared memory, which the new program does not see: they run again with the others.
Everything else begins as for a new job, with fresh budgets; only attempts are counted on. Jobs that failed because of
this one stay failed, and can be submitted again themselves.
"""

from __future__ import annotations

from discomputify_core.cluster import dependencies, on_memory, requirements
from discomputify_core.cluster.lifecycle import Cause
from discomputify_core.cluster.memory import JobMemory
from discomputify_core.cluster.parts import Trouble
from discomputify_core.cluster.state import Job, Origin, State
from discomputify_core.cluster.turn import Turn
from discomputify_core.errors import BadInput
from discomputify_core.model import events as ev
from discomputify_core.model.commands import CheckTree
from discomputify_core.model.job import JobSpec, JobState

#: Why parts start again together that shared memory.
AGAIN = "the job was submitted again"


def check_resubmit(state: State, spec: JobSpec) -> bool:
    """Whether the job of that process id may go on as *spec* says; False if it does already.

    Raises:
        NoSuchJob: there is none of that id.
        BadInput: it has not ended, or all of it is done, or *spec* does not fit it.
    """
    job = state.jobs.get(spec.process_id)
    if job is None:
        raise dependencies.unknown_job(state, spec.process_id)
    if any(origin.key == spec.key for origin in job.origins):
        return False
    fault = _fault(state, job, spec)
    if fault:
        raise BadInput(fault, process_id=job.id)
    requirements.check(spec.require)
    return True


def on_job_resubmitted(turn: Turn, event: ev.JobResubmitted) -> None:
    """A job goes on with another program."""
    spec, state = event.spec, turn.state
    job = state.jobs.get(spec.process_id)
    if job is None or any(origin.key == spec.key for origin in job.origins) or _fault(state, job, spec):
        return
    _leave_memory(turn, job)
    job.parts.reopen()
    _forget_run(job)
    job.spec = spec
    job.submitted_at = turn.now
    job.origins.append(Origin(spec.key, spec.tree))
    job.outputs.begin_origin()
    _note_packages(state, job)
    state.clock(job)
    _follow_again(turn, job)
    turn.touch(job.id)
    turn.commands.append(CheckTree(job.id, spec.key, spec.tree))


def _fault(state: State, job: Job, spec: JobSpec) -> str:
    """Why *job* cannot go on as *spec* says, "" if it can."""
    total, named = job.parts.total, f"The job '{job.id}'"
    if not job.ended:
        return f"{named} is {job.state.value}. Wait for its end, or stop it first: discomputify stop {job.id}"
    if job.state is JobState.DONE:
        return f"{named} is done, with all of its {total} parts: there is nothing to do."
    if spec.parts != total:
        return f"{named} has {total} parts and cannot go on with {spec.parts}. Submit it as a new job."
    if any(getattr(spec, name) != getattr(job.spec, name) for name in ("after", "after_any", "inputs_from")):
        return f"{named} cannot follow other jobs than before. Submit it as a new job."
    for each, to_be_done in dependencies.predecessors(spec).items():
        before = state.jobs.get(each)
        if before is None and (each in spec.inputs_from or not job.admitted):
            return f"{named} was to follow '{each}', which is not known any more. Submit both as new jobs."
        if before is not None and to_be_done and before.ended and before.state is not JobState.DONE:
            again = f"discomputify resubmit {each}"
            return f"{named} is to follow '{each}', which is {before.state.value}. Submit that one again first: {again}"
    return ""


def _leave_memory(turn: Turn, job: Job) -> None:
    """What parts shared is not there for the new program: done ones that used it have to run again."""
    if not job.memory.used:
        return
    on_memory.clear(turn, job.scope)
    turn.telling.pop(job.id, None)
    for part, number, *_ in job.outputs.take_back(job.memory.done()):
        job.parts.move(part, Cause.RESUBMITTED)
        job.parts.trouble[part] = Trouble(number + 1)
    job.generation += 1
    job.started_over = AGAIN
    job.memory = JobMemory()


def _forget_run(job: Job) -> None:
    """How the job ended, and what was learnt of its program."""
    job.ended_wall, job.ended_at = None, 0.0
    job.reason, job.blame, job.stop_asked, job.limit_passed = "", "", "", False
    job.checked = job.gathering = job.admitted = False
    job.failed_on.clear()
    job.mended.clear()
    job.refused.clear()
    job.checkpoints.clear()
    job.took, job.timed = 0.0, 0
    job.progress, job.note = 0.0, ""


def _note_packages(state: State, job: Job) -> None:
    """Of nodes that ran parts note what they have of the packages that the program names now."""
    for name, (python, _) in job.ran_on.items():
        packages = state.nodes[name].facts.packages
        job.ran_on[name] = (python, tuple(packages.get(each, "") for each in job.spec.requirements))


def _follow_again(turn: Turn, job: Job) -> None:
    """Wait for the jobs that *job* is to follow and that have not ended. Those that are forgotten had ended well."""
    job.pending.clear()
    for each, to_be_done in dependencies.predecessors(job.spec).items():
        before = turn.state.jobs.get(each)
        if before is None:
            continue
        before.dependants[job.id] = None
        turn.touch(each)
        if not before.ended:
            job.pending[each] = to_be_done
