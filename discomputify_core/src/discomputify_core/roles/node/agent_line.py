"""One connection of a program to its node: requests are read, worked on one after the other, and answered.

Here: bytes to requests and answers to bytes, what a connection may cost in memory and time. Not here: who may connect
(agent_server.py), what an operation does (part_agent.py).

Frames: a length (4 bytes, big-endian) and that many bytes of JSON; where that says ``"body": n``, n raw bytes follow.
Request: ``token`` (needed in the first one of a connection), ``operation``, ``data``, ``answer`` (whether one is
wanted). Answer: ``data`` or ``error``; before it, any number of ``{"wait": true}`` while the node works on it.
``program/agent.py`` is the other end.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, Union, cast

import attrs

from discomputify_core.errors import DiscomputifyError, MemoryFull, OurBug, to_wire
from discomputify_core.interfaces.calls import GiveUp
from discomputify_core.model.ids import AttemptId
from discomputify_core.roles.node.agent_room import Room

#: Most bytes of a request's JSON, of an answer's, and of a body.
MAX_FRAME = 64 * 1024
MAX_ANSWER = 16 * 1024 * 1024
MAX_BODY = 16 * 1024 * 1024
#: Bytes of a connection's buffer, which grows while a larger frame comes in.
SMALL = 8 * 1024
#: Bodies up to this size are not counted: the number of connections bounds them.
UNCOUNTED = 64 * 1024

Body = Union[bytes, bytearray]
Answered = tuple[dict[str, Any], Body]
Handler = Callable[[str, dict[str, Any], Body], Awaitable[Answered]]
"""Given an operation, its data and body, the answer's data and body. Raises DiscomputifyError to refuse."""
Rest = Callable[[], Awaitable[Answered]]
Done = Union[Answered, DiscomputifyError, Rest]
"""What came of a request that was begun; where there is still something to wait for, what does."""
OnDone = Callable[[Done], None]
Quick = Callable[[str, dict[str, Any], Body, OnDone], Union[GiveUp, None]]
"""Asked before a :data:`Handler`, whose task costs more than most requests do: begins to answer one that is small, and
tells later, once; None, and nothing is done, for any other. Raises DiscomputifyError to refuse."""

logger = logging.getLogger(__name__)

_encode = json.JSONEncoder(default=str, separators=(",", ":")).encode
_WAIT = len(_encode({"wait": True})).to_bytes(4, "big") + _encode({"wait": True}).encode()


class Nonsense(Exception):
    """What came is not a request."""


@attrs.frozen
class Times:
    """Seconds."""

    #: For a new connection to say its token.
    first_word: float
    #: For a known one to say more, and for a request to come in completely.
    next_word: float
    #: For a program to read an answer.
    read_answer: float
    #: Between two "wait" while a handler works.
    wait_gap: float


@attrs.define(eq=False)
class Guest:
    """A part that may connect."""

    attempt: AttemptId
    handler: Handler
    quick: Quick | None = None
    lines: set[Line] = attrs.field(factory=set)
    #: Work whose connection is gone, and that wanted no answer.
    tasks: set[asyncio.Task[None]] = attrs.field(factory=set)


class Desk(Protocol):
    """What a connection needs of its server."""

    room: Room
    times: Times

    def came(self, line: Line) -> bool:
        """A connection was made; whether it may stay."""

    def guest(self, token: str, line: Line) -> Guest | None:
        """Who says *token*; None if that is nobody, or one who has too many connections."""

    def left(self, line: Line) -> None:
        """A connection is gone."""


