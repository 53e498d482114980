"""The client's way to the service: questions and bodies, each with a deadline, few bodies at once.

Here: single exchanges. Not here: how transfers are made of them (sending.py, fetching.py).
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar, Union

from discomputify_core.errors import PeerBroke
from discomputify_core.interfaces.calls import Caller
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import MAX_BODY
from discomputify_ftp import wire
from discomputify_ftp.chunks import chunk_size

T = TypeVar("T")
Body = Union[bytes, bytearray, memoryview]

#: Messages with bodies under way at once, over all transfers of this process. With chunks of at most 4 MiB that
#: is less than a service holds of one peer, so that a chunk never waits for one that the service does not read.
WIDTH = 8
#: Chunks of one blob under way at once.
WINDOW = 4
#: Seconds for something that may touch many files.
LONG = 300.0
#: Bytes per second that a store reads at least, for deadlines of questions about big blobs.
SLOWEST = 20e6


class Lanes:
    """Asks the store's service."""

    def __init__(self, conf: Conf, query: Caller, files: Caller) -> None:
        self._query = query
        self._files = files
        self._timeout = max(conf.timeout, 10.0)
        self._body_timeout = max(conf.timeout, 60.0)
        self._lanes = asyncio.Semaphore(WIDTH)
        #: Bytes per message, out and in.
        self.sending = chunk_size(conf.transmission_chunk_size)
        self.fetching = chunk_size(conf.recv_chunk_size)

    async def ask(self, operation: str, about: Any, answer: type[T], extra: float = 0.0) -> T:
        """Ask a small question, which may take *extra* seconds longer than others.

        Raises:
            Unreachable: no answer in time.
            DiscomputifyError: what the service answered.
        """
        reply = await self._query.call(operation, to_plain(about), timeout=self._timeout + extra)
        return from_plain(reply.data, answer)

    async def send(self, operation: str, about: Any, body: Body, timeout: float = 0.0) -> Any:
        """Send *body*; returns the data of the answer. Raises as :meth:`ask`. The caller holds :meth:`lane`."""
        limit = max(timeout, self._body_timeout)
        return (await self._files.call(operation, to_plain(about), body, timeout=limit)).data

    async def fetch(self, operation: str, about: Any, size: int) -> Body:
        """Ask for *size* bytes. Raises as :meth:`ask`. The caller holds :meth:`lane`.

        Raises:
            PeerBroke: the answer is too long.
        """
        reply = await self._files.call(operation, to_plain(about), timeout=self._body_timeout)
        if len(reply.body) > size:
            raise PeerBroke(f"The store answered '{operation}' with more than was asked for.", clause=operation)
        return reply.body

    async def manifest(self, about: wire.AboutTree) -> tuple[int, Body]:
        """The size of a packed manifest, and its bytes if they came with the answer. Raises as :meth:`ask`."""
        reply = await self._files.call(wire.MANIFEST, to_plain(about), timeout=self._body_timeout)
        size = from_plain(reply.data, wire.Size).size
        if len(reply.body) not in (0, size) or len(reply.body) > MAX_BODY or size < 0:
            raise PeerBroke("The store's answer with a manifest has another size than it says.", clause=wire.MANIFEST)
        return size, reply.body

    def lane(self) -> asyncio.Semaphore:
        """``async with lanes.lane():`` around reading a body's bytes and sending them."""
        return self._lanes
