"""From messages to the socket, at the pace at which it takes them.

Small messages sent shortly after each other share a frame and a packet. Big bodies are encrypted 1 MiB at a time,
with a turn of the loop between. Not here: receiving, closing (channel.py).
"""

from __future__ import annotations

import asyncio

from discomputify_core.errors import ChannelClosed
from discomputify_core.model.message import Message
from discomputify_tcp.cypher2.limits import SMALL
from discomputify_tcp.transport.wire import Wire

#: Bytes that may wait to be encrypted before a sender waits.
ROOM = 256 * 1024
#: Seconds within which a message has followed another for the two to be a burst: then what is sent until the end of
#: this turn of the loop leaves together. One that stands alone leaves at once, and costs no turn.
BURST = 0.000_05


class Outgoing:
    """The sending side of a channel."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._codec = wire.codec
        self._loop = asyncio.get_running_loop()
        # First come, first served: messages leave in the order of their sends, whole.
        self._turn = asyncio.Lock()
        self._writable = True
        self._scheduled = False
        self._waiting: list[asyncio.Future[None]] = []
        self._failed: ChannelClosed | None = None

    async def send(self, message: Message) -> None:
        """Send *message*; returns when the next one can be taken and this one's body is no longer needed.

        Raises:
            ChannelClosed: the connection is gone.
            OurBug: *message* cannot be encoded.
        """
        async with self._turn:
            self._check()
            while not self._has_room():
                await self._change()
            self._codec.send(message)
            self._kick()
            try:
                while self._codec.borrowed:
                    await self._change()
            except asyncio.CancelledError:
                # Half of it may be on its way: the rest follows, from a copy.
                self._codec.own()
                raise

    def send_now(self, message: Message) -> bool:
        """Send *message* if nobody is before it, there is room, and its body is not borrowed; whether it was sent.

        Raises:
            ChannelClosed, OurBug: as for :meth:`send`.
        """
        if self._turn.locked() or len(message.body) > SMALL or not self._has_room():
            return False
        self._check()
        self._codec.send(message)
        if self._scheduled or self._loop.time() - self._wire.sent_at < BURST:
            self._kick()
        else:
            self._write()
        return True

    async def flush(self) -> None:
        """Return when everything has been handed to the socket.

        Raises:
            ChannelClosed: the connection is gone.
        """
        async with self._turn:
            self._check()
            while self._codec.pending:
                await self._change()

    def ping(self) -> None:
        """Send a ping now, unless the socket is stuck or busy anyway."""
        if self._writable and not self._codec.pending:
            self._codec.ping()
            self._pump()

    def pong(self) -> None:
        """Answer a ping, unless the peer does not even take what waits."""
        if self._has_room():
            self._codec.pong()
            self._kick()

    def set_writable(self, writable: bool) -> None:
        """The socket takes more, or it does not."""
        self._writable = writable
        if writable:
            self._kick()

    def fail(self, error: ChannelClosed) -> None:
        """The connection is gone: senders, now and later, get *error*."""
        self._failed = self._failed or error
        self._wake()

    def _has_room(self) -> bool:
        return self._writable and self._codec.pending < ROOM

    def _check(self) -> None:
        if self._failed is not None:
            raise ChannelClosed(str(self._failed), **self._failed.fields)

    async def _change(self) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        await future
        self._check()

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def _kick(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        self._write()
        self._wake()

    def _write(self) -> None:
        while self._writable and self._failed is None:
            buffers = self._codec.data_to_send()
            if not buffers:
                break
            self._wire.write(buffers)
            if len(buffers) > 1:
                # A megabyte was encrypted: others have their turn before the next.
                if self._codec.pending:
                    self._kick()
                break
            if not self._codec.pending:
                break
