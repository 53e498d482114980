"""What happens to attempts: started, progressed, ended; and what becomes of their parts."""

from __future__ import annotations

import attrs

from discomputify_core.cluster.lifecycle import Cause
from discomputify_core.cluster.parts import Trouble
from discomputify_core.cluster.state import Attempt, Job, Node
from discomputify_core.cluster.turn import Turn
from discomputify_core.model import events as ev
from discomputify_core.model.commands import StartPart, StopAttempt
from discomputify_core.model.ids import AttemptId, NodeName, attempt_id
from discomputify_core.model.job import AttemptReport, End, Outcome, PartState
from discomputify_core.model.memory import AGAIN, DONE, GONE, Over

#: Parts of a job that fail on one node, and not elsewhere, before the job avoids it.
REFUSE_AFTER = 3


def on_attempt_started(turn: Turn, event: ev.AttemptStarted) -> None:
    """A part's program runs."""
    attempt = known(turn, event.node, event.attempt)
    if attempt is None:
        return
    job = turn.state.jobs[attempt.process_id]
    if job.parts.state(attempt.part) is PartState.PLACED:
        job.parts.move(attempt.part, Cause.STARTED)
        attempt.started_wall = event.wall
        turn.touch(job.id)


def on_attempt_progressed(turn: Turn, event: ev.AttemptProgressed) -> None:
    """A part said how far it is, or its node what it waits for."""
    attempt = known(turn, event.node, event.attempt)
    if attempt is None:
        return
    job = turn.state.jobs[attempt.process_id]
    job.progress += event.fraction - attempt.progress
    attempt.progress = event.fraction
    job.note = event.note or job.note
    if event.waiting:
        job.waiting[attempt.id] = event.waiting
    else:
        job.waiting.pop(attempt.id, None)
    turn.touch(job.id)


def on_attempt_ended(turn: Turn, event: ev.AttemptEnded) -> None:
    """An attempt ended, as its node reports."""
    outcome = event.outcome
    attempt = known(turn, event.node, outcome.attempt)
    if attempt is not None:
        end(turn, attempt, outcome, event.wall)


def known(turn: Turn, node: NodeName, attempt: AttemptId) -> Attempt | None:
    """The live attempt, or None (counted) for a late or duplicate report of one that is over."""
    found = turn.state.attempts.get(attempt)
    if found is None or found.node != node:
        turn.state.late += 1
        return None
    return found


def end(turn: Turn, attempt: Attempt, outcome: Outcome, wall: float) -> None:
    """An attempt is over; what becomes of its part."""
    job = turn.state.jobs[attempt.process_id]
    release(turn, attempt)
    note_strays(turn, job, outcome)
    if outcome.end is End.RETURNED:
        # It would give back at once whatever it got until it has left.
        turn.state.nodes[attempt.node].stopping = True
    if attempt.ends_as is not None:
        outcome = attrs.evolve(outcome, end=attempt.ends_as, reason=attempt.stopping, memory_lost=True)
    if outcome.end is End.DONE and job.outputs.fits(outcome.manifest):
        commit(turn, job, attempt, outcome, wall)
        return
    if outcome.end is End.RETURNED:
        again(turn, attempt, Cause.RETURNED, wall)
        return
    cause = verdict(turn, job, attempt, outcome)
    reason = outcome.reason or "its outputs came with a digest that cannot be read"
    if cause is Cause.GAVE_UP and outcome.memory_lost:
        reason = lost_too_often(job, job.parts.trouble[attempt.part], reason)
    # Of many parts that start again together only the job's own warning is news.
    recent = attempt.ends_as is None or cause is Cause.GAVE_UP
    job.keep(
        AttemptReport(
            part=attempt.part,
            number=attempt.number,
            attempt=attempt.id,
            node=attempt.node,
            end=outcome.end.value,
            code=outcome.code,
            reason=reason,
            stderr_tail=outcome.stderr_tail,
            manifest=outcome.manifest,
            started_at=outcome.started_at,
            ended_at=outcome.ended_at or wall,
        ),
        recent=recent,
    )
    again(turn, attempt, cause, wall)


def lost_too_often(job: Job, trouble: Trouble, reason: str) -> str:
    """*reason*, and that the part has no losses left."""
    times = "once" if trouble.losses == 1 else f"{trouble.losses} times"
    return f"{reason}; its work was lost {times}, which is more than the {job.spec.lost_attempts} that are made up for"


def commit(turn: Turn, job: Job, attempt: Attempt, outcome: Outcome, wall: float) -> None:
    """The attempt's outputs are those of its part: the first such report wins."""
    job.parts.move(attempt.part, Cause.COMMITTED)
    job.outputs.add(attempt.part, attempt.number, attempt.node, outcome.manifest)
    trouble = job.parts.trouble.pop(attempt.part, None)
    if attempt.memory is not None:  # it is of this generation: those of earlier ones do not count
        job.memory.note_done(attempt.part, job.parts.total, trouble)
    turn.tell(job, Over(attempt.part, attempt.number, attempt.id, DONE))
    for name in trouble.failed_on if trouble else ():
        job.mended[name] = job.mended.get(name, 0) + (name != attempt.node)
    if job.failed_on:
        for name in list(job.failed_on):
            refuse_perhaps(turn, job, name)
    turn.touch(job.id)
    if not turn.state.ready(job):
        turn.ended_perhaps(job, wall)