class Line(asyncio.BufferedProtocol):
    """See the module. Time limits are looked after by :meth:`look`, called every now and then."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._guest: Guest | None = None
        self._buffer = bytearray(SMALL)
        self._got = 0
        #: A request whose body is on its way.
        self._request: dict[str, Any] | None = None
        self._body = bytearray()
        self._body_got = 0
        self._waits_for_room = False
        #: Whether a request is worked on: by a task, or else by what *give_up* gives up.
        self._busy = False
        self._task: asyncio.Task[None] | None = None
        self._give_up: GiveUp | None = None
        self._answers = False
        #: Whether the program is slow to read, and whether what it sends is not read for now.
        self._clogged = self._paused = False
        #: Counted bytes of this connection.
        self._held = 0
        #: Whether it has asked for shared memory: then it may be silent for as long as it likes.
        self._keeps = False
        #: When what it does now began.
        self._since = self._loop.time()

    # --- coming and going ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # of whatever loop
        if not self._desk.came(self):
            self._transport.abort()  # the program's end tries again

    def eof_received(self) -> None:
        """The program is gone, or says nothing more: then there is nobody to answer."""
        self.drop(work=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._transport = None
        if self._waits_for_room:
            self._desk.room.forget(self._room_came)
            self._waits_for_room = False
        self._release()
        self._stop_quick()
        task, self._task = self._task, None
        if task is not None and self._guest is not None:
            if self._answers:
                task.cancel()
            else:
                self._guest.tasks.add(task)
                task.add_done_callback(self._guest.tasks.discard)
        self._desk.left(self)
        if self._guest is not None:
            self._guest.lines.discard(self)

    def drop(self, *, work: bool = True) -> asyncio.Task[None] | None:
        """Close the connection at once, and unless *work* says otherwise end what is worked on; returns that."""
        task = self._task
        if task is not None and work:
            task.cancel()
        if work:
            self._stop_quick()
        if self._transport is not None:
            self._transport.abort()  # not close(): that waits for a program that does not read
        return task

    def look(self, now: float) -> None:
        """Close the connection if the program is too slow; tell it to wait if the node is."""
        times, silent = self._desk.times, now - self._since
        if self._clogged:
            most = times.read_answer
        elif self._busy:
            if self._task is not None and self._task.done():  # something that it waited for was cancelled
                self.drop()
            elif self._answers and silent >= times.wait_gap:
                self._since = now
                self._write(_WAIT)
            return
        elif self._guest is None:
            most = times.first_word
        elif self._waits_for_room or (self._keeps and not self._got and self._request is None):
            return
        else:
            most = times.next_word
        if silent >= most:
            self.drop()

    # --- what comes in ------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio. Bodies are received in place."""
        if self._request is not None:
            return memoryview(self._body)[self._body_got :]
        return memoryview(self._buffer)[self._got :]

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        if self._request is not None:
            self._body_got += nbytes
            if self._body_got == len(self._body):
                request, body = self._request, self._body
                self._request, self._body, self._body_got = None, bytearray(), 0
                self._begin(request, body)
            return
        if not self._got and self._guest is not None and not self._busy:
            self._since = self._loop.time()  # a request begins to come
        self._got += nbytes
        if not self._busy and not self._clogged:
            self._next()
        elif self._got == len(self._buffer):
            self._pause()

    def _next(self) -> None:
        """Begin with the next request, if it is here."""
        try:
            self._read()
        except (Nonsense, ValueError, RecursionError):
            self.drop()  # all the answer there is

    def _read(self) -> None:
        buffer, got = self._buffer, self._got
        if got < 4:
            return
        end = 4 + int.from_bytes(buffer[:4], "big")
        if end > 4 + MAX_FRAME:
            raise Nonsense(f"a frame of {end - 4} bytes")
        if got < end:
            if end > len(buffer):
                self._keep(0, end)
            return
        request = json.loads(buffer[4:end].decode())
        if not isinstance(request, dict):
            raise Nonsense("not an object")
        size = request.get("body", 0)
        if type(size) is not int or not 0 <= size <= MAX_BODY:
            raise Nonsense("a body of another size")
        if self._guest is None:  # before anything is kept for it
            self._introduced(request)
        if got >= end + size:
            body = bytes(buffer[end : end + size])
            self._keep(end + size)
            self._begin(request, body)
            return
        self._request = request
        if size <= UNCOUNTED:
            self._receive(size, end)
            return
        self._held = size
        self._waits_for_room = not self._desk.room.take(size, self._room_came)
        if self._waits_for_room:
            self._held = 0
            self._body = bytearray()
            self._pause()
            self._keep(end)
        else:
            self._receive(size, end)

    def _receive(self, size: int, end: int) -> None:
        """Go on with the request's body, of which some bytes may be here: in the buffer, from *end* on."""
        here = self._got - end
        self._body = bytearray(size)
        self._body[:here] = self._buffer[end : self._got]
        self._body_got = here
        self._keep(self._got)

    def _room_came(self) -> None:
        request = self._request
        assert request is not None
        self._waits_for_room = False
        self._held = request["body"]
        self._since = self._loop.time()
        self._receive(self._held, 0)
        self._resume()

    def _keep(self, start: int, size: int = SMALL) -> None:
        """Keep what is in the buffer from *start* on, at the beginning of one of at least *size* bytes."""
        rest = self._got - start
        if rest or len(self._buffer) != SMALL or size != SMALL:
            buffer = bytearray(max(size, rest + 1, SMALL))
            buffer[:rest] = self._buffer[start : self._got]
            self._buffer = buffer
        self._got = rest

    def _introduced(self, request: dict[str, Any]) -> None:
        self._guest = self._desk.guest(str(request.get("token")), self)
        if self._guest is None:
            raise Nonsense("a stranger")
        self._guest.lines.add(self)

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    # --- work and answers ---------------------------------------------------------------------------

    def _begin(self, request: dict[str, Any], body: Body) -> None:
        operation, data, guest = request.get("operation"), request.get("data"), self._guest
        if not isinstance(operation, str) or not isinstance(data, dict) or guest is None:
            self.drop()
            return
        self._answers = request.get("answer") is True
        self._keeps = self._keeps or operation == "memory"
        self._since = self._loop.time()
        self._busy = True
        if not self._begin_quick(guest, operation, data, body):
            # A task that writes the answer itself, in the turn in which it is there.
            work = partial(guest.handler, operation, data, body)
            self._task = self._loop.create_task(self._work(guest, operation, work))

    def _begin_quick(self, guest: Guest, operation: str, data: dict[str, Any], body: Body) -> bool:
        if guest.quick is None or not self._answers:
            return False

        def done(outcome: Done | Exception) -> None:
            self._give_up = None
            if callable(outcome):
                self._task = self._loop.create_task(self._work(guest, operation, outcome))
            else:
                self._finish(guest, operation, outcome)

        try:
            self._give_up = guest.quick(operation, data, body, done)
        except Exception as error:  # told later, like all that is told
            self._give_up = self._loop.call_soon(done, error).cancel
        return self._give_up is not None

    def _stop_quick(self) -> None:
        give_up, self._give_up = self._give_up, None
        if give_up is not None:
            give_up()

    async def _work(self, guest: Guest, operation: str, work: Rest) -> None:
        try:
            outcome: Answered | Exception = await work()
        except Exception as error:  # a handler's bug must not take the node's other parts with it
            outcome = error
        self._task = None
        self._finish(guest, operation, outcome)

    def _finish(self, guest: Guest, operation: str, outcome: Answered | Exception) -> None:
        """Answer, and go on."""
        frame, more = _answer_to(guest, operation, outcome)
        self._busy = False
        if self._transport is None or self._transport.is_closing():
            return
        self._release()
        if self._answers:
            self._answer(frame, more)
        self._since = self._loop.time()
        if not self._clogged:
            self._go_on()

    def _answer(self, frame: bytes, more: Body) -> None:
        if len(more) <= UNCOUNTED:
            self._write(frame + more if more else frame)
            return
        self._write(frame)
        self._write(more)
        if self._clogged:
            self._held = len(more)
            self._desk.room.exceed(self._held)

    def _go_on(self) -> None:
        """Read on; the next request may be here already."""
        if self._got:
            self._next()
        if not self._waits_for_room and self._got < len(self._buffer):
            self._resume()

    def _write(self, data: Body) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _release(self) -> None:
        if self._held:
            held, self._held = self._held, 0
            self._desk.room.give(held)

    def pause_writing(self) -> None:
        """See asyncio: the program does not read as fast as it is answered."""
        self._clogged = True
        self._since = self._loop.time()

    def resume_writing(self) -> None:
        """See asyncio: it has read."""
        self._clogged = False
        self._since = self._loop.time()
        if not self._busy:
            self._release()
            self._go_on()


