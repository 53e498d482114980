"""The shared memory "redis": each command is one script in a Redis server.

Here: the promises of ``SharedMemory`` to its callers: waiting, giving up, joining, loss, closing. Not here: what a
command does to what is held (the Lua files), connections (server.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

from discomputify_core.errors import BadConf, ChannelClosed, DiscomputifyError, MemoryLost, OurBug
from discomputify_core.interfaces.calls import Caller
from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.model.conf import Conf
from discomputify_core.model.ids import AttemptId
from discomputify_core.model.memory import WAITING, Answer, Command, Listing, Lock, Member, Names, Over, Pop, Scope
from discomputify_redis import codec
from discomputify_redis.codec import Argument, Reply
from discomputify_redis.failures import Restarted
from discomputify_redis.keys import channel, keys_of
from discomputify_redis.listing import MOST_ROWS, MOST_VALUES, listing
from discomputify_redis.options import RedisOptions
from discomputify_redis.refusals import refusal, was_cleared
from discomputify_redis.server import Server, Slots, closed_here
from discomputify_redis.waiters import Waiter, Waiters
from discomputify_redis.watch import Watch

#: Seconds after which one who waits looks again by itself; the server forgets one who has not for five.
_LOOK_AGAIN = 1.0
#: Seconds for which it is remembered that a scope was cleared.
_CLEARED = 3600
#: Answers of more bytes are not left with the server once they have arrived.
_LARGE = 64 * 1024
#: Attempts in one message that they are over.
_OVER_AT_ONCE = 500
#: Seconds that giving up may take when a call is cancelled, and closing.
_GIVING_UP = 5.0


class RedisMemory(SharedMemory):
    """See the module."""

    name = "redis"
    options: ClassVar[type | None] = RedisOptions

    def __init__(self, conf: Conf, options: Any, service: Caller | None = None) -> None:
        """Connects to nothing yet; *service* is left alone.

        Raises:
            BadConf: as ``check``.
        """
        self.on_lost = lambda reason: None
        self._options: RedisOptions = options or RedisOptions()
        if problems := self._options.problems():
            raise BadConf("The conf cannot be used: " + "; ".join(problems), problems=problems)
        limits = self._options.limits
        self._limits = (
            f"{limits.job_bytes} {limits.job_entries} {limits.value_bytes} "
            f"{limits.history_bytes} {limits.history_rounds}"
        )
        self._server = Server(self._options)
        self._slots = Slots()
        self._waiters = Waiters(self._server.client)
        self._opening = asyncio.Lock()
        self._watch: Watch | None = None
        #: The table that calls work on; "" before the first, and after a loss until the next.
        self._current = ""
        self._answered = ""
        self._reasons: dict[str, str] = {}
        self._calls: set[asyncio.Task[Any] | None] = set()
        self._tidying: set[asyncio.Task[Any]] = set()
        self._closing = False

    @classmethod
    def check(cls, conf: Conf, options: Any) -> Sequence[str]:
        """See :meth:`SharedMemory.check`."""
        return (options or RedisOptions()).problems()

    @property
    def table(self) -> str:
        """See :attr:`SharedMemory.table`."""
        return self._answered

    # --- what is promised ---

    async def do(self, member: Member, command: Command, wait: float = 0.0) -> Answer:
        """See :meth:`SharedMemory.do`."""
        script, arguments = codec.request(command)
        async with self._call() as table:
            if isinstance(command, WAITING):
                reply = await self._wait(table, member, command, (script, arguments), wait)
            else:
                reply = await self._ask(table, member, script, arguments)
        if reply[0] == b"!":
            raise refusal(member, command, [codec.text(fact) for fact in reply[1:]])
        return codec.answer(command, reply)

    async def ended(self, scope: Scope, total: int, over: Sequence[Over]) -> None:
        """See :meth:`SharedMemory.ended`."""
        async with self._call() as table:
            for first in range(0, len(over), _OVER_AT_ONCE):
                words: list[Argument] = []
                for each in over[first : first + _OVER_AT_ONCE]:
                    reason = each.reason.encode("utf-8", "replace")
                    words += [str(each.part), str(each.number), each.stands, reason]
                await self._ask(table, _nobody(scope, total), "ended", words)

    async def clear(self, scope: Scope) -> None:
        """See :meth:`SharedMemory.clear`."""
        with contextlib.suppress(MemoryLost):
            async with self._call() as table:
                await self._ask(table, _nobody(scope), "clear", [str(_CLEARED)])
                return
        async with self._call() as table:  # what was held is lost, but who comes later is to be refused all the same
            await self._ask(table, _nobody(scope), "clear", [str(_CLEARED)])

    async def look(self, scope: Scope, name: str = "") -> Listing:
        """See :meth:`SharedMemory.look`."""
        arguments: list[Argument] = [name.encode("utf-8", "surrogatepass"), str(MOST_ROWS), str(MOST_VALUES)]
        async with self._call() as table:
            reply = await self._ask(table, _nobody(scope), "look", arguments)
        return listing(reply, self._options.limits, name)

    async def close(self) -> None:
        """See :meth:`SharedMemory.close`."""
        self._closing = self._server.closing = True
        self._waiters.wake(None)  # they leave their places to others
        calls = [task for task in (*self._calls, *self._tidying) if task and task is not asyncio.current_task()]
        if calls:
            await asyncio.wait(calls, timeout=_GIVING_UP)
        if self._watch is not None:
            await self._watch.stop()
        await self._server.close()
        if calls:
            await asyncio.wait(calls, timeout=_GIVING_UP)

    # --- calls and their table ---

    @contextlib.asynccontextmanager
    async def _call(self) -> AsyncIterator[str]:
        """A call from beginning to end; gives the table that it works on."""
        task = asyncio.current_task()
        self._calls.add(task)
        try:
            yield await self._open()
        finally:
            self._calls.discard(task)

    async def _open(self) -> str:
        self._check_open()
        if self._current:
            return self._current
        async with self._opening:
            self._check_open()
            if not self._current:
                if self._watch is not None:
                    await self._watch.stop()
                await self._server.disconnect()
                table = await self._server.open()
                place = channel(self._options.prefix, self._server.client)
                self._watch = Watch(
                    self._server, table, place, self._waiters.wake, lambda reason: self._lose(table, reason)
                )
                self._current = table
                await self._watch.start()
            if not self._current:
                raise MemoryLost("What the shared memory held was lost while it was opened. Ask again.")
            return self._current

    def _check_open(self) -> None:
        if self._closing:
            raise closed_here()

    def _lose(self, table: str, what: str) -> None:
        """Take note that *table* is lost, once."""
        if table != self._current or self._closing:
            return
        reason = f"What the shared memory held is lost: the Redis server at {self._server.where} {what}."
        self._current, self._reasons = "", {table: reason}
        self._waiters.wake(None)
        self._tidy(self._server.disconnect())
        self.on_lost(reason)

    def _tidy(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)
        return task

    def _check_lost(self, table: str) -> None:
        if table != self._current:
            raise MemoryLost(self._reasons.get(table, "What the shared memory held is lost."))

    # --- asking ---

    async def _ask(self, table: str, member: Member, script: str, arguments: Sequence[Argument]) -> Reply:
        """What *script* answers to *member*, who joins first where it has to."""
        reply = await self._once(table, member, script, arguments)
        if reply[:2] == [b"!", b"new"]:
            reply = await self._once(table, member, "join", ())
            if reply[0] == b"+":
                reply = await self._once(table, member, script, arguments)
        if reply[:2] == [b"!", b"new"]:
            raise was_cleared(member.scope)
        return reply

    async def _once(self, table: str, member: Member, script: str, arguments: Sequence[Argument]) -> Reply:
        keys = keys_of(self._options.prefix, member.scope)
        async with self._slots.one() as (slot, turn):

            async def run(name: str, more: Sequence[Argument]) -> Reply:
                who = [f"{self._server.client}.{slot}", str(turn()), str(member.part), str(member.number)]
                words = [table, *who, str(member.total), self._limits, *more]
                return await self._server.run(name, keys, words, lambda: self._check_lost(table))

            try:
                reply = await run(script, arguments)
                if script == "pop" and len(reply) > 1 and len(codec.text(reply[1])) > _LARGE:
                    await run("forget", ())
            except Restarted as error:
                self._lose(table, f"was {error}")
                self._check_lost(table)
                raise OurBug("A loss was noticed twice.") from error
        if reply[:2] == [b"!", b"lost"]:
            self._lose(table, "was emptied")
            self._check_lost(table)
        self._answered = table
        return reply

    # --- waiting ---

    async def _wait(
        self, table: str, member: Member, command: Command, request: tuple[str, list[Argument]], wait: float
    ) -> Reply:
        """What *command* is answered within *wait* seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        script, arguments = request
        with self._waiters.one() as waiter:
            asking: asyncio.Task[Reply] | None = None
            try:
                while True:
                    waiter.look_again.clear()
                    self._check_open()
                    self._check_lost(table)
                    left = until - loop.time()
                    words = [*arguments, *codec.waiting(command, waiter.id, left > 0)]
                    asking = loop.create_task(self._ask(table, member, script, words))
                    reply = await asyncio.shield(asking)
                    if reply[0] != b"~":
                        return reply
                    hint = int(codec.text(reply[1])) / 1_000_000 + 0.001
                    await _sleep(waiter, min(_LOOK_AGAIN, max(0.0, until - loop.time()), hint if hint > 0.001 else 1.0))
            except (asyncio.CancelledError, ChannelClosed):
                if asking is not None:
                    leaving = self._tidy(self._leave(table, member, command, waiter.id, asking))
                    await asyncio.wait({leaving}, timeout=_GIVING_UP)
                raise

    async def _leave(
        self, table: str, member: Member, command: Command, waiter: str, asking: asyncio.Task[Reply]
    ) -> None:
        """Give up the place in the queue, and what was granted meanwhile. What goes wrong ends with time, too."""
        with contextlib.suppress(DiscomputifyError):
            reply = await asking
            kind = "p" if isinstance(command, Pop) else "l" if isinstance(command, Lock) else ""
            name = "" if isinstance(command, Names) else command.name
            await self._ask(table, member, "leave", [waiter, kind, name, codec.given(command, reply)])


async def _sleep(waiter: Waiter, seconds: float) -> None:
    """Until *waiter* is woken, at most *seconds*."""
    # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the event.
    timer = asyncio.get_running_loop().call_later(seconds, waiter.look_again.set)
    try:
        await waiter.look_again.wait()
    finally:
        timer.cancel()


def _nobody(scope: Scope, total: int = 0) -> Member:
    """Who asks for no attempt."""
    return Member(scope, AttemptId(""), 0, 0, total)
