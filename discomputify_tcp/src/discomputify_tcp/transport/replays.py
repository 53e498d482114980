"""Requests of old clients that change something: each is done once, however often it comes, over all connections.

Here: those that are worked on now, and who waits for them. Those that change nothing are simply done again, but prove
nothing about who sends them. Not here: what is remembered (cypher1/memory.py).
"""

from __future__ import annotations

import asyncio

from discomputify_core.errors import Refused
from discomputify_tcp.cypher1 import Memory, Received
from discomputify_tcp.cypher1.memory import Stale


class Replays:
    """Answers, as the bytes that were sent, for all connections of a process."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        # Of those that change nothing only that they came.
        self._came = Memory()
        self._working: dict[bytes, asyncio.Future[bytes]] = {}

    def find(self, request: Received, now: float) -> asyncio.Future[bytes] | None:
        """The answer to *request*, there or still to come, if it came before; None for a new one.

        Raises:
            Refused: whether it came before is not known any more.
        """
        working = self._working.get(request.digest)
        if working is not None:
            return working
        found = self._memory.find(request.digest, request.made_at, now)
        if isinstance(found, Stale):
            raise Refused("This request came so late that it is not known whether it was done before: ask anew.")
        if found is None:
            return None
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        answer.set_result(found)
        return answer

    def first(self, request: Received, now: float) -> bool:
        """Whether *request*, which changes nothing, surely comes for the first time; it is remembered."""
        first = self._came.find(request.digest, request.made_at, now) is None
        if first:
            self._came.keep(request.digest, request.made_at, b"")
        return first

    def begin(self, request: Received, answer: asyncio.Future[bytes]) -> None:
        """*request* is worked on; who sends it again gets *answer*."""
        self._working[request.digest] = answer

    def finish(self, request: Received, answer: bytes) -> None:
        """*request* was answered."""
        if self._working.pop(request.digest, None) is not None:
            self._memory.keep(request.digest, request.made_at, answer)
