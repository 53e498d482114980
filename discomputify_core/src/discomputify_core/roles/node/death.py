"""How a program ended, in a sentence and with what is known of it: the report of an attempt's death. Pure.

Not here: what its stderr says about it (diagnose.py), what becomes of the attempt (attempt.py).
"""

from __future__ import annotations

import attrs

from discomputify_core.model.job import End, JobSpec, Outcome
from discomputify_core.model.node import NodeFacts
from discomputify_core.roles.node.diagnose import diagnose
from discomputify_core.roles.runner.launch import Exit

#: Most lines of stderr, and characters of them, told to the master; all of it is kept with the outputs.
LINES, CHARACTERS = 50, 8000
#: Units of memory, the largest first.
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def memory_limit(spec: JobSpec) -> int:
    """Bytes that a part of the job may use: its limit, or what it asked for; 0: any number."""
    return spec.memory_limit or spec.request.memory


def verdict(ended: Exit, spec: JobSpec, facts: NodeFacts, folder: str) -> Outcome:
    """What the end of its program means for an attempt whose outputs can be kept.

    Args:
        ended: how it ended.
        spec: its job.
        facts: of the node.
        folder: where the node's work folders are.
    """
    outcome = Outcome(
        ended.attempt,
        End.DONE,
        code=ended.signal or ended.code,
        stderr_tail=tail(ended.stderr_tail),
        started_at=ended.started_at,
        ended_at=ended.ended_at,
        cpu_seconds=ended.cpu_seconds,
        peak_memory=ended.peak_rss,
    )
    if ended.broken:
        return attrs.evolve(outcome, end=End.BROKEN, reason=f"was cut short: {ended.broken}")
    if ended.stopped:
        return attrs.evolve(outcome, end=End.STOPPED, reason="stopped")
    if ended.limit == "time":
        return attrs.evolve(outcome, end=End.TIME_LIMIT, reason=_too_long(ended, spec))
    if ended.limit == "memory":
        return attrs.evolve(outcome, end=End.MEMORY_LIMIT, reason=_too_much(ended, memory_limit(spec)))
    if not ended.code and not ended.signal:
        return outcome
    found = diagnose(
        code=ended.code,
        signal=ended.signal,
        stderr_tail=ended.stderr_tail,
        python=facts.python,
        interpreter=facts.interpreter,
        folder=folder,
    )
    return attrs.evolve(
        outcome,
        end=End.SIGNAL if ended.signal else End.EXIT,
        reason=found.reason,
        missing_module=found.missing_module,
    )


def tail(stderr: str) -> str:
    """The last lines of *stderr*, whole ones if they are not longer than all that is told."""
    text = "\n".join(stderr.split("\n")[-LINES:])
    if len(text) <= CHARACTERS:
        return text
    cut = text[-CHARACTERS:]
    return cut.partition("\n")[2] or cut


def _too_long(ended: Exit, spec: JobSpec) -> str:
    ran = max(ended.ended_at - ended.started_at, spec.time_limit)  # the wall clock may have been set meanwhile
    return f"ran for {ran:,.1f} s, its time limit is {spec.time_limit:,.10g} s"


def _too_much(ended: Exit, limit: int) -> str:
    if not ended.over:
        return f"used all of the {size(limit)} of memory that are its limit, and asked for more"
    unit, bytes_of_it = next((each for each in _UNITS if limit >= each[1]), _UNITS[-1])
    used, most = ended.over / bytes_of_it, limit / bytes_of_it
    digits = next((digits for digits in (1, 2, 3) if f"{used:.{digits}f}" != f"{most:.{digits}f}"), 4)
    return f"used {used:,.{digits}f} {unit}, its limit is {most:,.{digits}f} {unit}"


def size(count: int) -> str:
    """*count* bytes for people."""
    unit, bytes_of_it = next((each for each in _UNITS if count >= each[1]), _UNITS[-1])
    return f"{count / bytes_of_it:,.1f} {unit}"
