"""A client's dealings with one table: who gets which answer, waiting, wake-ups. When the table is lost, so is this.

Not here: how commands travel (batches.py), reaching the service and starting anew (client.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from discomputify_core.errors import DiscomputifyError, MemoryLost, PeerBroke, Unreachable, from_wire, to_wire
from discomputify_core.interfaces.calls import Caller, GiveUp, Reply
from discomputify_core.interfaces.memory import OnAnswer
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.ids import AttemptId
from discomputify_core.model.memory import WAITING, Answer, Lock, Member, Pop, Unlock
from discomputify_sharedmem import wire
from discomputify_sharedmem.batches import GRACE, Batches, Call, Teller, Waits
from discomputify_sharedmem.packing import joined, pack_command, pack_member, packer
from discomputify_sharedmem.table import Outcome
from discomputify_sharedmem.unpacking import as_outcome, unpack_list

#: Seconds within which a service has to be there again whose connection broke.
BACK = 2.0
#: Members whose bytes are kept.
MOST_MEMBERS = 10_000

OnLost = Callable[["Session", str], None]


class Session:
    """See the module.

    Args:
        table, client: what was agreed with :data:`wire.HELLO`.
        on_lost: told once, why; after that nothing may be asked any more.
    """

    def __init__(self, service: Caller, table: str, client: str, on_lost: OnLost) -> None:
        self.table = table
        self.client = client
        self.since = asyncio.get_running_loop().time()
        self._service = service
        self._on_lost = on_lost
        self._over: DiscomputifyError | None = None
        self._loop = asyncio.get_running_loop()
        self._pack = packer()
        self._members: dict[AttemptId, tuple[Member, bytes]] = {}
        self._tickets = 0
        #: Whose answer has not come.
        self._calls: dict[int, Call] = {}
        self._batches = Batches(service, table, client, self._pack, self._replied, self._failed)
        self._seen = 0
        self._watching = self._loop.create_task(self._watch())
        self._checking: asyncio.Task[bool] | None = None

    # --- commands ---

    async def do(self, member: Member, order: wire.Order, wait: float = 0.0) -> Answer:
        """The answer to *order*; see :meth:`~discomputify_core.interfaces.memory.SharedMemory.do`."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        call = self._add(member, order, wait, future)
        try:
            return await future
        except asyncio.CancelledError:
            self._gave_up(call, future)
            raise

    def begin(self, member: Member, order: wire.Order, told: OnAnswer) -> GiveUp:
        """See :meth:`~discomputify_core.interfaces.memory.SharedMemory.begin`.

        Raises:
            DiscomputifyError: it cannot be sent.
        """
        teller = Teller(told)
        call = self._add(member, order, 0.0, teller)

        def give_up() -> None:
            if not teller.done():
                teller.give_up()
                self._unwanted(call)

        return give_up

    def _add(self, member: Member, order: wire.Order, wait: float, future: Waits | None) -> Call:
        if self._over is not None:
            raise _copy(self._over)
        now = self._loop.time()
        packed = pack_command(self._pack, self._tickets + 1, self._packed(member), wait, order)
        self._tickets += 1
        call = Call(self._tickets, member, order, packed, future, now, now + wait + GRACE)
        self._calls[call.ticket] = call
        self._batches.add(call)
        return call

    def _packed(self, member: Member) -> bytes:
        known = self._members.get(member.attempt)
        if known is not None and (known[0] is member or known[0] == member):
            return known[1]
        packed = pack_member(self._pack, member)
        if len(self._members) >= MOST_MEMBERS:
            self._members.clear()
        self._members[member.attempt] = (member, packed)
        return packed

    def _replied(self, calls: Sequence[Call], replies: Sequence[Any]) -> None:
        for call, plain in zip(calls, replies, strict=True):
            if plain is not None:
                self._came(call, _outcome(plain))
            elif call.ticket in self._calls and call.wanted:  # else its wake-up was quicker, or it is withdrawn
                call.guard = self._loop.call_at(call.until, self._expired, call)

    def _failed(self, calls: Sequence[Call], error: DiscomputifyError) -> None:
        if isinstance(error, MemoryLost):
            self.lose(str(error))
            return
        for call in calls:
            _set(call, error)
            self._withdraw(call)

    def _came(self, call: Call, outcome: Outcome) -> None:
        if self._calls.pop(call.ticket, None) is None:
            return
        if call.guard is not None:
            call.guard.cancel()
        if isinstance(call.order, wire.Cancel):
            if isinstance(outcome, Answer) and outcome.found:
                self._calls.pop(call.order.ticket, None)
        elif not _set(call, outcome):
            self._undo(call, outcome)

    # --- giving up ---

    def _gave_up(self, call: Call, future: asyncio.Future[Answer]) -> None:
        """Whoever gave a command was cancelled."""
        if not future.cancelled():
            if future.exception() is None:
                self._undo(call, future.result())
        else:
            self._unwanted(call)

    def _unwanted(self, call: Call) -> None:
        if call.sent:
            self._withdraw(call)
        else:
            call.dropped = True
            self._calls.pop(call.ticket, None)

    def _withdraw(self, call: Call) -> None:
        """Nobody waits for the answer any more; what it grants is given back when it comes."""
        if call.guard is not None:
            call.guard.cancel()
        if not isinstance(call.order, WAITING):
            self._calls.pop(call.ticket, None)
        elif self._over is None:
            self._add(call.member, wire.Cancel(call.ticket), 0.0, None)

    def _expired(self, call: Call) -> None:
        waited = call.until - call.since
        _set(call, Unreachable(f"The shared-memory service did not say within {waited:.0f} s what came of waiting."))
        self._withdraw(call)

    def _undo(self, call: Call, outcome: Outcome) -> None:
        """Give back what was granted to one who does not want it any more."""
        if not isinstance(outcome, Answer) or not outcome.found or self._over is not None:
            return
        if isinstance(call.order, Pop) and outcome.value is not None:
            self._add(call.member, wire.PutBack(call.order.name, outcome.value), 0.0, None)
        elif isinstance(call.order, Lock):
            self._add(call.member, Unlock(call.order.name, int(outcome.number)), 0.0, None)

    # --- wake-ups, and watching the service ---

    async def _watch(self) -> None:
        while self._over is None:
            poll = wire.Poll(self.table, self.client, self._seen, self._batches.settled)
            try:
                reply = await self._service.call(wire.WAKE, to_plain(poll), timeout=wire.HOLD + GRACE)
                self._woken(unpack_list(reply.body, "wake-ups"))
            except Unreachable as error:
                await self.still_there(str(error))
            except DiscomputifyError as error:
                self.lose(str(error))

    def _woken(self, wakes: Iterable[Any]) -> None:
        for wake in wakes:
            try:
                number, tickets, more, plain = wake
                if type(number) is not int:
                    raise TypeError("it has no number")
                known = [self._calls[ticket] for ticket in tickets if ticket in self._calls]
            except (TypeError, ValueError) as error:
                raise PeerBroke(f"The peer sent a malformed wake-up: {error}.", clause="memory") from error
            if number <= self._seen:
                continue
            self._seen = number
            outcome = _outcome(plain)
            for call in known:
                if more:
                    call.pieces.append(outcome)
                else:
                    self._came(call, joined([*call.pieces, outcome]))

    def cut(self, reason: str) -> None:
        """The connection broke: the service has to be there again soon."""
        if self._over is None and (self._checking is None or self._checking.done()):
            self._checking = self._loop.create_task(self.still_there(f"The connection broke: {reason}."))

    async def still_there(self, trouble: str) -> bool:
        """Whether the service can be reached and has the same table; else this is lost."""
        try:
            reply = await self._service.call(wire.HELLO, to_plain(wire.Hello("")), timeout=BACK)
            table = from_plain(reply.data, wire.Table).table
        except DiscomputifyError as error:
            self.lose(f"{trouble} The shared-memory service was not there again within {BACK:g} s: {error}")
            return False
        if table != self.table:
            self.lose(f"{trouble} The shared-memory service was started again, and what it held is lost.")
            return False
        return True

    # --- the end ---

    def lose(self, reason: str) -> None:
        """Everything that was held is lost."""
        if self._over is None:
            self._end(MemoryLost(reason))
            self._on_lost(self, reason)

    def close(self, error: DiscomputifyError) -> list[asyncio.Task[Any]]:
        """All calls get *error*; the tasks that end now."""
        return self._end(error)

    def _end(self, error: DiscomputifyError) -> list[asyncio.Task[Any]]:
        self._over = error
        for call in list(self._calls.values()):
            if call.guard is not None:
                call.guard.cancel()
            _set(call, error)
        self._calls.clear()
        tasks: list[asyncio.Task[Any]] = [*self._batches.close()]
        for task in (self._watching, self._checking):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
                tasks.append(task)
        return tasks

    async def ask(self, operation: str, data: Any, body: bytes, timeout: float) -> Reply:
        """Ask for something that is no command.

        Raises:
            MemoryLost: what was held is lost.
            Unreachable: the service did not answer within *timeout* seconds.
        """
        if self._over is not None:
            raise _copy(self._over)
        try:
            return await self._service.call(operation, data, body, timeout=timeout)
        except MemoryLost as error:
            self.lose(str(error))
            raise


def _outcome(plain: Any) -> Outcome:
    try:
        return as_outcome(plain)
    except PeerBroke as broke:
        return broke


def _set(call: Call, outcome: Outcome) -> bool:
    """Hand *outcome* to whoever waits for *call*, if anybody does."""
    if call.future is None:
        return True
    if call.future.done():
        return False
    if isinstance(outcome, Answer):
        call.future.set_result(outcome)
    else:
        call.future.set_exception(_copy(outcome))
    return True


def _copy(error: DiscomputifyError) -> DiscomputifyError:
    """Several wait: each raises an error of its own."""
    return from_wire(to_wire(error))
