"""Messages that wait to be encrypted, and how they are packed into frames.

Small messages share a frame. A big body is encrypted where it lies, at most 1 MiB at a time, so it must not change
until it has left the outbox. Not here: when frames are asked for (the transport, as its socket takes them).
"""

from __future__ import annotations

from collections import deque

from discomputify_tcp.cypher2.cipher import Buffer
from discomputify_tcp.cypher2.frames import Sealer
from discomputify_tcp.cypher2.limits import MAX_PLAIN, SMALL


class Outbox:
    """Plaintext in, frames out, in order."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._queue: deque[bytes | memoryview] = deque()
        #: Bytes that wait.
        self.pending = 0
        #: How many big bodies (or heads) wait, whole or in part.
        self.borrowed = 0

    def put(self, head: bytes, body: Buffer = b"") -> None:
        """Add a message; *body* is bytes, or a flat view of them."""
        if len(head) + len(body) <= SMALL:
            self._queue.append(head + body if body else head)
        else:
            self._add_big(head)
            self._add_big(body)
        self.pending += len(head) + len(body)

    def _add_big(self, data: Buffer) -> None:
        if len(data) <= SMALL:
            if data:
                self._queue.append(bytes(data))
        else:
            self._queue.append(memoryview(data))
            self.borrowed += 1

    def own(self) -> None:
        """Copy what still lies with its sender, who no longer waits for it to leave."""
        for index, item in enumerate(self._queue):
            if isinstance(item, memoryview) and not isinstance(item.obj, bytes):
                self._queue[index] = memoryview(bytes(item))

    def frames(self) -> list[bytes]:
        """The next bytes for the socket, of at most two frames: a shared one, and one of a big body. Empty if none."""
        found = b"".join(self._sealer.seal(small)) if (small := self._shared()) else b""
        big = self._slice_of_big()
        if big is None:
            return [found] if found else []
        prefix, sealed = self._sealer.seal(big)
        return [found + prefix, sealed]

    def _shared(self) -> bytes:
        items: list[bytes] = []
        size = 0
        while self._queue:
            item = self._queue[0]
            if isinstance(item, memoryview) or size + len(item) > MAX_PLAIN:
                break
            size += len(item)
            items.append(item)
            self._queue.popleft()
        self.pending -= size
        return items[0] if len(items) == 1 else b"".join(items)

    def _slice_of_big(self) -> memoryview | None:
        if not self._queue:
            return None
        item = self._queue[0]
        if not isinstance(item, memoryview):
            return None
        if len(item) > MAX_PLAIN:
            self._queue[0] = item[MAX_PLAIN:]
            item = item[:MAX_PLAIN]
        else:
            self._queue.popleft()
            self.borrowed -= 1
        self.pending -= len(item)
        return item
