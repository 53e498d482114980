"""A peer that connected and is not yet authenticated: little memory, little time.

Not here: how many of them there may be (listening.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from discomputify_core.errors import PeerBroke
from discomputify_core.model.message import Hello
from discomputify_tcp.cypher2 import CannotOpen, Confirmed, Connection, Event, Greeted
from discomputify_tcp.cypher2.errors import broke
from discomputify_tcp.transport.sniff import sniff
from discomputify_tcp.transport.wire import Owner, Wire

#: Seconds that a peer has to authenticate itself.
WITHIN = 5.0


class Arrival(Owner):
    """Owns a wire until its peer is authenticated, or turned away.

    Args:
        codec: makes a codec for a peer that speaks CYPHER/2.
        arrived: told when the peer is connected.
        welcome: takes the authenticated peer's wire, and its hello.
        left: told once when the peer was turned away or left, and why.
    """

    def __init__(
        self,
        codec: Callable[[], Connection],
        arrived: Callable[[Arrival], None],
        welcome: Callable[[Arrival, Hello], None],
        left: Callable[[Arrival, str], None],
    ) -> None:
        self._codec = codec
        self._arrived = arrived
        self._welcome = welcome
        self._left = left
        self._hello: Hello | None = None
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self.wire = Wire(self, None)

    def choose(self, begin: bytes) -> Connection:
        """See :meth:`Owner.choose`."""
        version = sniff(begin[0])
        if version == 1:
            raise broke("handshake.1", "An old client connected; its protocol, CYPHER/1, is not available here.")
        if version is None:
            raise broke("handshake.1", "It does not speak CYPHER/2.")
        return self._codec()

    def on_made(self) -> None:
        """See :meth:`Owner.on_made`."""
        self._timer = asyncio.get_running_loop().call_later(WITHIN, self._late)
        self._arrived(self)

    def on_writable(self, writable: bool) -> None:
        """See :meth:`Owner.on_writable`: a handshake always fits into the buffer."""

    def full(self) -> bool:
        """See :meth:`Owner.full`."""
        return self._over

    def on_event(self, event: Event) -> None:
        """See :meth:`Owner.on_event`."""
        if isinstance(event, Greeted):
            self._hello = event.hello
            self.wire.write([self.wire.codec.answer()])
        elif isinstance(event, Confirmed) and self._hello is not None:
            self.done()
            self._welcome(self, self._hello)

    def on_broken(self, error: PeerBroke) -> None:
        """See :meth:`Owner.on_broken`. Closed in order: the client reads from it that its key is not ours."""
        if isinstance(error, CannotOpen):
            self._leave("its key differs from ours, or it is not a discomputify peer")
        else:
            self._leave(str(error))
        self.wire.transport.close()

    def on_end(self, reason: str, *, orderly: bool) -> None:
        """See :meth:`Owner.on_end`."""
        self._leave(f"{reason} before it had authenticated itself")

    def turn_away(self, reason: str) -> None:
        """Close at once, for a reason that is not the peer's fault."""
        self._leave(reason)
        self.wire.reset()

    def done(self) -> None:
        """The peer is no arrival any more."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()

    def _late(self) -> None:
        self.turn_away(f"it did not authenticate itself within {WITHIN:g} s")

    def _leave(self, reason: str) -> None:
        if not self._over:
            self.done()
            self._left(self, reason)
