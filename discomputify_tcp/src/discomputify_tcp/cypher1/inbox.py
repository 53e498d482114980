"""Bytes that arrived, cut into tokens. Here: what can be refused before a token is whole. Not here: opening one."""

from __future__ import annotations

from discomputify_core.errors import PeerBroke
from discomputify_tcp.cypher1.errors import broke
from discomputify_tcp.cypher1.limits import BEGIN, END, MAX_TOKEN
from discomputify_tcp.cypher1.tokens import DIGITS, PAD

_EXPECTED = DIGITS + PAD + END


class Inbox:
    """Tokens in the order in which they arrived. Once the peer broke the protocol it holds nothing more."""

    def __init__(self) -> None:
        self._data = bytearray()
        # Where the first terminator is, or -1; where to look for it next.
        self._end = -1
        self._searched = 0
        self._broken: PeerBroke | None = None

    def __len__(self) -> int:
        return len(self._data)

    @property
    def due(self) -> bool:
        """Whether :meth:`take` gives a token, or raises."""
        return self._end >= 0 or self._broken is not None

    @property
    def ready(self) -> int:
        """Bytes of the first token, once it is whole; before that 0."""
        return max(self._end, 0)

    def put(self, data: bytes) -> None:
        """*data* arrived. What no token can begin or go on with is noticed at once, and not kept."""
        if self._broken is not None:
            return
        if data.translate(None, _EXPECTED):
            self._break(broke("token", "What came is no token."))
            return
        self._data += data
        self._look()

    def _look(self) -> None:
        if self._end < 0:
            self._end = self._data.find(END, self._searched)
            self._searched = len(self._data)
        size = self._end if self._end >= 0 else len(self._data)
        if size > MAX_TOKEN or len(self._data) > 2 * MAX_TOKEN:
            limit = f"{MAX_TOKEN // 2**20} MiB"
            self._break(broke("token", f"A token is longer than {limit}: make TRANSMISSION_CHUNK_SIZE smaller there."))
        elif not BEGIN.startswith(self._data[: min(size, len(BEGIN))]):
            self._break(broke("token", "What came is no token."))

    def take(self) -> bytes | None:
        """The first token without its terminator; None while it is not whole.

        Raises:
            PeerBroke: what came is no token, or too long.
        """
        if self._broken is not None:
            raise self._broken
        if self._end < 0:
            return None
        token = bytes(memoryview(self._data)[: self._end])
        del self._data[: self._end + 1]
        self._end, self._searched = -1, 0
        self._look()
        return token

    def clear(self) -> None:
        """Drop everything."""
        self._data = bytearray()
        self._end, self._searched = -1, 0

    def _break(self, error: PeerBroke) -> None:
        self._broken = error
        self.clear()
