"""One socket and its codec: bytes from one to the other, and nothing decided.

Here: asyncio's protocol callbacks, translated for an owner, who changes when the handshake is over. Not here: what
events mean (dialling.py, listening.py, channel.py).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import cast

from discomputify_core.errors import OurBug, PeerBroke
from discomputify_core.interfaces.transport import Address
from discomputify_tcp.cypher2 import MAX_UNCONFIRMED, Connection, Event
from discomputify_tcp.transport.sockets import reset_on_close, said

#: The transport's own buffer: above the first, writing pauses until it is below the second.
HIGH, LOW = 1024 * 1024, 256 * 1024


class Owner(ABC):
    """What a wire tells its owner."""

    @abstractmethod
    def full(self) -> bool:
        """Whether the owner wants no more events for now."""

    @abstractmethod
    def on_event(self, event: Event) -> None:
        """The codec has an event."""

    @abstractmethod
    def on_broken(self, error: PeerBroke) -> None:
        """The peer broke the protocol; the owner ends the connection."""

    @abstractmethod
    def on_end(self, reason: str, *, orderly: bool) -> None:
        """The peer sends no more. Called once or twice: for an orderly end, and when the socket is gone."""

    @abstractmethod
    def on_writable(self, writable: bool) -> None:
        """The socket takes more, or it does not."""

    @abstractmethod
    def on_made(self) -> None:
        """The socket is connected. Told to the first owner."""

    def choose(self, begin: bytes) -> Connection | Heir | None:
        """The codec for a peer whose first bytes are *begin*; for wires that were made without one.

        Or the protocol that has the connection from now on, and these bytes first; or None: it is over.
        """
        raise OurBug("A wire without a codec needs an owner that chooses one.")


class Heir(asyncio.BufferedProtocol, ABC):
    """A protocol to which a wire leaves its connection."""

    @abstractmethod
    def take(self, data: bytes) -> None:
        """*data* was read already."""


class Wire(asyncio.BufferedProtocol):
    """A socket with a codec.

    Args:
        codec: None where the peer's first bytes decide (:meth:`Owner.choose`).
    """

    def __init__(self, owner: Owner, codec: Connection | None) -> None:
        self.owner = owner
        self._codec = codec
        self._begin = bytearray(0 if codec else MAX_UNCONFIRMED)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._heir: Heir | None = None
        #: Loop times at which bytes were last read and written.
        self.heard_at = self.sent_at = self._loop.time()
        #: Whether reading waits for the owner.
        self.stalled = False
        #: Set when the socket is closed.
        self.gone = asyncio.Event()

    @property
    def codec(self) -> Connection:
        """The codec, once there is one."""
        if self._codec is None:
            raise OurBug("The codec of a wire was used before it was chosen.")
        return self._codec

    @property
    def transport(self) -> asyncio.Transport:
        """The asyncio transport, once connected."""
        if self._transport is None:
            raise OurBug("A wire was used before it was connected.")
        return self._transport

    @property
    def peer(self) -> Address:
        """The peer's address as the socket knows it."""
        name = self.transport.get_extra_info("peername") or ("unknown", 0)
        return Address(str(name[0]), int(name[1]))

    # --- asyncio's callbacks ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH, LOW)
        self.owner.on_made()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return memoryview(self._begin) if self._codec is None else self._codec.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes were read."""
        self.heard_at = self._loop.time()
        if self._codec is not None:
            self._codec.buffer_updated(nbytes)
            self.work()
        else:
            self._begun(bytes(self._begin[:nbytes]))

    def _begun(self, begin: bytes) -> None:
        if self._heir is not None:
            # Not every event loop notices at once that a connection has another protocol.
            self._heir.take(begin)
            return
        try:
            chosen = self.owner.choose(begin)
        except PeerBroke as error:
            self.owner.on_broken(error)
            return
        if isinstance(chosen, Connection):
            self._codec = chosen
            self._codec.receive_data(begin)
            self.work()
        elif chosen is not None:
            self._heir = chosen
            self.transport.set_protocol(chosen)
            chosen.take(begin)

    def eof_received(self) -> bool:
        """The peer sends no more."""
        at_rest = self._codec is None or self._codec.at_rest
        self.owner.on_end("closed by the peer" if at_rest else "closed by the peer within a message", orderly=True)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self.gone.set()
        self.owner.on_end(f"the connection broke ({said(exc)})" if exc else "closed", orderly=exc is None)

    def pause_writing(self) -> None:
        """The socket does not take more for now."""
        self.owner.on_writable(False)

    def resume_writing(self) -> None:
        """The socket takes more."""
        self.owner.on_writable(True)

    # --- for the owner ---------------------------------------------------------------------------

    def work(self) -> None:
        """Hand events to the owner until there are none, or it is full; then reading waits for the next call."""
        try:
            while not self.owner.full():
                event = self.codec.next_event()
                if event is None:
                    break
                self.owner.on_event(event)
                if self.codec.at_rest:
                    break
        except PeerBroke as error:
            self.stalled = False
            self.owner.on_broken(error)
            return
        self.stalled = self.owner.full()
        if self.stalled:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def write(self, buffers: list[bytes]) -> None:
        """Send *buffers*; nothing happens on a connection that is ending."""
        if self.transport.is_closing():
            return
        self.sent_at = self._loop.time()
        for buffer in buffers:
            self.transport.write(buffer)

    def end_writing(self) -> None:
        """Tell the peer that nothing more comes, after what was written."""
        if not self.transport.is_closing():
            self.transport.write_eof()

    def close(self) -> None:
        """Close in order; what the system has not taken by now is lost."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def reset(self) -> None:
        """Close at once, so that the peer sees a reset: it is not at fault and may try again."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            reset_on_close(sock)
        self.transport.abort()