def verdict(turn: Turn, job: Job, attempt: Attempt, outcome: Outcome) -> Cause:
    """Whether the part is tried again; counts against its budgets."""
    trouble = job.parts.trouble.setdefault(attempt.part, Trouble(attempt.number))
    if outcome.end is End.LOST or (outcome.memory_lost and outcome.end is not End.STOPPED):
        trouble.losses += 1
        return Cause.RETRIED if trouble.losses <= job.spec.lost_attempts else Cause.GAVE_UP
    if outcome.end is End.STOPPED:
        return Cause.RETURNED
    trouble.failures += 1
    trouble.failed_on |= {attempt.node}
    job.failed_on.setdefault(attempt.node, set()).add(attempt.part)
    refuse_perhaps(turn, job, attempt.node)
    return Cause.RETRIED if trouble.failures < job.spec.attempts else Cause.GAVE_UP


def again(turn: Turn, attempt: Attempt, cause: Cause, wall: float) -> None:
    """The attempt's part goes on: ready again, given up, or stopped with its job."""
    job = turn.state.jobs[attempt.process_id]
    if job.stop_asked and cause is not Cause.GAVE_UP:
        cause = Cause.STOPPED
    elif cause is not Cause.GAVE_UP:
        trouble = job.parts.trouble.setdefault(attempt.part, Trouble(attempt.number))
        trouble.number = attempt.number + 1
    state = job.parts.move(attempt.part, cause)
    tell_over(turn, job, attempt, state)
    turn.touch(job.id)
    turn.feed(job)
    if not turn.state.ready(job):
        turn.ended_perhaps(job, wall)


def tell_over(turn: Turn, job: Job, attempt: Attempt, state: PartState) -> None:
    """Tell the job's shared memory that the attempt is over, and whether another one of its part may come."""
    if state is PartState.READY:
        turn.tell(job, Over(attempt.part, attempt.number, attempt.id, AGAIN))
        return
    reports = job.reports.get(attempt.part)
    reason = reports[-1].reason if state is PartState.FAILED and reports else job.reason
    turn.tell(job, Over(attempt.part, attempt.number, attempt.id, GONE, reason))


def refuse_perhaps(turn: Turn, job: Job, name: NodeName) -> None:
    """A node that fails parts which others manage gets no more of the job, while another node is left."""
    failed = job.failed_on[name]
    if name in job.refused or len(failed) < REFUSE_AFTER:
        return
    elsewhere = job.outputs.count - job.outputs.by_node.get(name, 0)
    alone = not job.outputs.by_node.get(name, 0) and elsewhere > 0
    others = any(n.open and n.name != name and n.name not in job.refused for n in turn.state.nodes.values())
    if others and (alone or job.mended.get(name, 0) >= REFUSE_AFTER):
        job.refused[name] = f"{len(failed)} parts of '{job.id}' failed there while others succeed elsewhere"
        turn.touch(job.id)


def note_strays(turn: Turn, job: Job, outcome: Outcome) -> None:
    """Remember new files outside OUTPUT_PATH, and those that could not be collected, for warnings."""
    for path in outcome.strays:
        if path in job.strays or len(job.strays) < 20:
            job.strays[path] = job.strays.get(path, 0) + 1
    for sentence in outcome.unkept:
        if len(job.unkept) < 20:
            job.unkept[sentence] = None


def stop(turn: Turn, attempt: Attempt, reason: str) -> None:
    """Tell the attempt's node to end it."""
    attempt.stopping = reason
    turn.commands.append(StopAttempt(attempt.node, attempt.id, reason))


def release(turn: Turn, attempt: Attempt) -> None:
    """Give back what the attempt occupied."""
    job = turn.state.jobs[attempt.process_id]
    turn.state.attempts.pop(attempt.id, None)
    job.live.pop(attempt.id, None)
    job.waiting.pop(attempt.id, None)
    job.progress -= attempt.progress
    node = turn.state.nodes[attempt.node]
    node.free(attempt, job.spec.request)
    turn.dirty = turn.dirty or bool(turn.state.hungry)


def start(turn: Turn, job: Job, part: int, node: Node) -> None:
    """Place *part* on *node* as a new attempt."""
    trouble = job.parts.trouble.get(part)
    number = trouble.number if trouble else 1
    job.parts.move(part, Cause.PLACED)
    attempt = Attempt(attempt_id(job.id, part, number, job.spec.key), job.id, part, number, node.name)
    attempt.generation = job.generation
    turn.state.attempts[attempt.id] = job.live[attempt.id] = attempt
    node.take(attempt, job.spec.request)
    if node.name not in job.ran_on:
        packages = node.facts.packages
        job.ran_on[node.name] = (
            node.facts.python,
            tuple(packages.get(name, "") for name in job.spec.requirements),
        )
    turn.commands.append(StartPart(node.name, attempt.id, part, number, job.spec, job.generation))
