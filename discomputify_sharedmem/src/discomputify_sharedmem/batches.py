"""A client's commands on their way to the service: those that are given while others are under way travel together.

Not here: what becomes of their answers (session.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import attrs

from discomputify_core.errors import DiscomputifyError, PeerBroke
from discomputify_core.interfaces.calls import Caller, GiveUp, Reply, Told
from discomputify_core.interfaces.memory import OnAnswer
from discomputify_core.model.memory import Answer, Member
from discomputify_sharedmem import wire
from discomputify_sharedmem.packing import Pack, pack_batch
from discomputify_sharedmem.table import Outcome
from discomputify_sharedmem.unpacking import unpack_list

#: Seconds beyond its own waiting within which a command is answered.
GRACE = 30.0
#: Batches under way at once, of which all but the first have at least so many commands or bytes: what few callers ask
#: for meanwhile travels together in the next one, which costs both ends far less than many small ones. And commands
#: in one at most.
MOST_FLYING, WORTH_COMMANDS, WORTH_BYTES, MOST_COMMANDS = 2, 256, 1024 * 1024, 2000


class Waits(Protocol):
    """Who waits for an answer: a future, or a :class:`Teller`."""

    def done(self) -> bool:
        """Whether it has been told, or does not wait any more."""

    def set_result(self, result: Answer, /) -> None:
        """Tell it the answer."""

    def set_exception(self, exception: DiscomputifyError, /) -> None:
        """Tell it an error."""


class Teller:
    """In place of a future where no task waits: who asked is told in the same moment."""

    __slots__ = ("_told",)

    def __init__(self, told: OnAnswer) -> None:
        self._told: OnAnswer | None = told

    def done(self) -> bool:
        """See :class:`Waits`."""
        return self._told is None

    def set_result(self, result: Answer | DiscomputifyError, /) -> None:
        """See :class:`Waits`."""
        told, self._told = self._told, None
        if told is not None:
            told(result)

    set_exception = set_result

    def give_up(self) -> None:
        """Nobody is told any more."""
        self._told = None


@attrs.define(eq=False)
class Call:
    """A command under way."""

    ticket: int
    member: Member
    order: wire.Order
    packed: bytes
    #: None where nobody wants the answer.
    future: Waits | None
    #: When it was given, and when this side gives up.
    since: float
    until: float
    sent: bool = False
    dropped: bool = False
    #: What has come of a large answer.
    pieces: list[Outcome] = attrs.field(factory=list)
    guard: asyncio.TimerHandle | None = None

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for its answer."""
        return self.future is not None and not self.future.done()


class Batches:
    """See the module.

    Args:
        on_replies: told the replies to some calls, one each, as they were packed.
        on_error: told that some calls failed together.
    """

    def __init__(
        self,
        service: Caller,
        table: str,
        client: str,
        pack: Pack,
        on_replies: Callable[[Sequence[Call], Sequence[Any]], None],
        on_error: Callable[[Sequence[Call], DiscomputifyError], None],
    ) -> None:
        self._service = service
        self._table = table
        self._client = client
        self._pack = pack
        self._on_replies = on_replies
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Call] = deque()
        self._queued_bytes = 0
        #: Whether the latest batch had but one command: then nobody else seems to ask in the same turn of the loop.
        self._alone = True
        self._flush_soon = False
        self._number = 0
        #: Batches under way, and what gives each up.
        self._flying: dict[int, GiveUp] = {}
        #: Those of them that wait for a connection, or for room on it.
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._closed = False

    @property
    def settled(self) -> int:
        """The replies to all batches with a lower number have come, or are not waited for."""
        return next(iter(self._flying), self._number + 1)

    def add(self, call: Call) -> None:
        """Send *call*, at once or together with others; nobody is told anything before this returns."""
        self._queue.append(call)
        self._queued_bytes += len(call.packed)
        if self._alone and not self._flying:
            self._flush()
        elif not self._flush_soon and (not self._flying or self._worth()):
            self._flush_soon = True
            self._loop.call_soon(self._flush)

    def close(self) -> list[asyncio.Task[None]]:
        """Send nothing more, and give up what is under way; its tasks, which end soon."""
        self._closed = True
        self._queue.clear()
        tasks = [task for task in self._tasks.values() if task is not asyncio.current_task()]
        flying, self._flying = self._flying, {}
        for give_up in flying.values():
            give_up()
        return tasks

    def _flush(self) -> None:
        self._flush_soon = False
        while self._queue and not self._closed and (not self._flying or self._worth()):
            calls = self._next()
            if not calls:
                return
            self._number += 1
            self._alone = len(calls) == 1
            self._fly(self._number, calls)

    def _worth(self) -> bool:
        """Whether what waits is worth another batch beside those under way."""
        return len(self._flying) < MOST_FLYING and (
            len(self._queue) >= WORTH_COMMANDS or self._queued_bytes >= WORTH_BYTES
        )

    def _next(self) -> list[Call]:
        calls: list[Call] = []
        size = 0
        while self._queue and size < wire.ENOUGH and len(calls) < MOST_COMMANDS:
            call = self._queue.popleft()
            self._queued_bytes -= len(call.packed)
            if not call.dropped:
                call.sent = True
                calls.append(call)
                size += len(call.packed)
        return calls

    def _fly(self, number: int, calls: list[Call]) -> None:
        settled = next(iter(self._flying), number)
        packed = [call.packed for call in calls]
        body = pack_batch(self._pack, self._table, self._client, number, settled, packed)
        timeout = max(calls[0].since + GRACE - self._loop.time(), 0.1)
        landed = partial(self._landed, number, calls)
        give_up = self._service.begin(wire.DO, None, body, timeout=timeout, told=landed)
        if give_up is None:
            task = self._tasks[number] = self._loop.create_task(self._wait(body, timeout, landed))
            task.add_done_callback(lambda _: self._tasks.pop(number))
            give_up = partial(_cancel, task)
        self._flying[number] = give_up

    async def _wait(self, body: bytes, timeout: float, landed: Told) -> None:
        try:
            outcome: Reply | DiscomputifyError = await self._service.call(wire.DO, None, body, timeout=timeout)
        except DiscomputifyError as error:
            outcome = error
        landed(outcome)

    def _landed(self, number: int, calls: list[Call], outcome: Reply | DiscomputifyError) -> None:
        if self._flying.pop(number, None) is None:
            return  # given up
        try:
            if isinstance(outcome, DiscomputifyError):
                raise outcome
            replies = unpack_list(outcome.body, "replies")
            if len(replies) != len(calls):
                raise PeerBroke("The shared-memory service did not reply to every command.", clause="memory")
        except DiscomputifyError as error:
            self._on_error(calls, error)
        else:
            self._on_replies(calls, replies)
        self._flush()


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
