"""What must always be true of the cluster's state. Called by tests and simulations after events."""

from __future__ import annotations

from collections import Counter

from discomputify_core.cluster.state import Job, Node, State
from discomputify_core.errors import OurBug
from discomputify_core.model.job import PartState


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


def _must(true: bool, what: str) -> None:
    if not true:
        raise OurBug(f"An invariant is broken: {what}.")


def _check_job(state: State, job: Job) -> None:
    counts = job.parts.counts()
    by_hand = [sum(1 for _ in job.parts.having(where)) for where in PartState]
    _must(sum(by_hand) == counts.total, f"{job.id} lost a part")
    _must(
        by_hand
        == [counts.waiting, counts.ready, counts.placed, counts.running, counts.done, counts.failed, counts.stopped],
        f"{job.id} miscounts its parts",
    )
    rows = [part for part, *_ in job.outputs.rows()]
    _must(sorted(rows) == list(job.parts.having(PartState.DONE)), f"{job.id} has outputs of other parts than are done")
    _must(job.outputs.count == len(rows), f"{job.id} miscounts its outputs")
    _must(sum(job.outputs.by_node.values()) == len(rows), f"{job.id} miscounts its outputs by node")
    _check_memory(job)
    live = [attempt.part for attempt in job.live.values()]
    _must(len(set(live)) == len(live), f"{job.id} runs a part twice")
    _must(len(live) == counts.placed + counts.running, f"{job.id} has parts under way without an attempt")
    _must(job.waiting.keys() <= job.live.keys(), f"{job.id} waits for attempts that are over")
    grouped = sum(count for _, count in job.parts.ready_groups())
    _must(grouped == counts.ready, f"{job.id} lost a ready part")
    _must(not state.ready(job) or job.id in state.hungry, f"{job.id} is ready and nobody would place it")
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
    _must(not job.memory.over, f"{job.id} has not told its memory who is over")
    users = [attempt for attempt in job.live.values() if attempt.memory is not None]
    _must(job.memory.used or not done, f"{job.id} does not know that it uses shared memory")
    _must(
        all(each.ends_as or each.generation == job.generation for each in users),
        f"{job.id} has attempts that use the memory of an earlier generation",
    )


def _check_node(state: State, node: Node) -> None:
    _must(node.free_cpus >= 0 and node.free_memory >= 0, f"{node.name} is overbooked")
    _must(all(count >= 0 for count in node.free_resources.values()), f"{node.name} is overbooked")
    _must(node.state in ("live", "cut") or not node.attempts, f"{node.name} is {node.state} and holds attempts")
    for process_id, count in Counter(a.process_id for a in node.attempts.values()).items():
        most = state.jobs[process_id].spec.per_node
        _must(not most or count <= most, f"{node.name} runs {count} parts of {process_id} at once")
    used = sum(state.jobs[a.process_id].spec.request.cpus for a in node.attempts.values())
    _must(node.free_cpus + used == node.facts.slots, f"{node.name} miscounts its CPUs")
