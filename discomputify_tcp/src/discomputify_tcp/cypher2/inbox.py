"""Bytes that arrived and are not yet parsed, in one buffer that a socket can be read into directly.

Here: where the next bytes go, and moving as few of them as possible. Not here: what they mean.
"""

from __future__ import annotations

from discomputify_tcp.cypher2.limits import MAX_UNCONFIRMED

#: Bytes read at once while nothing bigger is known to come; also the room kept behind a big unit's start.
USUAL = 64 * 1024


class Inbox:
    """A buffer that is filled at its end and emptied from its start."""

    def __init__(self) -> None:
        self._data = bytearray(MAX_UNCONFIRMED)
        self._start = self._end = 0
        self._usual = MAX_UNCONFIRMED
        self._need = 1

    def __len__(self) -> int:
        return self._end - self._start

    def widen(self) -> None:
        """Read more at once from now on: the peer is authenticated."""
        self._usual = USUAL

    def need(self, size: int) -> None:
        """The unit at the start has *size* bytes (checked against its limit by the caller): make room for all of it."""
        self._need = size

    def space(self, least: int = 1) -> memoryview:
        """Where to put the next bytes, at least *least*. Not further than the end of a big unit that is arriving, so
        that the next one begins at the start of the buffer and nothing has to be moved."""
        if self._start == self._end:
            self._start = self._end = 0
        limit = max(self._start + self._need, self._end + least, self._usual)
        # With nothing known of the next unit, what is left is a few bytes: moved, so that a full read fits behind.
        if limit > len(self._data) or (self._start and self._need == 1):
            self._make_room(max(self._need, len(self) + least))
            limit = max(self._need, self._end + least, self._usual)
        return memoryview(self._data)[self._end : limit]

    def _make_room(self, size: int) -> None:
        held = memoryview(self._data)[self._start : self._end]
        if max(size, self._usual) > len(self._data):
            self._data = bytearray(size + USUAL)
            self._data[: len(held)] = held
        else:
            self._data[: len(held)] = bytes(held)
        self._start, self._end = 0, len(held)

    def wrote(self, size: int) -> None:
        """*size* bytes were put into the latest :meth:`space`."""
        self._end += size

    def put(self, data: bytes | bytearray | memoryview) -> None:
        """Add a copy of *data*."""
        size = len(data)
        if size:
            self.space(size)[:size] = data
            self.wrote(size)

    def peek(self, size: int) -> memoryview | None:
        """The next *size* bytes, or None while there are fewer. Valid until the next :meth:`space`."""
        if len(self) < size:
            return None
        return memoryview(self._data)[self._start : self._start + size]

    def skip(self, size: int) -> None:
        """The next *size* bytes have been used."""
        self._start += size
        self._need = 1
