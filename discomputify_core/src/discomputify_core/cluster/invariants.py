"""What must always be true of the cluster's state. Called by tests and simulations after events.

Twice: :func:`check` looks at everything, :func:`check_touched` at what one turn had to do with, at a cost that does not
grow with the cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from discomputify_core.cluster.lifecycle import PART_ENDED
from discomputify_core.cluster.state import Job, Node, State
from discomputify_core.errors import OurBug
from discomputify_core.model.commands import Command, JobChanged
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import PartState
from discomputify_core.model.records import Record

#: What a turn had to do with: an attempt's job, part and node.
Touched = tuple[ProcessId, int, NodeName]

UNDER_WAY = frozenset({PartState.PLACED, PartState.RUNNING})


def check(state: State) -> None:
    """Look at everything.

    Raises:
        OurBug: names what is broken.
    """
    for job in state.jobs.values():
        _check_job(state, job)
    for node in state.nodes.values():
        _check_node(state, node)
    _check_gangs(state)
    for attempt in state.attempts.values():
        _must(attempt.id in state.nodes[attempt.node].attempts, f"{attempt.id} is not on its node")
        known = state.jobs.get(attempt.process_id)
        waited_for = known is not None and attempt.id in known.live
        _must(attempt.stopping or waited_for, f"nobody waits for {attempt.id}")


def check_touched(
    state: State, touched: Iterable[Touched], commands: Iterable[Command] = (), record: Record | None = None
) -> None:
    """Look at the jobs, parts and nodes that the last turn had to do with (``Cluster.touched``).

    Raises:
        OurBug: names what is broken.
    """
    jobs = {command.process_id: None for command in commands if isinstance(command, JobChanged)}
    nodes = {name: None for event in record.events if (name := getattr(event, "node", None))} if record else {}
    for process_id, part, name in touched:
        jobs[process_id] = nodes[name] = None
        if process_id in state.jobs:
            _check_part(state, state.jobs[process_id], part)
    for process_id in jobs:
        if process_id in state.jobs:
            _check_counts(state, state.jobs[process_id])
    for name in nodes:
        if name in state.nodes:
            _check_node(state, state.nodes[name])


def _must(true: object, what: str) -> None:
    if not true:
        raise OurBug(f"An invariant is broken: {what}.")


def _check_counts(state: State, job: Job) -> None:
    """What can be said of a job without looking at its parts one by one."""
    counts = job.parts.counts()
    each = (counts.waiting, counts.ready, counts.placed, counts.running, counts.done, counts.failed, counts.stopped)
    _must(min(each) >= 0 and sum(each) == counts.total, f"{job.id} lost a part")
    _must(job.outputs.count == counts.done, f"{job.id} has outputs of other parts than are done")
    _must(len(job.on_part) == counts.placed + counts.running, f"{job.id} has parts under way without an attempt")
    _must(job.waiting.keys() <= job.live.keys(), f"{job.id} waits for attempts that are over")
    grouped = sum(count for _, count in job.parts.ready_groups())
    _must(grouped == counts.ready, f"{job.id} lost a ready part")
    _must(bool(state.ready(job)) == (job.id in state.hungry), f"{job.id} is ready and nobody would place it")
    _must(bool(job.seconds) <= (job.id in state.doubling), f"{job.id} has slow parts that nobody would place again")
    _must(not job.memory.over, f"{job.id} has not told its memory who is over")
    _must(not job.ended or job.ended_wall is not None, f"{job.id} has ended and nobody noticed")
    _must(job.ended == (job.id in state.over), f"nobody knows how long ago {job.id} ended")
    late = bool(job.spec.deadline) and not job.ended
    _must(late == (job.id in state.timed), f"nobody looks at the deadline of {job.id}")
    many = 0 < job.spec.max_failures <= counts.failed
    _must(not many or job.ended or job.stop_asked, f"{job.id} goes on although {counts.failed} parts failed")
    _must(sum(job.outputs.by_origin) == counts.done, f"{job.id} miscounts its outputs by origin")
    _must(len(job.outputs.by_origin) == len(job.origins), f"{job.id} has outputs of unknown origin")


def _check_part(state: State, job: Job, part: int) -> None:
    where, live = job.parts.state(part), job.on_part.get(part, [])
    _must((where in UNDER_WAY) == bool(live), f"part {part} of {job.id} is {where.name} and has {len(live)} attempts")
    _must(len(live) <= 2, f"{job.id} has {len(live)} live attempts of part {part}")
    for attempt in live:
        _must(state.attempts.get(attempt.id) is attempt, f"{attempt.id} is not known")
        _must(job.live.get(attempt.id) is attempt, f"{job.id} does not wait for {attempt.id}")
    if where in PART_ENDED:
        left = part in job.fenced or part in job.seconds or part in job.checkpoints
        _must(not left, f"part {part} of {job.id} is over and not forgotten")


def _check_job(state: State, job: Job) -> None:
    _check_counts(state, job)
    counts = job.parts.counts()
    by_hand = [sum(1 for _ in job.parts.having(where)) for where in PartState]
    _must(
        by_hand
        == [counts.waiting, counts.ready, counts.placed, counts.running, counts.done, counts.failed, counts.stopped],
        f"{job.id} miscounts its parts",
    )
    rows = [part for part, *_ in job.outputs.rows()]
    _must(sorted(rows) == list(job.parts.having(PartState.DONE)), f"{job.id} has outputs of other parts than are done")
    _must(sum(job.outputs.by_node.values()) == len(rows), f"{job.id} miscounts its outputs by node")
    for part in {*job.on_part, *job.fenced, *job.seconds, *job.checkpoints}:
        _check_part(state, job, part)
    live = [attempt for attempts in job.on_part.values() for attempt in attempts]
    _must(sorted(each.id for each in live) == sorted(job.live), f"{job.id} miscounts its live attempts")
    _must(Counter(each.node for each in live) == job.on_nodes, f"{job.id} miscounts its attempts by node")
    for places in job.fenced.values():
        for name, attempt in places:
            _must(attempt in state.nodes[name].fenced, f"{name} does not know that it may come back with {attempt}")
    _check_memory(job)
    _check_order(state, job)


def _check_order(state: State, job: Job) -> None:
    for each in job.pending:
        before = state.jobs.get(each)
        _must(before is not None and not before.ended, f"{job.id} waits for {each}, which has ended or is gone")
        _must(before is not None and job.id in before.dependants, f"{each} does not know that {job.id} waits for it")
    for each in job.dependants:
        _must(each in state.jobs, f"{job.id} has the dependant {each}, which is gone")
    _must(not job.pending or not (job.ended or job.admitted), f"{job.id} does not wait any more for what it waits for")
    _must(not job.admitted or job.checked, f"{job.id} may start although nobody asked the store")
    waits = not job.checked or bool(job.pending) or job.gathering
    _must(job.admitted or job.ended or waits, f"{job.id} waits for nothing and may not start")


def _check_gangs(state: State) -> None:
    together = {job.id for job in state.hungry.values() if job.spec.together}
    _must(together == state.gangs.keys(), "nobody knows how long some parts have waited that start together")
    for held, gang in state.held_back.items():
        _must(held in state.hungry and held != gang, f"{held} is held back for nothing")
        _must(gang in state.gangs, f"{held} is held back for {gang}, which does not wait")


def _check_memory(job: Job) -> None:
    done = list(job.memory.done())
    _must(
        all(job.parts.state(part) is PartState.DONE for part in done), f"{job.id} shares with parts that are not done"
    )
    users = [attempt for attempt in job.live.values() if attempt.memory is not None]
    _must(job.memory.used or not done, f"{job.id} does not know that it uses shared memory")
    _must(
        all(each.ends_as or each.generation == job.generation for each in users),
        f"{job.id} has attempts that use the memory of an earlier generation",
    )


def _check_node(state: State, node: Node) -> None:
    _must(node.free_cpus >= 0 and node.free_memory >= 0, f"{node.name} is overbooked")
    _must(all(count >= 0 for count in node.free_resources.values()), f"{node.name} is overbooked")
    _must(node.member or not node.attempts, f"{node.name} is {node.state} and holds attempts")
    _must(node.state == "lost" or not node.fenced, f"{node.name} is {node.state} and could still come back")
    used, limited = 0, Counter[ProcessId]()
    for attempt in node.attempts.values():
        _must(state.attempts.get(attempt.id) is attempt, f"{attempt.id} is on {node.name} and not known")
        used += attempt.request.cpus
        job = state.jobs.get(attempt.process_id)
        if job is not None and job.spec.per_node and attempt.id in job.live:
            limited[job.id] += 1
            most = job.spec.per_node
            _must(limited[job.id] <= most, f"{node.name} runs {limited[job.id]} parts of {job.id} at once")
        if job is not None and attempt.id in job.live:
            _must(not node.lacks(job.spec), f"{node.name} lacks what {job.id} requires")
    _must(node.free_cpus + used == node.facts.slots, f"{node.name} miscounts its CPUs")
    for attempt in node.fenced.values():
        job = state.jobs.get(attempt.process_id)
        known = job.fenced.get(attempt.part, ()) if job else ()
        _must((node.name, attempt.id) in known, f"{attempt.id} may come back, which its job does not know")
