"""Nodes by load, the least loaded on top, for ranges that ask the same of a node.

Loads and occupation only grow within a pass. So the heap is lazy: an entry may say less than its node's load, and
is put right when it comes to the top; a node without room for such a part never gets it back and leaves for good.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable


class LeastHeap:
    """Indices of nodes by load, equal loads by index.

    Args:
        nodes: the indices.
        load: a node's load as it is now; may grow between calls, never shrink.
        fits: whether a node can take one more part; once False, it stays so.
    """

    def __init__(self, nodes: Iterable[int], load: Callable[[int], float], fits: Callable[[int], bool]) -> None:
        self._load = load
        self._fits = fits
        self._entries = [(load(index), index) for index in nodes if fits(index)]
        heapq.heapify(self._entries)

    def least(self) -> int | None:
        """The node with the least load that can take a part; None if there is none. O(log nodes) on average."""
        while self._entries:
            said, index = self._entries[0]
            if not self._fits(index):
                heapq.heappop(self._entries)
                continue
            load = self._load(index)
            if not load > said:
                return index
            heapq.heapreplace(self._entries, (load, index))
        return None
