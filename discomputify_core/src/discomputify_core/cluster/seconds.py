"""Second attempts: a part that runs far longer than others did is tried on another node too, when nothing else waits.

The first attempt to commit wins (on_attempts.commit). Only for jobs that asked for it, and not for those that share
memory or start together: there each part has one attempt. Not here: which of a part's attempts stays when a node comes
back (adopting.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from discomputify_core.cluster import capacity, on_attempts, placement
from discomputify_core.cluster.parts import Trouble
from discomputify_core.cluster.state import Attempt, Job, Node, State
from discomputify_core.cluster.turn import Settings, Turn
from discomputify_core.errors import OurBug
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model import events as ev
from discomputify_core.model.ids import NodeName
from discomputify_core.model.view import Ready

#: A part is slow when it runs for so many times the mean of those that are done, and for so many seconds.
TIMES = 2.0
LEAST = 5.0
#: Parts of a job that have to be done before others of it can be called slow; or a quarter of all, if that is more.
DONE = 3
#: Most second attempts that are placed in one turn.
AT_ONCE = 20


def allowed(job: Job) -> bool:
    """Whether parts of *job* may have second attempts."""
    return job.spec.second_attempts and not (job.spec.together or job.memory.used or job.ended or job.stop_asked)


def due(state: State, settings: Settings, now: float, wall: float) -> Iterable[ev.Event]:
    """Slow parts, as many as could be tried elsewhere just now."""
    asking = [job for job in state.jobs.values() if job.spec.second_attempts and allowed(job)]
    if not asking or not nothing_waits(state):
        return
    for job in asking:
        if job.timed >= max(DONE, job.parts.total / 4):
            yield from _slow(state, job, wall)


def nothing_waits(state: State) -> bool:
    """Whether no part is ready that a node which is there could ever run."""
    return not any(_could_start(state, job) for job in state.hungry.values())


def _could_start(state: State, job: Job) -> bool:
    nodes = (node for node in state.nodes.values() if node.live and node.name not in job.refused)
    return any(node.could_run(job.spec) for node in nodes)


def _slow(state: State, job: Job, wall: float) -> Iterator[ev.SecondAttempt]:
    least = max(LEAST, TIMES * job.took / job.timed)
    slow = [
        attempt
        for attempt in job.live.values()
        if attempt.started_wall and wall - attempt.started_wall > least and single(job, attempt.part) is attempt
    ]
    if not slow:
        return
    room = capacity.rooms(state, job)
    left = sum(room.values()) - len(job.seconds)
    for attempt in slow:
        if left > 0 and attempt.part not in job.seconds and room.keys() - avoided(job, attempt):
            left -= 1
            yield ev.SecondAttempt(job.id, attempt.part)


def single(job: Job, part: int) -> Attempt | None:
    """The only live attempt of *part*, unless there are two, or none, or it is to end."""
    live = job.on_part.get(part, ())
    return live[0] if len(live) == 1 and not live[0].stopping else None


def avoided(job: Job, attempt: Attempt) -> frozenset[NodeName]:
    """Where another attempt of the part cannot go: where this one runs, and where earlier ones failed."""
    trouble = job.parts.trouble.get(attempt.part)
    return frozenset({attempt.node}) | (trouble.failed_on if trouble else frozenset())


def on_second_attempt(turn: Turn, event: ev.SecondAttempt) -> None:
    """A part is slow: it is tried on another node as soon as one is idle."""
    job = turn.state.jobs.get(event.process_id)
    if job is not None and allowed(job) and single(job, event.part) is not None:
        job.seconds[event.part] = None
        turn.state.doubling[job.id] = None
        turn.dirty = True


def wanted(state: State) -> list[tuple[Job, Attempt]]:
    """Parts that may be tried on another node now, as their attempts; those that need it no more are forgotten."""
    found = []
    for job in [state.jobs[each] for each in state.doubling]:
        for part in list(job.seconds):
            attempt = single(job, part) if allowed(job) else None
            if attempt is None:
                not_needed(state, job, part)
            else:
                found.append((job, attempt))
    return found[:AT_ONCE]


def not_needed(state: State, job: Job, part: int) -> None:
    """*part* needs no second attempt any more."""
    job.seconds.pop(part, None)
    if not job.seconds:
        state.doubling.pop(job.id, None)


def place(state: State, job: Job, attempt: Attempt, policy: Scheduler, now: float) -> placement.Pass:
    """Ask *policy* where the second attempt beside *attempt* goes; changes nothing."""
    avoid = capacity.barred(job, state.nodes.values()) | avoided(job, attempt)
    request = placement.asked(job)
    ready = Ready(0, job.id, job.spec.owner, job.spec.priority, request, 1, job.spec.part_bytes, avoid)
    view = placement.view_of(state, now, (job,))
    if all(node.name in avoid for node in view.nodes):
        return placement.Pass()
    return placement.ask(state, [placement.Offer(ready, job, avoid)], view, policy)


def begin(turn: Turn, job: Job, part: int, node: Node) -> None:
    """Begin the second attempt of *part* on *node*.

    Raises:
        OurBug: it needs none.
    """
    first = single(job, part)
    if first is None:
        raise OurBug(f"Part {part} of '{job.id}' cannot have a second attempt.")
    not_needed(turn.state, job, part)
    trouble = job.parts.trouble.setdefault(part, Trouble(first.number))
    trouble.number = max(trouble.number, first.number + 1)
    on_attempts.begin(turn, job, part, trouble.number, node)
