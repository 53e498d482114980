"""An authenticated connection as core sees it. Not here: how it came about (dialling.py, listening.py)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from discomputify_core.errors import ChannelClosed, PeerBroke
from discomputify_core.interfaces.transport import Channel
from discomputify_core.model.message import Hello, Message
from discomputify_tcp.cypher2 import Event, Ping, Received
from discomputify_tcp.transport.complaints import Complaints
from discomputify_tcp.transport.incoming import Incoming
from discomputify_tcp.transport.liveness import Liveness
from discomputify_tcp.transport.outgoing import Outgoing
from discomputify_tcp.transport.wire import Owner, Wire

#: Seconds for what was sent to reach the peer after a close, and for the socket to go after that.
CLOSE_WITHIN = 5.0
GONE_WITHIN = 1.0


class TcpChannel(Channel, Owner):
    """A channel over one wire, which it owns from now on.

    Args:
        address: the peer's, for people.
        timeout: seconds of silence that end it.
    """

    def __init__(self, wire: Wire, peer: Hello, address: str, timeout: float, complaints: Complaints) -> None:
        self.peer = peer
        self.address = address
        self._wire = wire
        self._complaints = complaints
        self._incoming = Incoming()
        self._outgoing = Outgoing(wire)
        self._receivers: deque[asyncio.Future[None]] = deque()
        self._take: Callable[[Message], bool] | None = None
        self._reason = ""
        self._closer: asyncio.Task[None] | None = None
        wire.owner = self
        self._timeout = timeout
        self._liveness = Liveness(wire, timeout, self._ping, self._silent)

    # --- for core --------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """See :meth:`Channel.send`."""
        if self._closer is not None:
            raise self._closed()
        await self._outgoing.send(message)

    def send_now(self, message: Message) -> bool:
        """See :meth:`Channel.send_now`."""
        if self._closer is not None:
            raise self._closed()
        return self._outgoing.send_now(message)

    def tap(self, take: Callable[[Message], bool]) -> None:
        """See :meth:`Channel.tap`."""
        self._take = take

    async def receive(self) -> Message:
        """See :meth:`Channel.receive`."""
        while self._closer is None:
            message = self._incoming.pop()
            if message is not None:
                if self._wire.stalled and self._incoming.low:
                    self._wire.work()
                return message
            if self._reason:
                break
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._receivers.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._wake_one()  # it was told of a message that it will not take
                raise
        raise self._closed()

    async def close(self, reason: str = "") -> None:
        """See :meth:`Channel.close`."""
        if self._closer is None:
            self._reason = self._reason or reason or "closed by this side"
            # A task of its own: a caller that is cancelled does not leave the socket half closed.
            self._closer = asyncio.get_running_loop().create_task(self._shut())
            self._incoming.clear()
            self._wake()
        await asyncio.shield(self._closer)

    def _closed(self) -> ChannelClosed:
        return ChannelClosed(
            f"The connection to {self.peer.role} at {self.address} is closed: {self._reason}.",
            reason=self._reason,
            address=self.address,
        )

    async def _shut(self) -> None:
        try:
            await asyncio.wait_for(self._finish(), CLOSE_WITHIN)
        except (asyncio.TimeoutError, ChannelClosed):
            pass  # the peer does not read, or is gone: there is nobody to deliver to
        finally:
            self._wire.close()
        try:
            await asyncio.wait_for(self._wire.gone.wait(), GONE_WITHIN)
        except asyncio.TimeoutError:
            self._wire.transport.abort()

    async def _finish(self) -> None:
        # Reading goes on (and is dropped): closing on unread bytes would reset the connection and lose what was sent.
        if not self._wire.transport.is_closing():
            self._wire.work()
        await self._outgoing.flush()
        self._wire.end_writing()
        await self._wire.gone.wait()

    # --- for the wire ----------------------------------------------------------------------------

    def full(self) -> bool:
        """See :meth:`Owner.full`."""
        return self._closer is None and self._incoming.full

    def on_event(self, event: Event) -> None:
        """See :meth:`Owner.on_event`."""
        if self._closer is not None:
            return
        if isinstance(event, Received):
            if self._take is not None and self._incoming.empty and self._take(event.message):
                return
            self._incoming.put(event)
            self._wake_one()
        elif isinstance(event, Ping):
            self._outgoing.pong()

    def on_broken(self, error: PeerBroke) -> None:
        """See :meth:`Owner.on_broken`."""
        self._complaints.say(self._wire.peer.host, f"{self.peer.role!r} at {self.address} broke the protocol: {error}")
        self._end(f"protocol broken: {error}")
        self._wire.transport.abort()

    def on_end(self, reason: str, *, orderly: bool) -> None:
        """See :meth:`Owner.on_end`."""
        self._end(reason)
        if self._wire.gone.is_set():
            self._liveness.stop()

    def on_writable(self, writable: bool) -> None:
        """See :meth:`Owner.on_writable`."""
        self._outgoing.set_writable(writable)

    def on_made(self) -> None:
        """See :meth:`Owner.on_made`; not told, since a channel is never the first owner."""

    def _end(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._outgoing.fail(self._closed())
        self._wake()

    def _ping(self) -> None:
        if self._closer is None and not self._reason:
            self._outgoing.ping()

    def _silent(self) -> None:
        self._end(f"silent for {self._timeout:g} s")
        self._wire.transport.abort()

    def _wake(self) -> None:
        while self._receivers:
            self._wake_one()

    def _wake_one(self) -> None:
        while self._receivers:
            future = self._receivers.popleft()
            if not future.done():
                future.set_result(None)
                return
