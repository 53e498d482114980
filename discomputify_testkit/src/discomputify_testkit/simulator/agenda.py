"""Virtual time: what is to happen, and when. Not here: what happens."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

#: The Unix time of the simulated machines when a simulation begins.
EPOCH = 1_700_000_000.0


class Agenda:
    """Things to do in the order of their times; those of equal times in the order in which they were noted."""

    def __init__(self) -> None:
        #: Seconds since the beginning.
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._noted = 0

    @property
    def wall(self) -> float:
        """The Unix time of the simulated machines."""
        return EPOCH + self.now

    def at(self, time: float, do: Callable[..., None], *args: Any) -> None:
        """Call ``do(*args)`` at *time*, or as soon as possible if that has passed."""
        self._noted += 1
        heapq.heappush(self._heap, (max(time, self.now), self._noted, do, args))

    def after(self, seconds: float, do: Callable[..., None], *args: Any) -> None:
        """Call ``do(*args)`` *seconds* from now."""
        self.at(self.now + seconds, do, *args)

    def step(self) -> bool:
        """Do what is next; False if there is nothing."""
        if not self._heap:
            return False
        self.now, _, do, args = heapq.heappop(self._heap)
        do(*args)
        return True
