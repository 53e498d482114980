"""What is to happen when: one deadline per key, the next one first. Not here: a clock, and what happens."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable

Due = Callable[[float], None]
"""Called with the time that it is."""

#: Entries of the heap that may be out of date beyond those that are not.
SLACK = 1000


class Deadlines:
    """Deadlines by key. All operations cost at most the logarithm of their number."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Hashable]] = []
        self._live: dict[Hashable, tuple[float, int, Due]] = {}
        self._order = itertools.count()

    def set(self, key: Hashable, at: float, due: Due) -> None:
        """Have *due* called at *at*; replaces what was set under *key*."""
        number = next(self._order)
        self._live[key] = (at, number, due)
        heapq.heappush(self._heap, (at, number, key))
        if len(self._heap) > 2 * len(self._live) + SLACK:
            self._heap = [(at, number, key) for key, (at, number, _) in self._live.items()]
            heapq.heapify(self._heap)

    def drop(self, key: Hashable) -> None:
        """Forget what was set under *key*, if anything was."""
        self._live.pop(key, None)

    def next(self) -> float | None:
        """When the next one is due; None where there is none."""
        while self._heap:
            at, number, key = self._heap[0]
            live = self._live.get(key)
            if live is not None and live[1] == number:
                return at
            heapq.heappop(self._heap)
        return None

    def run(self, now: float) -> None:
        """Call what is due, in the order of the deadlines. What that sets anew is called by the next run."""
        last = next(self._order)
        while (at := self.next()) is not None and at <= now:
            _, number, key = self._heap[0]
            if number > last:
                return
            heapq.heappop(self._heap)
            self._live.pop(key)[2](now)

    def __len__(self) -> int:
        return len(self._live)
