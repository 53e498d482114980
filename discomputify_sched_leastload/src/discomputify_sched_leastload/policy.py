"""The policy ``leastload``: every part goes to the node that is least loaded at that moment.

Pure: it keeps nothing between passes, so an answer depends on the view alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model.view import ClusterView, Decision, Placement, Ready, Room, asked
from discomputify_sched_leastload.heap import LeastHeap
from discomputify_sched_leastload.load import LeastLoadOptions, Load


class LeastLoad(Scheduler):
    """Weighs reported CPU load, reported memory load and parts per slot; equal loads go by the order of the nodes."""

    name = "leastload"
    options = LeastLoadOptions

    def __init__(self, options: LeastLoadOptions | None = None) -> None:
        super().__init__(options)
        self._weights = options or LeastLoadOptions()

    def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
        """See :meth:`Scheduler.place`."""
        this_pass = _Pass(view, self._weights)
        placements: list[Placement] = []
        for item in ready:
            if not this_pass.room.cpus:
                break
            given = this_pass.give(item)
            placements += [Placement(item.key, view.nodes[index].name, count) for index, count in given.items()]
        return Decision(tuple(placements))


class _Pass:
    """Room and load of the nodes during one pass, and one heap for each thing that is asked of a node."""

    def __init__(self, view: ClusterView, weights: LeastLoadOptions) -> None:
        self.room = Room(view.nodes)
        self._loads = [Load(node, weights) for node in view.nodes]
        self._heaps: dict[object, LeastHeap] = {}

    def give(self, item: Ready) -> Counter[int]:
        """Give out as many parts of the range as there is room for: how many by node."""
        given: Counter[int] = Counter()
        if self.room.find(item) is None:  # quicker than building a heap of nothing
            return given
        heap = self._heaps.get(asked(item)) or self._heap(item)
        for _ in range(item.count):
            index = heap.least()
            if index is None:
                break
            self.room.take(item, index)
            self._loads[index].add(item)
            given[index] += 1
        return given

    def _heap(self, item: Ready) -> LeastHeap:
        heap = LeastHeap(range(len(self._loads)), self._load_of, partial(self._fits, item))
        self._heaps[asked(item)] = heap
        return heap

    def _load_of(self, index: int) -> float:
        return self._loads[index].now

    def _fits(self, item: Ready, index: int) -> bool:
        return self.room.most(item, index) > 0
