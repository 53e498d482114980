"""A peer that connected and is not yet authenticated: little memory, little time.

Not here: how many of them there may be (listening.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Union

from discomputify_core.errors import PeerBroke
from discomputify_core.model.message import Hello
from discomputify_tcp.cypher2 import CannotOpen, Confirmed, Connection, Event, Greeted
from discomputify_tcp.cypher2.errors import broke
from discomputify_tcp.transport.sniff import sniff
from discomputify_tcp.transport.wire import Heir, Owner, Wire

#: Seconds that a peer has to authenticate itself.
WITHIN = 5.0

#: Takes over the connection of an old client; None: it was closed.
OnOld = Callable[["Arrival"], Union[Heir, None]]


class Arrival(Owner):
    """Owns a wire until its peer is authenticated, or turned away.

    Args:
        codec: makes a codec for a peer that speaks CYPHER/2.
        arrived: told when the peer is connected.
        welcome: takes the authenticated peer's wire, and its hello.
        left: told once when the peer was turned away or left, and why.
        old: told of a peer that speaks CYPHER/1; then this is over.
        silent: seconds for a peer to say its first byte, if more than to authenticate itself: old clients connect long
            before their first request.
    """

    def __init__(
        self,
        codec: Callable[[], Connection],
        arrived: Callable[[Arrival], None],
        welcome: Callable[[Arrival, Hello], None],
        left: Callable[[Arrival, str], None],
        old: OnOld,
        silent: float = 0.0,
    ) -> None:
        self._codec = codec
        self._arrived = arrived
        self._welcome = welcome
        self._left = left
        self._old = old
        self._silent = silent
        self._hello: Hello | None = None
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self.wire = Wire(self, None)

    def choose(self, begin: bytes) -> Connection | Heir | None:
        """See :meth:`Owner.choose`."""
        version = sniff(begin[0])
        if version == 1:
            self.done()
            return self._old(self)
        if version is None:
            raise broke("handshake.1", "It does not speak CYPHER/2.")
        self._allow(WITHIN, "did not authenticate itself")
        return self._codec()

    def on_made(self) -> None:
        """See :meth:`Owner.on_made`."""
        if self._silent > WITHIN:
            self._allow(self._silent, "said nothing")
        else:
            self._allow(WITHIN, "did not authenticate itself")
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

    def _allow(self, seconds: float, what: str) -> None:
        # The first byte does not give a peer more time, unless it may have waited for longer.
        if self._timer is not None:
            if self._silent <= WITHIN:
                return
            self._timer.cancel()
        reason = f"it {what} within {seconds:g} s"
        self._timer = asyncio.get_running_loop().call_later(seconds, self.turn_away, reason)

    def _leave(self, reason: str) -> None:
        if not self._over:
            self.done()
            self._left(self, reason)
