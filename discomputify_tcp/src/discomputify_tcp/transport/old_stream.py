"""Bytes of an old client's connection, in and out, for one coroutine. Not here: what they mean (old_channel.py).

Old clients send a token in pieces as big as TRANSMISSION_BUFFER, and lose what the system does not take of a piece at
once. So there is room for much before any of it is read (widen in sockets.py), and little is read at a time: while the
system copies, it takes nothing from the peer, whose own buffer fills up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from discomputify_tcp.transport.wire import Heir

#: Bytes read at once.
READ = 64 * 1024
#: Bytes written at once.
WRITTEN = 256 * 1024


class OldStream(Heir):
    """The protocol of a connected *transport*.

    Args:
        feed: takes what arrived; says whether more is wanted before :meth:`more` is called again.
    """

    def __init__(self, transport: asyncio.Transport, feed: Callable[[bytes], bool]) -> None:
        self.transport = transport
        self._feed = feed
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(READ)
        self._wanted = True
        self._unwanted = bytearray()
        self._ended = False
        self._error: Exception | None = None
        self._writable = True
        self._waiting: asyncio.Future[None] | None = None
        self._news = False
        #: Set when the socket is closed.
        self.gone = asyncio.Event()

    # --- for the one coroutine -------------------------------------------------------------------

    async def more(self) -> bool:
        """Return when more has been fed; False where nothing more comes. Asked when all that was fed is used up.

        Raises:
            OSError: the connection broke.
        """
        self._wanted, self._news = True, False
        if self._unwanted:
            data, self._unwanted = bytes(self._unwanted), bytearray()
            self.take(data)
        elif not self.transport.is_closing():
            self.transport.resume_reading()
        while not self._news and not self._ended:
            await self._change()
        self._raise()
        return self._news

    async def write(self, data: bytes) -> None:
        """Send *data*, a part of it; returns when the next can be taken.

        Raises:
            OSError: the connection broke.
        """
        if not self.transport.is_closing():
            self.transport.write(data)
        while not self._writable and not self.gone.is_set():
            await self._change()
        self._raise()

    def _raise(self) -> None:
        # Not kept: an error that was raised holds on to all that was at work then, such as a big answer.
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error

    async def _change(self) -> None:
        self._waiting = self._loop.create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    # --- asyncio's callbacks ---------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """See :meth:`Heir.take`."""
        if not self._wanted:
            # Some event loops still bring what they had read when they were told to pause.
            self._unwanted += data
            return
        self._news = True
        if not self._feed(data):
            self._wanted = False
            if not self.transport.is_closing():
                self.transport.pause_reading()
        self._wake()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return memoryview(self._buffer)

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes were read."""
        self.take(bytes(memoryview(self._buffer)[:nbytes]))

    def eof_received(self) -> bool:
        """The peer sends no more; what it asked is still answered."""
        self._ended = True
        self._wake()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._ended = True
        self._error = exc
        self.gone.set()
        self._wake()

    def pause_writing(self) -> None:
        """The socket does not take more for now."""
        self._writable = False

    def resume_writing(self) -> None:
        """The socket takes more."""
        self._writable = True
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
