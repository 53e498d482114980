"""What a job waits for whose parts may not be placed yet, in sentences. Reads the state, changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from discomputify_core.cluster.state import Job, State
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobState

#: Most jobs that are named in one sentence.
NAMED = 5


def why_not_admitted(state: State, job: Job) -> str:
    """What *job* waits for before any of its parts may be placed."""
    if job.pending:
        waits = f"waits for {_listed([_before(state, each) for each in list(job.pending)[:NAMED]], len(job.pending))}"
        return f"{waits}; {job.reason}" if job.reason else waits
    if job.gathering:
        names = _listed([f"'{each}'" for each in job.spec.inputs_from[:NAMED]], len(job.spec.inputs_from))
        return job.reason or f"the outputs of {names} are being put among its inputs"
    return job.reason or "waiting for the store to confirm that it holds the program's files"


def _before(state: State, process_id: ProcessId) -> str:
    job = state.jobs[process_id]
    if job.state is not JobState.RUNNING:
        return f"'{process_id}'"
    counts = job.parts.counts()
    return f"'{process_id}' (running, {counts.done} of {counts.total} parts done)"


def _listed(first: Sequence[str], total: int) -> str:
    """``a``, ``a and b``, ``a, b and 7 more jobs``."""
    rest = total - len(first)
    if rest:
        return f"{', '.join(first)} and {rest} more job{'s' if rest > 1 else ''}"
    return " and ".join(filter(None, (", ".join(first[:-1]), first[-1])))
