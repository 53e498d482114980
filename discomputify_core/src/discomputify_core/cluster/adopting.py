"""Nodes that were given up and come back: which of their attempts go on.

An attempt of a node that was lost is remembered while its part is not over. When the node is back with it, and the part
has not started elsewhere, it goes on as if nothing had been; else the one that has run for longer stays. Not here:
nodes that come back before they are given up (on_nodes.py).
"""

from __future__ import annotations

from discomputify_core.cluster.lifecycle import PART_ENDED, Cause
from discomputify_core.cluster.on_attempts import hold, stop
from discomputify_core.cluster.state import Attempt, Job, Node
from discomputify_core.cluster.turn import Turn
from discomputify_core.model import events as ev
from discomputify_core.model.ids import AttemptId
from discomputify_core.model.job import End, PartState

#: Why one of two attempts of a part is stopped when a node comes back.
LONGER = "another attempt of the part, whose node came back, has run for longer"


def remember(turn: Turn, node: Node, attempt: Attempt) -> None:
    """*attempt* was lost with *node*, and may come back with it."""
    job = turn.state.jobs.get(attempt.process_id)
    if job is None or attempt.stopping or job.parts.state(attempt.part) in PART_ENDED:
        return
    node.fenced[attempt.id] = attempt
    job.fenced.setdefault(attempt.part, []).append((node.name, attempt.id))


def forget_all(turn: Turn, node: Node) -> None:
    """Nothing of what *node* ran when it was lost can come back."""
    for attempt in list(node.fenced.values()):
        _forget(turn, node, attempt)


def adopt(turn: Turn, node: Node, event: ev.NodeJoined) -> None:
    """*node* is back: what it still runs goes on, unless its part does elsewhere. Its role stops the rest."""
    if not node.fenced:
        return
    there = set(event.attempts)
    for attempt in list(node.fenced.values()):
        job = _forget(turn, node, attempt)
        if attempt.id in there and job is not None:
            _adopt(turn, job, attempt)


def _forget(turn: Turn, node: Node, attempt: Attempt) -> Job | None:
    """*attempt* is not expected back any more; returns its job."""
    del node.fenced[attempt.id]
    job = turn.state.jobs[attempt.process_id]
    places = job.fenced[attempt.part]
    places.remove((node.name, attempt.id))
    if not places:
        del job.fenced[attempt.part]
    return job


def _adopt(turn: Turn, job: Job, attempt: Attempt) -> None:
    """Take *attempt* back if it is of use."""
    others = list(job.attempts_of(attempt.part))
    if job.stop_asked or len(others) > 1 or job.memory.used or attempt.generation != job.generation:
        return
    if not others:
        job.parts.take_one(attempt.part)
        job.parts.move(attempt.part, Cause.ADOPTED)
        if not turn.state.ready(job):
            turn.state.sated(job)
    elif not _longer(attempt, others[0]):
        return
    if attempt.started_wall and job.parts.state(attempt.part) is PartState.PLACED:
        job.parts.move(attempt.part, Cause.STARTED)
    hold(turn, job, attempt)
    _undo_loss(job, attempt.part, attempt.id)
    turn.touch(job.id)
    for other in others:
        if not other.stopping:
            stop(turn, other, LONGER)


def _longer(attempt: Attempt, other: Attempt) -> bool:
    """Whether *attempt* has run for longer than *other*, as far as is known."""
    return bool(attempt.started_wall) and (not other.started_wall or attempt.started_wall <= other.started_wall)


def _undo_loss(job: Job, part: int, attempt: AttemptId) -> None:
    """That *attempt* was lost does not count any more, and is not told."""
    trouble = job.parts.trouble.get(part)
    if trouble is not None:
        trouble.losses -= 1
    kept = job.reports.get(part, [])
    left = [each for each in kept if each.attempt != attempt or each.end != End.LOST.value]
    if left:
        job.reports[part] = left
    else:
        job.reports.pop(part, None)
    for report in [each for each in job.recent if each.attempt == attempt and each.end == End.LOST.value]:
        job.recent.remove(report)
