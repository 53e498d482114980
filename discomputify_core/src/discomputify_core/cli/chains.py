"""Jobs that follow each other, as trees: in the list of all jobs, and around one of them.

Here: which job stands below which, and how far in. Not here: the words about one job (shown.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from discomputify_core.cli.shown import counts_line
from discomputify_core.errors import NoSuchJob
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import DEPENDANTS, JobStatus

#: Most jobs shown of what one follows, and of what follows it.
SHOWN = 24
#: Levels after which a chain is not moved further in.
DEEPEST = 10

AskStatus = Callable[[ProcessId], Awaitable[JobStatus]]


def nested(jobs: Sequence[JobStatus]) -> list[tuple[int, JobStatus]]:
    """*jobs*, oldest first as the cluster lists them, each below the first one that it follows, and how far in."""
    at = {job.process_id: number for number, job in enumerate(jobs)}
    below: list[list[int]] = [[] for _ in jobs]
    top: list[int] = []
    for number, job in enumerate(jobs):
        # One that came later has the id of one that was cleared.
        before = (at.get(each, number) for each in (*job.after, *job.after_any))
        (below[parent] if (parent := next((b for b in before if b < number), -1)) >= 0 else top).append(number)
    found: list[tuple[int, JobStatus]] = []
    left = [(0, number) for number in reversed(top)]
    while left:
        depth, number = left.pop()
        found.append((depth, jobs[number]))
        left += [(depth + 1, each) for each in reversed(below[number])]
    return found


def indented(depth: int, text: str) -> str:
    """*text*, moved in."""
    return "  " * min(depth, DEEPEST) + text


async def chain_lines(job: JobStatus, ask: AskStatus) -> AsyncIterator[str]:
    """What *job* follows and what follows it, a job per line; nothing for one that stands alone."""
    for heading, way in (("follows", _before), ("followed by", _behind)):
        if way(job):
            yield f"  {heading}"
            async for line in _tree(job, way, ask):
                yield f"    {line}"


def _before(job: JobStatus) -> list[ProcessId]:
    return list(dict.fromkeys((*job.after, *job.after_any)))


def _behind(job: JobStatus) -> list[ProcessId]:
    return list(job.dependants)


async def _tree(job: JobStatus, way: Callable[[JobStatus], list[ProcessId]], ask: AskStatus) -> AsyncIterator[str]:
    """All jobs that are reached from *job* that way, depth first, each once."""
    seen = {job.process_id}
    left = _next(0, job, way)
    shown = 0
    while left:
        if shown == SHOWN:
            yield "…"
            return
        shown += 1
        depth, process_id, of = left.pop()
        if process_id == "":
            yield indented(depth, "…")
        elif process_id in seen:
            yield indented(depth, f"{process_id}: see above")
        else:
            seen.add(process_id)
            found = await _known(process_id, of, way is _before, ask)
            yield indented(depth, _line(process_id, found, of))
            left += _next(depth + 1, found, way) if found else []


def _next(
    depth: int, job: JobStatus, way: Callable[[JobStatus], list[ProcessId]]
) -> list[tuple[int, ProcessId, JobStatus]]:
    """What comes next after *job* that way, the first one last; an empty id stands for more."""
    more = [(depth, ProcessId(""), job)] if way is _behind and len(job.dependants) == DEPENDANTS else []
    return more + [(depth, each, job) for each in reversed(way(job))]


async def _known(process_id: ProcessId, of: JobStatus, before: bool, ask: AskStatus) -> JobStatus | None:
    """The job, or None if it was cleared, perhaps for another one of its id."""
    try:
        found = await ask(process_id)
    except NoSuchJob:
        return None
    return None if before and found.submitted_at > of.submitted_at else found


def _line(process_id: ProcessId, found: JobStatus | None, of: JobStatus) -> str:
    if found is None:
        return f"{process_id}: cleared"
    how = ""
    if process_id in of.inputs_from:
        how = " (its outputs are inputs)"
    elif of.process_id in found.inputs_from:
        how = " (takes the outputs as inputs)"
    return f"{process_id}{how}: {found.state.value}, {counts_line(found.parts)}"
