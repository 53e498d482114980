"""Messages that arrived and were not yet asked for: bounded. Not here: waiting, sockets."""

from __future__ import annotations

from collections import deque

from discomputify_core.model.message import Message
from discomputify_tcp.cypher2 import Received

#: Above either of these nothing more is read; below half of both reading goes on.
MOST_BYTES = 32 * 1024 * 1024
MOST = 1000


class Incoming:
    """A queue that says when it is full."""

    def __init__(self) -> None:
        self._queue: deque[Received] = deque()
        self._bytes = 0

    def put(self, received: Received) -> None:
        """Add a message."""
        self._queue.append(received)
        self._bytes += received.size

    def pop(self) -> Message | None:
        """The oldest message, or None."""
        if not self._queue:
            return None
        received = self._queue.popleft()
        self._bytes -= received.size
        return received.message

    def clear(self) -> None:
        """Drop everything."""
        self._queue.clear()
        self._bytes = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to pop."""
        return not self._queue

    @property
    def full(self) -> bool:
        """Whether no more should be added."""
        return self._bytes > MOST_BYTES or len(self._queue) > MOST

    @property
    def low(self) -> bool:
        """Whether there is room for a good deal more."""
        return self._bytes <= MOST_BYTES // 2 and len(self._queue) <= MOST // 2
