"""A connection of an old client (CYPHER/1) as core sees it: a channel over which requests come, one at a time.

A request that is authentic and of this time is handed on as a message ``old.request``; its answer becomes a token. An
error becomes the old protocol's own negative answer. What has begun is finished: an answer is taken, and remembered,
also when its connection is gone. Nothing is read while a request is worked on. Big tokens are opened and
sealed in a thread, so that other peers are not held up.

Not here: what the bytes mean (cypher1/), what connections share (old_clients.py), what the operations do (services).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs

from discomputify_core.errors import ChannelClosed, OurBug, PeerBroke, Refused
from discomputify_core.interfaces.transport import Address, Channel
from discomputify_core.model.message import ANSWER, Hello, Message, RequestId
from discomputify_core.model.old_clients import OLD_CLIENT, OLD_REQUEST
from discomputify_tcp.cypher1 import Content, Declined, Event, Received, changes, lossy
from discomputify_tcp.transport.old_answers import answer_to, missed, no, plain_request, weight
from discomputify_tcp.transport.old_clients import OldClients
from discomputify_tcp.transport.old_stream import WRITTEN, OldStream
from discomputify_tcp.transport.sockets import reset_on_close, said

log = logging.getLogger("discomputify.tcp")
T = TypeVar("T")

#: Bytes from which on a token is opened, or sealed, in a thread.
BIG = 64 * 1024
#: Seconds for a service to answer a request. Old clients give up earlier, come again, and wait for the same answer.
ANSWERED_WITHIN = 600.0
#: Seconds without a byte within a token. Old clients send a token in one go: its end was most likely lost on its way
#: into their socket. They wait for the answer then, and send it again once the connection is closed.
STUCK = 5.0
#: Seconds for the request that is worked on when the channel is closed, and for its answer to reach the peer.
FINISH_WITHIN = 2.0
CLOSE_WITHIN = 5.0


@attrs.frozen(eq=False)
class _Asked:
    """A request that was handed on, and where its answer is waited for."""

    request: Received
    answer: asyncio.Future[bytes]


class OldChannel(Channel):
    """A channel over a transport that asyncio connected, whose protocol becomes :attr:`stream`; then :meth:`run`.

    Args:
        welcome: told once, when the first request is handed on.
    """

    def __init__(self, transport: asyncio.Transport, shared: OldClients, welcome: Callable[[OldChannel], None]) -> None:
        name = transport.get_extra_info("peername") or ("unknown", 0)
        address = Address(str(name[0]), int(name[1]))
        self.address = str(address)
        self.peer = Hello(OLD_CLIENT, name=address.host, software="CYPHER/1", version="1")
        self._loop = asyncio.get_running_loop()
        self.stream = OldStream(transport, self._feed)
        self._transport = transport
        self._shared = shared
        self._codec = shared.codec()
        self._welcome = welcome
        self._welcomed = self._proved = False
        self._incoming: asyncio.Queue[Message | None] = asyncio.Queue()
        self._asked: dict[RequestId, _Asked] = {}
        self._reason = ""
        self._running: asyncio.Task[None] | None = None
        shared.came(self)

    # --- for core --------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """See :meth:`Channel.send`. Takes answers alone, and also when the connection is gone."""
        id_ = message.request if message.operation == ANSWER else None
        asked = self._asked.get(id_) if id_ else None
        if id_ is None or asked is None:
            raise OurBug(f"An old client takes one answer to each of its requests, and no '{message.operation}'.")
        data = await self._sealed(answer_to(asked.request.content, message.data))
        if self._asked.pop(id_, None) is None:
            return  # another answer was quicker
        self._shared.settle(id_)
        self._shared.replays.finish(asked.request, data)
        if not asked.answer.done():
            asked.answer.set_result(data)

    async def receive(self) -> Message:
        """See :meth:`Channel.receive`."""
        message = await self._incoming.get()
        if message is None:
            self._incoming.put_nowait(None)  # for whoever asks next
            raise ChannelClosed(
                f"The connection to {self.peer.role} at {self.address} is closed: {self._reason}.",
                reason=self._reason,
                address=self.address,
            )
        return message

    async def close(self, reason: str = "") -> None:
        """See :meth:`Channel.close`. The request that is worked on may still be answered."""
        self._stop(reason or "closed by this side")
        running = self._running
        try:
            if running is not None and self._asked:
                await asyncio.wait({running}, timeout=FINISH_WITHIN)
        finally:
            if running is not None:
                running.cancel()
            self._shut()
        try:
            await asyncio.wait_for(self.stream.gone.wait(), CLOSE_WITHIN)
        except asyncio.TimeoutError:
            self._transport.abort()

    # --- for the listener ------------------------------------------------------------------------

    async def run(self) -> None:
        """Read requests and write answers until the connection ends."""
        self._running = asyncio.current_task()
        try:
            await self._converse()
        except PeerBroke as error:
            self._complain(f"turned away the old client at {self.address}: {error}")
            self._stop(f"protocol broken: {error}")
        except OSError as error:
            self._stop(f"the connection broke ({said(error)})")
        except Exception:  # a bug here must not leave this connection open, nor end the others
            log.exception("serving the old client at %s failed", self.address)
        finally:
            self._running = None
            self._codec.end()
            self._stop("closed by the peer")
            self._shut()

    def turn_away(self, reason: str) -> None:
        """Close at once, for a reason that is not the peer's fault."""
        self._complain(f"turned away the old client at {self.address}: {reason}")
        sock = self._transport.get_extra_info("socket")
        if sock is not None and not self._transport.is_closing():
            reset_on_close(sock)
        self._abort(reason)

    # --- one request after the other -------------------------------------------------------------

    async def _converse(self) -> None:
        while not self._reason and (event := await self._next()) is not None:
            data = await self._answered(event)
            for start in range(0, len(data), WRITTEN):
                piece = self.stream.write(data[start : start + WRITTEN])
                await self._patiently(piece, self._shared.timeout, "it did not take its answer")

    async def _next(self) -> Event | None:
        while True:
            event = await self._opened()
            if event is not None:
                return event
            self._note_held()
            seconds, what = self._shared.timeout, "it was silent"
            if self._codec.held:
                seconds, what = min(seconds, STUCK), "it was silent within a token"
            if not await self._patiently(self.stream.more(), seconds, what):
                if self._codec.held:
                    self._complain(f"the old client at {self.address} closed the connection within a token")
                return None

    def _feed(self, data: bytes) -> bool:
        self._codec.receive_data(data)
        self._note_held()
        return not self._codec.due

    def _note_held(self) -> None:
        if not self._proved:
            self._shared.holds(self, self._codec.held)

    async def _opened(self) -> Event | None:
        if self._codec.ready < BIG:
            return self._codec.next_event(time.time())
        # Nothing is read meanwhile, so the codec is the thread's.
        return await self._loop.run_in_executor(None, self._codec.next_event, time.time())

    async def _sealed(self, content: Content) -> bytes:
        if weight(content) < BIG:
            return self._codec.send(content, time.time())
        return await self._loop.run_in_executor(None, self._codec.send, content, time.time())

    async def _answered(self, event: Event) -> bytes:
        if isinstance(event, Declined):
            if event.missed:
                # Its digest is of no use: it is not done, and what it tells the service may be told twice.
                told = self._hand_on(Received(missed(event.content), b"", event.made_at))
                await self._patiently(asyncio.shield(told), ANSWERED_WITHIN, "the service did not answer")
            return await self._declined(event.content, event.reason)
        answer = None
        if changes(event.content.operation):
            try:
                answer = self._shared.replays.find(event, time.time())
            except Refused as refused:
                return await self._declined(event.content, str(refused))
        # Shielded: whoever sends this request again, over another connection, waits for the same answer.
        waiting = asyncio.shield(answer or self._ask(event))
        return await self._patiently(waiting, ANSWERED_WITHIN, "the service did not answer")

    async def _declined(self, content: Content, reason: str) -> bytes:
        self._complain(f"refused {content.operation[:60]!r} of the old client at {self.address}: {reason}")
        return await self._sealed(no(content, reason))

    def _ask(self, request: Received) -> asyncio.Future[bytes]:
        answer = self._hand_on(request)
        if changes(request.content.operation):
            self._shared.replays.begin(request, answer)
        if self._shared.proves(request, time.time()) and not self._proved:
            self._proved = True
            self._shared.known(self)
        return answer

    def _hand_on(self, request: Received) -> asyncio.Future[bytes]:
        if not self._welcomed:
            self._welcomed = True
            self._welcome(self)
        answer: asyncio.Future[bytes] = self._loop.create_future()
        id_, settled = self._shared.ask()
        self._asked[id_] = _Asked(request, answer)
        self._incoming.put_nowait(Message(OLD_REQUEST, plain_request(request.content), b"", id_, settled))
        return answer

    # --- the end ---------------------------------------------------------------------------------

    async def _patiently(self, work: Awaitable[T], seconds: float, what: str) -> T:
        timer = self._loop.call_later(seconds, self._late, f"{what} for {seconds:g} s")
        try:
            return await work
        finally:
            timer.cancel()

    def _late(self, reason: str) -> None:
        # A client that rests between its requests is as it should be.
        if self._codec.held or self._asked:
            hint = lossy(self._codec.held)
            self._complain(f"closed the connection of the old client at {self.address}: {reason}.{hint}")
        self._abort(reason)

    def _complain(self, line: str) -> None:
        self._shared.complaints.say(self.peer.name, line)

    def _abort(self, reason: str) -> None:
        self._stop(reason)
        self._transport.abort()
        if self._running is not None:
            self._running.cancel()

    def _stop(self, reason: str) -> None:
        """No more requests."""
        if not self._reason:
            self._reason = reason
            self._shared.known(self)
            self._incoming.put_nowait(None)

    def _shut(self) -> None:
        """Close in order, so that what was sent still arrives; not for ever where the peer does not take it."""
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(CLOSE_WITHIN, self._transport.abort)
