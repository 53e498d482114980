"""One channel, used in both directions: requests and their answers, pushes, what is worked on at once.

What the operations mean is not known here. Not here: channels that are made again (calls.py), services (serving.py).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from functools import partial
from typing import Any, Union

import attrs

from discomputify_core.edge import clock
from discomputify_core.edge.answers import Answers
from discomputify_core.edge.deadline import within
from discomputify_core.edge.pending import Answered, Pending
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
from discomputify_core.interfaces.transport import Channel
from discomputify_core.model.message import ANSWER, Message, RequestId

log = logging.getLogger("discomputify.calls")

Body = Union[bytes, bytearray, memoryview]

#: Requests of one peer that are worked on at once; a peer that sends more waits.
MAX_AT_ONCE = 1024
#: Bytes of request bodies of one peer held at once, and what a request without a body counts.
MAX_HELD = 128 * 1024 * 1024
EACH = MAX_HELD // MAX_AT_ONCE


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
        self._pending = Pending()
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
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        # Not within(): a task for each call would cost more than most calls do.
        self._pending.add(request.number, timeout, partial(_settle, future))
        try:
            message = Message(operation, data, body, request, self._ids.settled)
            if not self.channel.send_now(message):
                await within(timeout, self.channel.send(message))
            answer = await future
        except asyncio.TimeoutError:
            raise self.late(operation, timeout) from None
        finally:
            self._pending.drop(request.number)
            if future.done() and not future.cancelled():
                future.exception()  # nobody looks at it any more where sending failed
        return result_of(answer)

    def ask_now(
        self, request: RequestId, operation: str, data: Any, body: Body, timeout: float, answered: Answered
    ) -> bool:
        """Send *request* if that needs no waiting, and tell *answered* later; whether it was sent."""
        if self.closed.is_set():
            return False
        self._pending.add(request.number, timeout, answered)
        try:
            if self.channel.send_now(Message(operation, data, body, request, self._ids.settled)):
                return True
        except DiscomputifyError:
            pass  # whoever asks again, and waits, is told
        self._pending.drop(request.number)
        return False

    def forget(self, request: RequestId) -> None:
        """Nobody waits for the answer to *request* any more."""
        self._pending.drop(request.number)

    def late(self, operation: str, timeout: float) -> Unreachable:
        """The error for a call that was not answered in time."""
        return Unreachable(
            f"{self.channel.peer.role} at {self.channel.address} did not answer '{operation}' within {timeout:.0f} s.",
            address=self.channel.address,
        )

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
        self.channel.tap(self._take)
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
        self._pending.fail(
            lambda: ChannelClosed(f"The connection to {self.channel.address} closed: {reason}.", reason=reason)
        )

    def _take(self, message: Message) -> bool:
        """See :meth:`Channel.tap`: answers, and requests that can be answered at once."""
        if message.operation == ANSWER:
            self._answered(message)
            return True
        operation = self._operations.get(message.operation)
        if operation is None or operation.at_once is None or operation.changes or message.request is None:
            return False
        if not self._room.is_set():
            return False
        try:
            reply = operation.at_once(self._asked(message))
            answer = Message(ANSWER, {"ok": reply.data}, reply.body, message.request)
        except Exception as error:  # as in _work_out()
            answer = self._failed(message, error)
        try:
            if self.channel.send_now(answer):
                return True
        except DiscomputifyError:
            pass  # it is met again there
        self._work(message, answer)
        return True

    async def _received(self, message: Message) -> None:
        if message.operation == ANSWER:
            self._answered(message)
        elif message.request is not None:
            self._work(message)
        else:
            done = await self._work_out(message)
            if "error" in done.data:  # nobody waits for the answer
                log.warning("a message '%s' from %s failed: %s", message.operation, self.channel.address, done.data)

    def _answered(self, message: Message) -> None:
        request = message.request
        if request is not None and request.client == self._ids.client:
            self._pending.answer(request.number, message)

    def _work(self, message: Message, answer: Message | None = None) -> None:
        """Answer *message* in a task; what it holds counts until then, and so does an *answer* that is there."""
        size = len(message.body) + EACH + (len(answer.body) if answer is not None else 0)
        self._held += size
        if self._held >= MAX_HELD:
            self._room.clear()
        self._answers.working(asyncio.get_running_loop().create_task(self._answer(message, answer, size)))

    async def _answer(self, message: Message, answer: Message | None, size: int) -> None:
        """Send *answer*, or work one out first; then *size* bytes are held no more."""
        try:
            if answer is None:
                answer = await self._remembered(message)
            try:
                await self._send(answer)
            except OurBug as bug:  # too big, or not plain: the one who asked is told, and does not wait in vain
                log.exception("the answer to '%s' cannot be sent", message.operation)
                await self.channel.send(Message(ANSWER, {"error": to_wire(bug)}, b"", message.request))
        except ChannelClosed:
            pass  # the client asks again over its next channel, and a remembered answer waits there
        finally:
            self._held -= size
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
            reply = await operation.handler(self._asked(message))
            return Message(ANSWER, {"ok": reply.data}, reply.body, message.request)
        except Exception as error:  # a bug in a handler must not end the service, nor leave the peer waiting
            return self._failed(message, error)

    def _asked(self, message: Message) -> AskedOver:
        return AskedOver(message.data, message.body, self.channel.peer, self.channel.address, over=self)

    def _failed(self, message: Message, error: Exception) -> Message:
        """The answer to *message*, on which a handler raised *error*."""
        if not isinstance(error, DiscomputifyError):
            log.error("handling '%s' from %s failed", message.operation, self.channel.address, exc_info=error)
            error = OurBug(f"The service failed on '{message.operation}': {type(error).__name__}. Its log says more.")
        return Message(ANSWER, {"error": to_wire(error)}, b"", message.request)

    async def close(self) -> None:
        """Close the channel."""
        self._end("closed by this side")
        await self.channel.close()


def _settle(future: asyncio.Future[Message], outcome: Message | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def result_of(answer: Message) -> Reply:
    """What *answer* says.

    Raises:
        DiscomputifyError: the error that it says.
        PeerBroke: it says neither result nor error.
    """
    data = answer.data
    if isinstance(data, dict) and "ok" in data:
        return Reply(data["ok"], answer.body)
    if isinstance(data, dict) and "error" in data:
        raise from_wire(data["error"])
    raise PeerBroke("The peer sent an answer that is neither a result nor an error.", clause="answer")
