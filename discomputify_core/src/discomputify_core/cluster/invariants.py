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
    _must(len(job.outputs) == counts.done, f"{job.id} has {len(job.outputs)} outputs for {counts.done} done parts")
    rows = [job.outputs.row(at)[0] for at in range(len(job.outputs))]
    _must(len(set(rows)) == len(rows), f"{job.id} committed a part twice")
    live = [attempt.part for attempt in job.live.values()]
    _must(len(set(live)) == len(live), f"{job.id} runs a part twice")
    _must(len(live) == counts.placed + counts.running, f"{job.id} has parts under way without an attempt")
    _must(job.waiting.keys() <= job.live.keys(), f"{job.id} waits for attempts that are over")
    grouped = sum(count for _, count in job.parts.ready_groups())
    _must(grouped == counts.ready, f"{job.id} lost a ready part")
    _must(not state.ready(job) or job.id in state.hungry, f"{job.id} is ready and nobody would place it")


def _check_node(state: State, node: Node) -> None:
    _must(node.free_cpus >= 0 and node.free_memory >= 0, f"{node.name} is overbooked")
    _must(all(count >= 0 for count in node.free_resources.values()), f"{node.name} is overbooked")
    _must(node.state in ("live", "cut") or not node.attempts, f"{node.name} is {node.state} and holds attempts")
    for process_id, count in Counter(a.process_id for a in node.attempts.values()).items():
        most = state.jobs[process_id].spec.per_node
        _must(not most or count <= most, f"{node.name} runs {count} parts of {process_id} at once")
    used = sum(state.jobs[a.process_id].spec.request.cpus for a in node.attempts.values())
    _must(node.free_cpus + used == node.facts.slots, f"{node.name} miscounts its CPUs")