def _answer_to(guest: Guest, operation: str, outcome: Answered | Exception) -> tuple[bytes, Body]:
    """The answer's frame, and what follows it."""
    try:
        if isinstance(outcome, Exception):
            raise outcome
        return _frame(*outcome), outcome[1]
    except DiscomputifyError as error:
        return _framed({"error": to_wire(error)}), b""
    except Exception:
        logger.exception("The operation %r of %s failed by a bug of this node.", operation[:40], guest.attempt)
        bug = OurBug("The computing node failed at this by a bug; its log says where.")
        return _framed({"error": to_wire(bug)}), b""


def _frame(data: dict[str, Any], body: Body) -> bytes:
    """The answer's frame.

    Raises:
        MemoryFull: it is too large to travel.
    """
    frame = _framed({"data": data, "body": len(body)} if body else {"data": data})
    if len(frame) > MAX_ANSWER or len(body) > MAX_BODY:
        raise MemoryFull(
            f"The answer has {max(len(frame), len(body)):,} bytes, and at most {MAX_BODY:,} are handed over at once. "
            "Keep fewer or smaller values under one name; arrays and bytes of at least 1 MiB each travel as files, "
            "and count nothing here.",
            limit="",
        )
    return frame


def _framed(answer: dict[str, Any]) -> bytes:
    text = _encode(answer).encode()
    return len(text).to_bytes(4, "big") + text
