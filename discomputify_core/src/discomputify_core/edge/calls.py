"""A client's way to one service: calls over channels that are made again, with deadlines and retries.

One channel's calls are in peers.py; a service at its addresses is in serving.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from discomputify_core.edge import clock
from discomputify_core.edge.answers import Answers
from discomputify_core.edge.deadline import within
from discomputify_core.edge.peers import AskedOver, Body, Peer, RequestIds, result_of
from discomputify_core.errors import ChannelClosed, DiscomputifyError, OurBug, Unreachable
from discomputify_core.interfaces.calls import Caller, GiveUp, Operations, Reply, Told
from discomputify_core.interfaces.transport import Address, Transport
from discomputify_core.model.message import Hello, Message, RequestId

log = logging.getLogger("discomputify.calls")

__all__ = ["AskedOver", "Link", "Peer", "RequestIds"]

#: First and longest wait between two tries to connect, seconds.
FIRST_WAIT, LONGEST_WAIT = 0.05, 5.0
#: Most seconds for one try to connect.
DIAL = 5.0
#: Seconds for a try that ran into its deadline to say what was wrong.
GRACE = 0.5


class Link(Caller):
    """A client's way to one service. Connects when first needed and again when the channel breaks.

    Args:
        greet: called on every fresh channel before anything else is sent over it.
        operations: what the service may ask of this side.
    """

    def __init__(
        self,
        transport: Transport,
        address: Address,
        role: str,
        hello: Hello,
        *,
        operations: Operations | None = None,
        greet: Callable[[Peer], Awaitable[None]] | None = None,
    ) -> None:
        self.address = address
        self.role = role
        self._transport = transport
        self._hello = hello
        self._operations = operations or {}
        self._greet = greet
        self.ids = RequestIds()
        self._answers = Answers()
        self._peer: Peer | None = None
        self._connecting = asyncio.Lock()
        self._readers: set[asyncio.Task[None]] = set()
        #: What goes on with calls that were begun on a channel that broke.
        self.going: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    @property
    def peer(self) -> Peer | None:
        """The live channel's peer, or None."""
        return self._peer if self._peer and not self._peer.closed.is_set() else None

    async def call(self, operation: str, data: Any = None, body: Body = b"", *, timeout: float = 60.0) -> Reply:
        """See :meth:`Caller.call`."""
        request = self.ids.take()
        try:
            return await self.ask(request, operation, data, body, clock.now() + timeout)
        finally:
            self.ids.settle(request)

    async def ask(
        self,
        request: RequestId,
        operation: str,
        data: Any,
        body: Body,
        deadline: float,
        broke: ChannelClosed | None = None,
    ) -> Reply:
        """The answer to *request*; *broke* where it was sent before, and the channel broke."""
        wait = FIRST_WAIT
        while True:
            if broke is not None:
                await self._mourn(broke, wait, deadline)
                wait = min(wait * 2, LONGEST_WAIT)
            peer = await self.connect(deadline - clock.now())
            try:
                return await peer.ask(request, operation, data, body, max(deadline - clock.now(), 0.001))
            except ChannelClosed as closed:
                broke = closed

    async def _mourn(self, broke: ChannelClosed, wait: float, deadline: float) -> None:
        """Pause before a request is sent again: a service that accepts connections and drops them is not hammered."""
        if self._closing.is_set():
            raise broke
        if clock.now() + wait >= deadline:
            raise Unreachable(
                f"The connection to {self.role} at {self.address} broke ({broke.fields.get('reason')}) "
                f"and could not be made again in time.",
                address=str(self.address),
            ) from broke
        await self._pause(wait)

    def begin(self, operation: str, data: Any, body: Body, *, timeout: float, told: Told) -> GiveUp | None:
        """See :meth:`Caller.begin`: where there is a channel that takes it."""
        peer = self.peer
        if peer is None or self._closing.is_set():
            return None
        begun = Begun(self, peer, self.ids.take(), operation, data, body, timeout, told)
        return begun.give_up if begun.send() else None

    async def connect(self, timeout: float) -> Peer:
        """The peer at the other end, connecting if there is no channel.

        Raises:
            Unreachable: not within *timeout* seconds.
            Refused: the other end said no.
        """
        if self.peer and not self._closing.is_set():
            return self.peer
        deadline = clock.now() + timeout
        try:
            # Another call may be connecting, with a later deadline than this one.
            return await within(max(timeout, 0.0) + GRACE, self._connect_in_turn(deadline))
        except asyncio.TimeoutError:
            raise Unreachable(
                f"No connection to {self.role} at {self.address} within {timeout:.0f} s.", address=str(self.address)
            ) from None

    async def _connect_in_turn(self, deadline: float) -> Peer:
        async with self._connecting:
            return await self._connect(deadline)

    async def _connect(self, deadline: float) -> Peer:
        wait = FIRST_WAIT
        while True:
            if self._closing.is_set():
                raise ChannelClosed(f"The link to {self.role} was closed.", reason="closed by this side")
            if self.peer:
                return self.peer
            left = deadline - clock.now()
            try:
                return await self._dial(min(max(left, 0.05), DIAL))
            except (Unreachable, ChannelClosed) as error:
                if clock.now() + wait >= deadline:
                    if isinstance(error, Unreachable):
                        raise
                    raise Unreachable(
                        f"{self.role} at {self.address} closes the connection: {error}", address=str(self.address)
                    ) from error
            await self._pause(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next try, or until this link is closed."""
        with contextlib.suppress(asyncio.TimeoutError):
            await within(clock.jittered(seconds), self._closing.wait())

    async def _dial(self, timeout: float) -> Peer:
        channel = await self._transport.dial(self.address, self.role, self._hello, timeout)
        peer = Peer(channel, self._operations, self._answers, self.ids)
        reader = asyncio.get_running_loop().create_task(peer.serve())
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        try:
            if self._greet:
                await self._greet(peer)
            if self._closing.is_set():
                raise ChannelClosed(f"The link to {self.role} was closed.", reason="closed by this side")
        except BaseException:
            # Also when cancelled: a channel that was not greeted belongs to nobody.
            await peer.close()
            await asyncio.wait([reader], timeout=DIAL)
            raise
        self._peer = peer
        reader.add_done_callback(lambda _: self._cut(peer))
        return peer

    def _cut(self, peer: Peer) -> None:
        if self.on_cut is not None and not self._closing.is_set():
            self.on_cut(peer.reason)

    async def close(self) -> None:
        """See :meth:`Caller.close`."""
        self._closing.set()
        if self._peer:
            await self._peer.close()
        ending = self._readers | self.going
        if ending:
            await asyncio.wait(ending, timeout=DIAL)


class Begun:
    """A call for which nobody waits: who began it is told what came of it, also where the channel breaks on the way."""

    __slots__ = ("_again", "_body", "_data", "_link", "_operation", "_peer", "_request", "_since", "_timeout", "_told")

    def __init__(
        self,
        link: Link,
        peer: Peer,
        request: RequestId,
        operation: str,
        data: Any,
        body: Body,
        timeout: float,
        told: Told,
    ) -> None:
        self._link = link
        self._peer = peer
        self._request = request
        self._operation = operation
        self._data = data
        self._body = body
        self._timeout = timeout
        self._told: Told | None = told
        self._since = clock.now()
        #: Asks again, where the channel broke.
        self._again: asyncio.Task[None] | None = None

    def send(self) -> bool:
        """Send it if that needs no waiting; whether it was sent."""
        sent = self._peer.ask_now(self._request, self._operation, self._data, self._body, self._timeout, self._answered)
        if not sent:
            self._link.ids.settle(self._request)
        return sent

    def give_up(self) -> None:
        """See :data:`~discomputify_core.interfaces.calls.GiveUp`."""
        if self._told is not None:
            self._told = None
            self._peer.forget(self._request)
            self._link.ids.settle(self._request)
            if self._again is not None:
                self._again.cancel()

    def _answered(self, outcome: Message | Exception) -> None:
        if isinstance(outcome, ChannelClosed):
            self._again = asyncio.get_running_loop().create_task(self._ask_again(outcome))
            self._link.going.add(self._again)
            self._again.add_done_callback(self._link.going.discard)
            return
        try:
            if isinstance(outcome, asyncio.TimeoutError):
                raise self._peer.late(self._operation, self._timeout)
            if isinstance(outcome, Exception):
                raise outcome
            found: Reply | DiscomputifyError = result_of(outcome)
        except DiscomputifyError as error:
            found = error
        self._tell(found)

    async def _ask_again(self, broke: ChannelClosed) -> None:
        deadline = self._since + self._timeout
        try:
            found: Reply | DiscomputifyError = await self._link.ask(
                self._request, self._operation, self._data, self._body, deadline, broke
            )
        except DiscomputifyError as error:
            found = error
        except Exception as error:  # nobody waits for this task: who began the call would never be told
            log.exception("asking '%s' again failed", self._operation)
            found = OurBug(f"'{self._operation}' could not be asked again: {type(error).__name__}. The log says more.")
        self._tell(found)

    def _tell(self, found: Reply | DiscomputifyError) -> None:
        told, self._told = self._told, None
        if told is not None:
            self._link.ids.settle(self._request)
            told(found)
