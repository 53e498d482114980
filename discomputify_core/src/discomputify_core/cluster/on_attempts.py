"""What happens to attempts: started, progressed, ended; and what becomes of their parts."""

from __future__ import annotations

import attrs

from discomputify_core.cluster import causes, setting_aside
from discomputify_core.cluster.lifecycle import Cause
from discomputify_core.cluster.parts import Trouble
from discomputify_core.cluster.state import Attempt, Job, Node
from discomputify_core.cluster.turn import Turn
from discomputify_core.model import events as ev
from discomputify_core.model.commands import DropJob, StartPart, StopAttempt
from discomputify_core.model.ids import AttemptId, NodeName, attempt_id
from discomputify_core.model.job import AttemptReport, End, Outcome, PartState
from discomputify_core.model.memory import AGAIN, DONE, GONE, Over

#: Why an attempt is stopped whose part is done by another one.
BEATEN = "another attempt of the part was faster"
#: Parts of a job that fail on one node, and not elsewhere, before the job avoids it.
REFUSE_AFTER = 3


def on_attempt_started(turn: Turn, event: ev.AttemptStarted) -> None:
    """A part's program runs."""
    attempt = wanted(turn, event.node, event.attempt)
    if attempt is None:
        return
    job = turn.state.jobs[attempt.process_id]
    attempt.started_wall = attempt.started_wall or event.wall
    if job.parts.state(attempt.part) is PartState.PLACED:
        job.parts.move(attempt.part, Cause.STARTED)
        turn.touch(job.id)


def on_attempt_progressed(turn: Turn, event: ev.AttemptProgressed) -> None:
    """A part said how far it is, or its node what it waits for."""
    attempt = turn.state.attempts.get(event.attempt)
    job = turn.state.jobs.get(attempt.process_id) if attempt else None
    if attempt is None or job is None or attempt.node != event.node or attempt.id not in job.live:
        return  # not counted as late: it is not written down either
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


def on_attempt_kept(turn: Turn, event: ev.AttemptKept) -> None:
    """A part has a checkpoint: its next attempt starts with it."""
    attempt = wanted(turn, event.node, event.attempt)
    if attempt is not None and attempt.ends_as is None:
        turn.state.jobs[attempt.process_id].checkpoints[attempt.part] = event.manifest


def known(turn: Turn, node: NodeName, attempt: AttemptId) -> Attempt | None:
    """The attempt, or None (counted) for a late or duplicate report of one that is over."""
    found = turn.state.attempts.get(attempt)
    if found is None or found.node != node:
        turn.state.late += 1
        return None
    return found


def wanted(turn: Turn, node: NodeName, attempt: AttemptId) -> Attempt | None:
    """The attempt if its job still waits for it; None, counted, if it is over or was beaten."""
    found = known(turn, node, attempt)
    job = turn.state.jobs.get(found.process_id) if found else None
    return found if job is not None and attempt in job.live else None


def end(turn: Turn, attempt: Attempt, outcome: Outcome, wall: float) -> None:
    """An attempt is over; what becomes of its part."""
    job = turn.state.jobs.get(attempt.process_id)
    waited_for = job is not None and attempt.id in job.live
    release(turn, attempt)
    node = turn.state.nodes[attempt.node]
    if outcome.end is End.RETURNED:
        # It would give back at once whatever it got until it has left.
        node.stopping = True
    if job is None or not waited_for:
        beaten_ended(turn, attempt, job)
        return
    note_strays(turn, job, outcome)
    if attempt.ends_as is not None:
        outcome = attrs.evolve(outcome, end=attempt.ends_as, reason=attempt.stopping, memory_lost=True)
    if outcome.end is End.DONE and job.outputs.fits(outcome.manifest):
        commit(turn, job, attempt, outcome, wall)
        return
    if outcome.end is End.RETURNED:
        again(turn, attempt, Cause.RETURNED, wall)
        return
    cause = verdict(turn, job, attempt, outcome)
    reason = outcome.reason or attempt.stopping or causes.sentence(outcome)
    if cause is Cause.GAVE_UP and outcome.memory_lost:
        reason = lost_too_often(job, job.parts.trouble[attempt.part], reason)
    # Of many parts that start again together only the job's own warning is news.
    recent = cause is Cause.GAVE_UP or (
        attempt.ends_as is None and (outcome.end is not End.STOPPED or bool(job.stop_asked))
    )
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
            started_at=outcome.started_at or attempt.started_wall,
            ended_at=outcome.ended_at or wall,
            cpu_seconds=outcome.cpu_seconds,
            peak_memory=outcome.peak_memory,
        ),
        recent=recent,
    )
    again(turn, attempt, cause, wall)


def beaten_ended(turn: Turn, attempt: Attempt, job: Job | None) -> None:
    """An attempt has ended that was beaten by another one: it counts nothing, and its node may forget its job."""
    turn.state.late += 1
    if job is None or job.ended:
        turn.commands.append(DropJob(attempt.node, attempt.process_id))


def lost_too_often(job: Job, trouble: Trouble, reason: str) -> str:
    """*reason*, and that the part has no losses left."""
    times = "once" if trouble.losses == 1 else f"{trouble.losses} times"
    return f"{reason}; its work was lost {times}, which is more than the {job.spec.lost_attempts} that are made up for"


