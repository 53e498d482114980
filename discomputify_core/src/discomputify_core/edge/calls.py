"""Calls over channels: request and answer, in both directions, with deadlines, retries and memory of answers.

:class:`Peer` is one channel; :class:`Link` a client's way to one service, over channels that are made again. A service
at its addresses is in serving.py. What the operations mean is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Union

import attrs

from discomputify_core.edge import clock
from discomputify_core.edge.answers import Answers
from discomputify_core.edge.deadline import within
from discomputify_core.errors import (
    ChannelClosed,
    DiscomputifyError,
    OurBug,
    PeerBroke,
    Refused,
    Unreachable,
    from_wire,
    to_wire,
)
from discomputify_core.interfaces.calls import Asked, Caller, Operations, Reply
from discomputify_core.interfaces.transport import Address, Channel, Transport
from discomputify_core.model.message import ANSWER, Hello, Message, RequestId

log = logging.getLogger("discomputify.calls")

Body = Union[bytes, bytearray, memoryview]

#: Requests of one peer that are worked on at once; a peer that sends more waits.
MAX_AT_ONCE = 1024
#: Bytes of request bodies of one peer held at once, and what a request without a body counts.
MAX_HELD = 128 * 1024 * 1024
EACH = MAX_HELD // MAX_AT_ONCE
#: First and longest wait between two tries to connect, seconds.
FIRST_WAIT, LONGEST_WAIT = 0.05, 5.0
#: Most seconds for one try to connect.
DIAL = 5.0
#: Seconds for a try that ran into its deadline to say what was wrong.
GRACE = 0.5


class RequestIds:
    """Request ids of one client process, and which of them are still open."""

    def __init__(self) -> None:
        self.client = clock.random_bytes(16)
        self._numbers = itertools.count(1)
        self._next = 1
        self._open: dict[int, None] = {}

    def take(self) -> RequestId:
        """A new id."""
        number = next(self._numbers)
        self._next = number + 1
        self._open[number] = None
        return RequestId(self.client, number)

    def settle(self, request: RequestId) -> None:
        """The answer arrived, or nobody waits for it any more."""
        self._open.pop(request.number, None)

    @property
    def settled(self) -> int:
        """All ids with a lower number are settled."""
        return next(iter(self._open), self._next)


@attrs.frozen
class AskedOver(Asked):
    """A request, with the peer that sent it: a handler may keep it to talk back."""

    over: Peer | None = None


class Peer(Caller):
    """One channel, used in both directions."""

    def __init__(self, channel: Channel, operations: Operations, answers: Answers, ids: RequestIds) -> None:
        self.channel = channel
        self._operations = operations
        self._answers = answers
        self._ids = ids
        self._waiting: dict[RequestId, asyncio.Future[Message]] = {}
        self._held = 0
        self._room = asyncio.Event()
        self._room.set()
        #: Set when the channel is gone; ``reason`` says why.
        self.closed = asyncio.Event()
        self.reason = ""

    async def call(self, operation: str, data: Any = None, body: Body = b"", *, timeout: float = 60.0) -> Reply:
        """See :meth:`Caller.call`; on a channel that closes it raises ChannelClosed, without a second try."""
        request = self._ids.take()
        try:
            return await self.ask(request, operation, data, body, timeout)
        finally:
            self._ids.settle(request)

    async def ask(self, request: RequestId, operation: str, data: Any, body: Body, timeout: float) -> Reply:
        """Send *request* and wait for its answer on this channel.

        Raises:
            ChannelClosed: the channel is gone.
            Unreachable: no answer within *timeout* seconds.
            DiscomputifyError: what the peer answered with.
        """
        if self.closed.is_set():
            raise ChannelClosed(f"The connection to {self.channel.address} is closed.", reason=self.reason)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Message] = loop.create_future()
        self._waiting[request] = future
        # Not within(): a task for each call would cost more than most calls do.
        alarm = loop.call_later(timeout, _ring, future)
        try:
            message = Message(operation, data, body, request, self._ids.settled)
            if not self.channel.send_now(message):
                await within(timeout, self.channel.send(message))
            answer = await future
        except asyncio.TimeoutError:
            raise Unreachable(
                f"{self.channel.peer.role} at {self.channel.address} did not answer '{operation}' "
                f"within {timeout:.0f} s.",
                address=self.channel.address,
            ) from None
        finally:
            alarm.cancel()
            self._waiting.pop(request, None)
            if future.done() and not future.cancelled():
                future.exception()  # nobody looks at it any more where sending failed
        return _result(answer)

    async def push(self, operation: str, data: Any = None, body: Body = b"") -> None:
        """Send a message that wants no answer. Pushes are handled in order, one at a time.

        Raises:
            ChannelClosed: the channel is gone.
        """
        await self._send(Message(operation, data, body))

    async def _send(self, message: Message) -> None:
        if not self.channel.send_now(message):
            await self.channel.send(message)

    async def serve(self) -> None:
        """Read the channel until it closes; answer what is asked."""
        reason = "closed"
        try:
            while True:
                await self._room.wait()
                await self._received(await self.channel.receive())
        except ChannelClosed as closed:
            reason = str(closed.fields.get("reason") or closed)
        except PeerBroke as broke:
            reason = str(broke)
            log.warning("%s at %s broke the protocol: %s", self.channel.peer.role, self.channel.address, broke)
        finally:
            self._end(reason)
            await self.channel.close(reason)

    def _end(self, reason: str) -> None:
        self.reason = reason
        self.closed.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(
                    ChannelClosed(f"The connection to {self.channel.address} closed: {reason}.", reason=reason)
                )
                # A caller that gave up in the same turn of the loop will not look at it.
                future.exception()

    async def _received(self, message: Message) -> None:
        if message.operation == ANSWER:
            future = self._waiting.get(message.request) if message.request else None
            if future is not None and not future.done():
                future.set_result(message)
            return
        if message.request is None:
            done = await self._work_out(message)
            if "error" in done.data:  # nobody waits for the answer
                log.warning("a message '%s' from %s failed: %s", message.operation, self.channel.address, done.data)
            return
        self._held += len(message.body) + EACH
        if self._held >= MAX_HELD:
            self._room.clear()
        self._answers.working(asyncio.get_running_loop().create_task(self._answer(message)))

    async def _answer(self, message: Message) -> None:
        try:
            answer = await self._remembered(message)
            try:
                await self._send(answer)
            except OurBug as bug:  # too big, or not plain: the one who asked is told, and does not wait in vain
                log.exception("the answer to '%s' cannot be sent", message.operation)
                await self.channel.send(Message(ANSWER, {"error": to_wire(bug)}, b"", message.request))
        except ChannelClosed:
            pass  # the client asks again over its next channel, and a remembered answer waits there
        finally:
            self._held -= len(message.body) + EACH
            if self._held < MAX_HELD:
                self._room.set()

    async def _remembered(self, message: Message) -> Message:
        request, operation = message.request, self._operations.get(message.operation)
        if operation is None or not operation.changes or request is None:
            return await self._work_out(message)
        try:
            known = self._answers.find(request, message.settled, clock.now())
        except Refused as refused:
            return Message(ANSWER, {"error": to_wire(refused)}, b"", request)
        if known is not None:
            return await asyncio.shield(known)
        known = self._answers.begin(request)
        try:
            # This task ends by itself alone: what has begun is finished and remembered even if the channel closes.
            answer = await self._work_out(message)
            self._answers.finish(request, known, answer)
        finally:
            known.cancel()  # without effect on one that has its answer
        return answer

    async def _work_out(self, message: Message) -> Message:
        log.debug("%s asks %s", self.channel.peer.role, message.operation)
        operation = self._operations.get(message.operation)
        try:
            if operation is None:
                raise Refused(f"This service does not know the operation {message.operation[:60]!r}.")
            asked = AskedOver(message.data, message.body, self.channel.peer, self.channel.address, over=self)
            reply = await operation.handler(asked)
            return Message(ANSWER, {"ok": reply.data}, reply.body, message.request)
        except DiscomputifyError as error:
            return Message(ANSWER, {"error": to_wire(error)}, b"", message.request)
        except Exception as error:  # a bug in a handler must not end the service, nor leave the peer waiting
            log.exception("handling '%s' from %s failed", message.operation, self.channel.address)
            bug = OurBug(f"The service failed on '{message.operation}': {type(error).__name__}. Its log says more.")
            return Message(ANSWER, {"error": to_wire(bug)}, b"", message.request)

    async def close(self) -> None:
        """Close the channel."""
        self._end("closed by this side")
        await self.channel.close()


def _ring(future: asyncio.Future[Message]) -> None:
    if not future.done():
        future.set_exception(asyncio.TimeoutError())


def _result(answer: Message) -> Reply:
    data = answer.data
    if isinstance(data, dict) and "ok" in data:
        return Reply(data["ok"], answer.body)
    if isinstance(data, dict) and "error" in data:
        raise from_wire(data["error"])
    raise PeerBroke("The peer sent an answer that is neither a result nor an error.", clause="answer")


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
        self._ids = RequestIds()
        self._answers = Answers()
        self._peer: Peer | None = None
        self._connecting = asyncio.Lock()
        self._readers: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    @property
    def peer(self) -> Peer | None:
        """The live channel's peer, or None."""
        return self._peer if self._peer and not self._peer.closed.is_set() else None

    async def call(self, operation: str, data: Any = None, body: Body = b"", *, timeout: float = 60.0) -> Reply:
        """See :meth:`Caller.call`."""
        deadline = clock.now() + timeout
        request = self._ids.take()
        wait = FIRST_WAIT
        try:
            while True:
                peer = await self.connect(deadline - clock.now())
                try:
                    return await peer.ask(request, operation, data, body, max(deadline - clock.now(), 0.001))
                except ChannelClosed as closed:
                    if self._closing.is_set():
                        raise
                    if clock.now() + wait >= deadline:
                        raise Unreachable(
                            f"The connection to {self.role} at {self.address} broke ({closed.fields.get('reason')}) "
                            f"and could not be made again in time.",
                            address=str(self.address),
                        ) from closed
                # A service that accepts connections and drops them is not to be hammered.
                await self._pause(wait)
                wait = min(wait * 2, LONGEST_WAIT)
        finally:
            self._ids.settle(request)

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
        peer = Peer(channel, self._operations, self._answers, self._ids)
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
        if self._readers:
            await asyncio.wait(set(self._readers), timeout=DIAL)
