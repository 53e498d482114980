"""What a scheduler sees, and what it answers. Fields are added in later versions, never removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import Request
from discomputify_core.model.node import NodeFacts, NodeLoad


@attrs.frozen
class Ready:
    """A range of parts of one job that may be placed now and that are alike to a scheduler.

    ``ready`` is given in the order in which work should start: higher priority first, then
    the job submitted first, then parts that failed before.
    """

    #: Names this range in the scheduler's answer; unique in one pass.
    key: int
    process_id: ProcessId
    owner: str
    priority: int
    #: What a part needs. Beside the resources that users name there may be one that core makes up to limit how many
    #: parts of a job run on a node; the nodes of the view have it too.
    request: Request
    #: How many parts are in the range.
    count: int
    #: Bytes that must be on a node before a part starts.
    part_bytes: int = 0
    #: Nodes that these parts may not go to: they failed there, or the job may not use them.
    avoid: frozenset[NodeName] = frozenset()


@attrs.frozen
class NodeView:
    """A live node with at least one free CPU, as it is before this pass."""

    name: NodeName
    facts: NodeFacts
    load: NodeLoad
    free_cpus: int
    free_memory: int
    free_resources: Mapping[str, int]
    #: Parts placed or running there.
    running: int
    #: Bytes held there of each job's tree.
    held: Mapping[ProcessId, int] = attrs.field(factory=dict)


@attrs.frozen
class ClusterView:
    """The nodes that can take work, in the order in which the cluster knows them (COMPUTING_NODES, then by arrival)."""

    nodes: tuple[NodeView, ...]
    #: How many live nodes there are in all, full ones included.
    live: int = 0
    #: Seconds; the same clock in production and in a simulation.
    now: float = 0.0


@attrs.frozen
class Placement:
    """*count* parts of the range *key* go to *node*."""

    key: int
    node: NodeName
    count: int = 1


@attrs.frozen
class Decision:
    """A scheduler's answer. Ranges that are not placed wait; ``waits`` may say why, per range key."""

    placements: tuple[Placement, ...] = ()
    waits: Mapping[int, str] = attrs.field(factory=dict)


def fits(request: Request, free_cpus: int, free_memory: int, free_resources: Mapping[str, int]) -> bool:
    """Whether one part with *request* fits into what is free."""
    return (
        request.cpus <= free_cpus
        and request.memory <= free_memory
        and all(count <= free_resources.get(name, 0) for name, count in request.needs.items())
    )


def how_many_fit(request: Request, free_cpus: int, free_memory: int, free_resources: Mapping[str, int]) -> int:
    """How many parts with *request* fit into what is free."""
    most = free_cpus // request.cpus
    if request.memory:
        most = min(most, free_memory // request.memory)
    for name, count in request.needs.items():
        most = min(most, free_resources.get(name, 0) // count)
    return max(most, 0)


def how_many_on(ready: Ready, node: NodeView) -> int:
    """How many parts of *ready* may go to *node* now: 0 where it is to be avoided or nothing fits."""
    if node.name in ready.avoid:
        return 0
    return min(ready.count, how_many_fit(ready.request, node.free_cpus, node.free_memory, node.free_resources))


class Room:
    """What is left of each node during one pass. Nodes go by their index in *nodes*.

    Within a pass room only shrinks, so a node that a range cannot use is never looked at again for ranges that
    ask the same: finding a node costs next to nothing on average, however many are full.
    """

    def __init__(self, nodes: Sequence[NodeView]) -> None:
        self.nodes = tuple(nodes)
        self._cpus = [node.free_cpus for node in self.nodes]
        self._memory = [node.free_memory for node in self.nodes]
        self._resources = [node.free_resources for node in self.nodes]
        #: CPUs left on all nodes; at 0 the pass is over.
        self.cpus = sum(max(cpus, 0) for cpus in self._cpus)
        self._most_cpus = max(self._cpus, default=0)
        self._most_memory = max(self._memory, default=0)
        # By what is asked: for each index, the first one from there on that may still do (disjoint sets).
        self._candidates: dict[object, list[int]] = {}

    def most(self, ready: Ready, index: int) -> int:
        """How many parts of the range may go to the node now, as far as there is room."""
        if self.nodes[index].name in ready.avoid:
            return 0
        return how_many_fit(ready.request, self._cpus[index], self._memory[index], self._resources[index])

    def take(self, ready: Ready, index: int, count: int = 1) -> None:
        """*count* parts of the range go to the node."""
        request = ready.request
        self._cpus[index] -= request.cpus * count
        self._memory[index] -= request.memory * count
        self.cpus -= request.cpus * count
        if request.needs:
            left = self._resources[index]
            used = {name: left[name] - needed * count for name, needed in request.needs.items()}
            self._resources[index] = {**left, **used}

    def find(self, ready: Ready, start: int = 0) -> int | None:
        """The first node, from index *start* on, that can take a part of the range; None if there is none."""
        if ready.request.cpus > self._most_cpus or ready.request.memory > self._most_memory:
            return None
        candidates = self._candidates.get(asked(ready))
        if candidates is None:
            candidates = self._candidates[asked(ready)] = list(range(len(self.nodes) + 1))
        index = start
        while True:
            index = _candidate(candidates, index)
            if index == len(self.nodes):
                return None
            if self.most(ready, index):
                return index
            candidates[index] = index + 1


def asked(ready: Ready) -> object:
    """What a range asks of a node, as a key: ranges with equal keys can use the same nodes."""
    request = ready.request
    return request.cpus, request.memory, frozenset(request.needs.items()), ready.avoid


def _candidate(candidates: list[int], index: int) -> int:
    while candidates[index] != index:
        candidates[index] = candidates[candidates[index]]  # halves the way for the next one
        index = candidates[index]
    return index
