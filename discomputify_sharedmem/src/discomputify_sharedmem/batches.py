"""A client's commands on their way to the service: those given in the same turn of the loop travel together.

Not here: what becomes of their answers (session.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from discomputify_core.errors import DiscomputifyError, PeerBroke
from discomputify_core.interfaces.calls import Caller
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


@attrs.define(eq=False)
class Call:
    """A command under way."""

    ticket: int
    member: Member
    order: wire.Order
    packed: bytes
    #: None where nobody wants the answer.
    future: asyncio.Future[Answer] | None
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
        self._flush_soon = False
        self._number = 0
        self._flying: dict[int, asyncio.Task[None]] = {}
        self._closed = False

    @property
    def settled(self) -> int:
        """The replies to all batches with a lower number have come, or are not waited for."""
        return next(iter(self._flying), self._number + 1)

    def add(self, call: Call) -> None:
        """Send *call* with the others of this turn of the loop."""
        self._queue.append(call)
        if not self._flush_soon:
            self._flush_soon = True
            self._loop.call_soon(self._flush)

    def close(self) -> list[asyncio.Task[None]]:
        """Send nothing more, and give up what is under way; its tasks, which end soon."""
        self._closed = True
        self._queue.clear()
        tasks = [task for task in self._flying.values() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        return tasks

    def _flush(self) -> None:
        self._flush_soon = False
        while not self._closed and (not self._flying or self._worth()):
            calls = self._next()
            if not calls:
                return
            self._number += 1
            self._flying[self._number] = self._loop.create_task(self._fly(self._number, calls))

    def _worth(self) -> bool:
        """Whether what waits is worth another batch beside those under way."""
        return len(self._flying) < MOST_FLYING and (
            len(self._queue) >= WORTH_COMMANDS or sum(len(call.packed) for call in self._queue) >= WORTH_BYTES
        )

    def _next(self) -> list[Call]:
        calls: list[Call] = []
        size = 0
        while self._queue and size < wire.ENOUGH and len(calls) < MOST_COMMANDS:
            call = self._queue.popleft()
            if not call.dropped:
                call.sent = True
                calls.append(call)
                size += len(call.packed)
        return calls

    async def _fly(self, number: int, calls: list[Call]) -> None:
        packed = [call.packed for call in calls]
        body = pack_batch(self._pack, self._table, self._client, number, self.settled, packed)
        left = calls[0].since + GRACE - self._loop.time()
        try:
            reply = await self._service.call(wire.DO, None, body, timeout=max(left, 0.1))
            replies = unpack_list(reply.body, "replies")
            if len(replies) != len(calls):
                raise PeerBroke("The shared-memory service did not reply to every command.", clause="memory")
        except DiscomputifyError as error:
            self._flying.pop(number)
            self._on_error(calls, error)
        else:
            self._flying.pop(number)
            self._on_replies(calls, replies)
        finally:
            self._flying.pop(number, None)
            self._flush()
