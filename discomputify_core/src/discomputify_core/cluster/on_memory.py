"""What happens around shared memory: parts use it, a table of it is lost, a job's parts start again together.

What a shared memory holds is volatile. Once it is lost, parts that used it can neither go on nor count as done, since
others may still need what they had put there: the job gets a new *generation*, which shares nothing with the one
before. Parts that never used it are left alone. Not here: ends of attempts (on_attempts.py).
"""

from __future__ import annotations

from discomputify_core.cluster import on_attempts
from discomputify_core.cluster.lifecycle import Cause
from discomputify_core.cluster.memory import JobMemory
from discomputify_core.cluster.state import Attempt, Job
from discomputify_core.cluster.turn import Turn
from discomputify_core.model import events as ev
from discomputify_core.model.commands import ClearMemory
from discomputify_core.model.ids import attempt_id
from discomputify_core.model.job import AttemptReport, End, PartState
from discomputify_core.model.memory import AGAIN, DONE, GONE, Over, Scope


def on_memory_used(turn: Turn, event: ev.MemoryUsed) -> None:
    """An attempt uses shared memory: its job's memory learns who is over, unless it is another table than before."""
    attempt = on_attempts.wanted(turn, event.node, event.attempt)
    if attempt is None:
        return
    job = turn.state.jobs[attempt.process_id]
    attempt.memory = event.table or attempt.memory or ""
    if attempt.generation != job.generation:
        too_late(turn, job, attempt)
        return
    memory = job.memory
    memory.used = True
    only_newest(turn, job, attempt.part)
    if not memory.may_be_in(event.table):
        if in_use(job, besides=attempt):
            start_over(turn, job, "the shared memory was lost while they used it", memory.table, event.wall)
            return
        memory.forget_table()
    memory.table = event.table or memory.table
    if not memory.told:
        memory.told = True
        tell_all(turn, job)


def only_newest(turn: Turn, job: Job, part: int) -> None:
    """In shared memory an attempt takes the place of older ones of its part, which have to end."""
    *older, _ = sorted(job.attempts_of(part), key=lambda attempt: attempt.number)
    for attempt in older:
        if not attempt.stopping:
            on_attempts.stop(turn, attempt, "a newer attempt of the part takes its place in shared memory")


def on_start_over_asked(turn: Turn, event: ev.StartOverAsked) -> None:
    """What a part needs of its job's shared memory is gone for good."""
    attempt = on_attempts.wanted(turn, event.node, event.attempt)
    if attempt is None:
        return
    job = turn.state.jobs[attempt.process_id]
    attempt.memory = attempt.memory or ""
    if attempt.generation != job.generation:
        too_late(turn, job, attempt)
        return
    job.memory.used = True
    only_newest(turn, job, attempt.part)
    start_over(turn, job, event.reason, "", event.wall)


def on_memory_table_lost(turn: Turn, event: ev.MemoryTableLost) -> None:
    """Jobs with parts that used the table start over."""
    for job in turn.state.jobs.values():
        if job.ended or not job.memory.used or not job.memory.may_be_in(event.table):
            continue
        if in_use(job):
            start_over(turn, job, event.reason, event.table, event.wall)
        else:
            job.memory.forget_table()


def in_use(job: Job, besides: Attempt | None = None) -> bool:
    """Whether a part still counts on what this generation's memory holds: it used it, and is done or under way."""
    return job.memory.any_done() or any(attempt is not besides for attempt in users(job))


def users(job: Job) -> list[Attempt]:
    """Live attempts that use the memory of this generation."""
    live = job.live.values()
    return [each for each in live if each.memory is not None and each.generation == job.generation]


def start_over(turn: Turn, job: Job, reason: str, table: str, wall: float) -> None:
    """All parts of *job* that used its memory start again, in a new generation. A job that is being stopped just ends.

    Args:
        table: the one that was lost. Attempts that use another one already are ended, too, but it costs them nothing.
    """
    if job.ended or job.stop_asked:
        return
    old, memory, under_way = job.scope, job.memory, users(job)
    job.generation += 1
    job.started_over = reason
    job.memory = JobMemory()
    turn.telling.pop(job.id, None)
    clear(turn, old)
    turn.touch(job.id)
    for attempt in under_way:
        blameless = bool(table and attempt.memory and attempt.memory != table)
        end_soon(turn, attempt, reason, End.STOPPED if blameless else End.LOST)
    take_back(turn, job, memory, reason, wall)
    turn.feed(job)
    if not turn.state.ready(job):
        turn.ended_perhaps(job, wall)


def clear(turn: Turn, scope: Scope) -> None:
    """Nobody needs *scope* any more."""
    turn.state.clearing_memory[scope] = None
    turn.commands.append(ClearMemory(scope))


def on_memory_cleared(turn: Turn, event: ev.MemoryCleared) -> None:
    """The shared memory has freed a scope."""
    turn.state.clearing_memory.pop(event.scope, None)


def too_late(turn: Turn, job: Job, attempt: Attempt) -> None:
    """An attempt of an earlier generation began to use shared memory after its job had started over."""
    if attempt.ends_as is None:
        end_soon(turn, attempt, job.started_over, End.LOST)


def end_soon(turn: Turn, attempt: Attempt, reason: str, ends_as: End) -> None:
    """Let the attempt's node end it; whatever that reports of it, it does not count.

    Its part goes back once it has ended: what it occupies is not free before.
    """
    attempt.ends_as = ends_as
    # What it kept goes with what it had shared, which is gone.
    turn.state.jobs[attempt.process_id].checkpoints.pop(attempt.part, None)
    on_attempts.stop(turn, attempt, reason)


def take_back(turn: Turn, job: Job, memory: JobMemory, reason: str, wall: float) -> None:
    """Done parts that used *memory* have to run again; where that was too often already, they fail."""
    for part, number, node, manifest in job.outputs.take_back(memory.done()):
        trouble = memory.trouble_of(part)
        trouble.number = max(trouble.number, number + 1)
        trouble.losses += 1
        job.parts.trouble[part] = trouble
        cause = Cause.STARTED_OVER if trouble.losses <= job.spec.lost_attempts else Cause.GAVE_UP
        job.parts.move(part, cause)
        if cause is Cause.GAVE_UP:
            turn.given_up[job.id] = wall
        why = reason if cause is Cause.STARTED_OVER else on_attempts.lost_too_often(job, trouble, reason)
        attempt = attempt_id(job.id, part, number, job.spec.key)
        end = End.LOST.value
        report = AttemptReport(part, number, attempt, node, end, reason=why, manifest=manifest, ended_at=wall)
        job.keep(report, recent=cause is Cause.GAVE_UP)


def tell_all(turn: Turn, job: Job) -> None:
    """Tell a memory that is used for the first time which parts are over already."""
    for at, (part, number, _, _) in job.outputs.positions():
        turn.tell(job, Over(part, number, job.attempt_at(at), DONE))
    for part in job.parts.having(PartState.FAILED):
        reports = job.reports.get(part)
        if reports:
            last = reports[-1]
            turn.tell(job, Over(part, last.number, last.attempt, GONE, last.reason))


def tell_again(turn: Turn, job: Job) -> None:
    """Tell all that is over once more: nobody knows whether it was heard."""
    tell_all(turn, job)
    for part, trouble in job.parts.trouble.items():
        live = [attempt.number for attempt in job.attempts_of(part)]
        over = min(live, default=trouble.number) - 1
        if over and (live or job.parts.state(part) is PartState.READY):
            turn.tell(job, Over(part, over, attempt_id(job.id, part, over, job.spec.key), AGAIN))
