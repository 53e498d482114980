"""Room for what programs send and are sent: a node holds only so much of it. Not here: who has it (agent_line.py)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Room:
    """Bytes of large bodies that are held at once. Who finds none waits in line."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def take(self, size: int, then: Callable[[], None]) -> bool:
        """Whether *size* bytes were taken at once; else they are later, and *then* is called."""
        if self._waiting or (self._held and self._held + size > self._most):
            self._waiting.append((size, then))
            return False
        self._held += size
        return True

    def exceed(self, size: int) -> None:
        """Count *size* bytes that are there already."""
        self._held += size

    def give(self, size: int) -> None:
        """Give *size* bytes back."""
        self._held -= size
        while self._waiting and (not self._held or self._held + self._waiting[0][0] <= self._most):
            more, then = self._waiting.popleft()
            self._held += more
            then()

    def forget(self, then: Callable[[], None]) -> None:
        """Nobody waits for *then* any more."""
        self._waiting = deque(each for each in self._waiting if each[1] != then)