def commit(turn: Turn, job: Job, attempt: Attempt, outcome: Outcome, wall: float) -> None:
    """The attempt's outputs are those of its part: the first such report wins."""
    for other in list(job.attempts_of(attempt.part)):
        job.drop(other)
        stop(turn, other, BEATEN)
    forget(turn, job, attempt.part)
    if attempt.started_wall and wall >= attempt.started_wall:
        job.took += wall - attempt.started_wall
        job.timed += 1
    job.parts.move(attempt.part, Cause.COMMITTED)
    job.outputs.add(attempt.part, attempt.number, attempt.node, outcome.manifest, outcome.output_bytes)
    trouble = job.parts.trouble.pop(attempt.part, None)
    if attempt.memory is not None:  # it is of this generation: those of earlier ones do not count
        job.memory.note_done(attempt.part, job.parts.total, trouble)
    turn.tell(job, Over(attempt.part, attempt.number, attempt.id, DONE))
    # In an order that does not depend on how the set was made: a replay makes it in another way.
    for name in sorted(trouble.failed_on) if trouble else ():
        job.mended[name] = job.mended.get(name, 0) + (name != attempt.node)
        refuse_perhaps(turn, job, name)
    if job.outputs.count == 1:  # until now nobody knew whether it was the nodes' fault
        for name in job.failed_on:
            refuse_perhaps(turn, job, name)
    setting_aside.note_success(turn.state.nodes[attempt.node])
    turn.touch(job.id)
    if not turn.state.ready(job):
        turn.ended_perhaps(job, wall)


def verdict(turn: Turn, job: Job, attempt: Attempt, outcome: Outcome) -> Cause:
    """Whether the part is tried again; counts against its budgets."""
    trouble = job.parts.trouble.setdefault(attempt.part, Trouble(attempt.number))
    if outcome.end is End.LOST or (outcome.memory_lost and outcome.end is not End.STOPPED):
        trouble.losses += 1
    elif outcome.end is End.STOPPED:
        return Cause.RETURNED
    else:
        trouble.failures += 1
        trouble.failed_on |= {attempt.node}
        job.failed_on.setdefault(attempt.node, set()).add(attempt.part)
        refuse_perhaps(turn, job, attempt.node)
        setting_aside.note_failure(turn, turn.state.nodes[attempt.node], job)
    left = trouble.losses <= job.spec.lost_attempts and trouble.failures < job.spec.attempts
    return Cause.RETRIED if left else Cause.GAVE_UP


def again(turn: Turn, attempt: Attempt, cause: Cause, wall: float) -> None:
    """The attempt's part goes on: with its other attempt, ready again, given up, or stopped with its job."""
    job = turn.state.jobs[attempt.process_id]
    if attempt.part in job.on_part:
        trouble = job.parts.trouble.setdefault(attempt.part, Trouble(attempt.number))
        trouble.number = max(trouble.number, attempt.number + 1)
        turn.tell(job, Over(attempt.part, attempt.number, attempt.id, AGAIN))
        turn.touch(job.id)
        return
    trouble = job.parts.trouble.setdefault(attempt.part, Trouble(attempt.number))
    trouble.number = max(trouble.number, attempt.number + 1)
    if job.stop_asked and cause is not Cause.GAVE_UP:
        cause = Cause.STOPPED
    state = job.parts.move(attempt.part, cause)
    if state is PartState.FAILED:
        turn.given_up[job.id] = wall
    if state is not PartState.READY:
        forget(turn, job, attempt.part)
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


def forget(turn: Turn, job: Job, part: int) -> None:
    """*part* is over: nothing that it left behind is needed."""
    job.checkpoints.pop(part, None)
    job.seconds.pop(part, None)
    if not job.seconds:
        turn.state.doubling.pop(job.id, None)
    for name, attempt in job.fenced.pop(part, ()):
        turn.state.nodes[name].fenced.pop(attempt, None)


def refuse_perhaps(turn: Turn, job: Job, name: NodeName) -> None:
    """A node that fails parts which others manage gets no more of the job, while another node is left."""
    failed = job.failed_on[name]
    if name in job.refused or len(failed) < REFUSE_AFTER:
        return
    elsewhere = job.outputs.count - job.outputs.by_node.get(name, 0)
    alone = not job.outputs.by_node.get(name, 0) and elsewhere > 0
    if not alone and job.mended.get(name, 0) < REFUSE_AFTER:
        return
    if any(n.open and n.name != name and n.name not in job.refused for n in turn.state.nodes.values()):
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
    turn.touched.append((attempt.process_id, attempt.part, attempt.node))
    turn.state.attempts.pop(attempt.id, None)
    job = turn.state.jobs.get(attempt.process_id)
    if job is not None:
        job.drop(attempt)
    turn.state.nodes[attempt.node].free(attempt)
    turn.dirty = turn.dirty or bool(turn.state.hungry or turn.state.doubling)


def hold(turn: Turn, job: Job, attempt: Attempt) -> None:
    """*attempt* is live: its job waits for it, and its node is occupied by it."""
    turn.touched.append((job.id, attempt.part, attempt.node))
    turn.state.attempts[attempt.id] = attempt
    job.add(attempt)
    turn.state.nodes[attempt.node].take(attempt)


def start(turn: Turn, job: Job, part: int, node: Node) -> None:
    """Place *part* on *node* as a new attempt."""
    trouble = job.parts.trouble.get(part)
    number = trouble.number if trouble else 1
    job.parts.move(part, Cause.PLACED)
    begin(turn, job, part, number, node)


def begin(turn: Turn, job: Job, part: int, number: int, node: Node) -> None:
    """Let *node* begin attempt *number* of *part*."""
    name = attempt_id(job.id, part, number, job.spec.key)
    attempt = Attempt(name, job.id, part, number, node.name, job.spec.request, generation=job.generation)
    hold(turn, job, attempt)
    if node.name not in job.ran_on:
        packages = node.facts.packages
        job.ran_on[node.name] = (
            node.facts.python,
            tuple(packages.get(name, "") for name in job.spec.requirements),
        )
    checkpoint = job.checkpoints.get(part, "")
    turn.commands.append(StartPart(node.name, attempt.id, part, number, job.spec, job.generation, checkpoint))
