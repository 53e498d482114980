"""How many parts of one job nodes can take: now, and if nothing else ran there. Reads the state, changes nothing.

The parts of a job ask for the same, so they differ only in which nodes they are to avoid. Not here: who is placed
before whom (gangs.py), and what a policy makes of it (placement.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from discomputify_core.cluster.state import Job, Node, State
from discomputify_core.model.ids import NodeName
from discomputify_core.model.view import how_many_fit

#: Parts that are alike: how many, and the nodes that they are to avoid.
Range = tuple[int, frozenset[NodeName]]


def barred(job: Job, nodes: Iterable[Node]) -> frozenset[NodeName]:
    """Nodes that no part of *job* may use: it avoids them, they are too small for its files, or lack what it needs."""
    spec = job.spec
    unfit = (node.name for node in nodes if node.facts.cache_limit < spec.part_bytes or node.lacks(spec))
    return frozenset(job.refused).union(unfit)


def rooms(state: State, job: Job, closed: Collection[NodeName] = ()) -> dict[NodeName, int]:
    """How many more parts of *job* each node can take now, nodes in *closed* and those without room left out."""
    own, found = job.parts_on_nodes(), {}
    for node in _usable(state, job, closed):
        if not node.takes_parts:
            continue
        count = how_many_fit(job.spec.request, node.free_cpus, node.free_memory, node.free_resources)
        found[node.name] = _limited(job, count, own[node.name])
    return {name: count for name, count in found.items() if count > 0}


def rooms_at_best(state: State, job: Job) -> dict[NodeName, int]:
    """How many more parts of *job* each node could take beside those that run there, if no other job did."""
    own, found = job.parts_on_nodes(), {}
    for node in _usable(state, job):
        facts = node.facts
        count = how_many_fit(job.spec.request, facts.slots, facts.memory, facts.resources) - own[node.name]
        found[node.name] = _limited(job, count, own[node.name])
    return {name: count for name, count in found.items() if count > 0}


def seated(ranges: Sequence[Range], room: Mapping[NodeName, int]) -> int:
    """How many parts of *ranges* find a place where there is *room*, those that avoid the most nodes first.

    With several ranges it may be fewer than an exhaustive search would find; but never fewer than the last time in
    equal room, so that parts which would find places on empty nodes find them once these are empty.
    """
    left = dict(room)
    # First the places that others avoid.
    names = sorted(left, key=lambda name: -sum(name in avoid for _, avoid in ranges))
    total = 0
    for count, avoid in sorted(ranges, key=lambda each: -sum(name in each[1] for name in left)):
        wanted = count
        for name in names:
            if not wanted:
                break
            if name not in avoid:
                taken = min(wanted, left[name])
                left[name] -= taken
                wanted -= taken
        total += count - wanted
    return total


def _usable(state: State, job: Job, closed: Collection[NodeName] = ()) -> list[Node]:
    nodes = [node for node in state.nodes.values() if node.open and node.name not in closed]
    without = barred(job, nodes)
    return [node for node in nodes if node.name not in without]


def _limited(job: Job, count: int, own: int) -> int:
    return min(count, job.spec.per_node - own) if job.spec.per_node else count
