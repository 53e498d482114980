"""The role ``shared_mem_node``: the table's operations, and the clock that it is told.

Here: what may be asked, and who is told what came of it. Not here: what commands do (table/), what a client has still
to be told (guests.py), how things are packed (packing.py, unpacking.py).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any, ClassVar

from discomputify_core.errors import DiscomputifyError, MemoryLost, Unreachable
from discomputify_core.interfaces.calls import Asked, Operation, Operations, Reply
from discomputify_core.interfaces.role import ServiceRole
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.conf import Conf
from discomputify_core.model.memory import Answer
from discomputify_sharedmem import wire
from discomputify_sharedmem.guests import Guest
from discomputify_sharedmem.options import SharedMemOptions
from discomputify_sharedmem.packing import pack_list, pack_outcome, pack_plain, packer
from discomputify_sharedmem.table import Outcome, Table
from discomputify_sharedmem.unpacking import Members, unpack_batch, unpack_plain

log = logging.getLogger("discomputify.sharedmem")

#: Seconds after which a client that is not heard of is given up, and between two looks for such.
SILENT = 60.0
ROUND = 10.0
#: Seconds that closing waits for what is under way.
LAST = 5.0

_PARKED = b"\xc0"


class SharedMemNode(ServiceRole):
    """Serves one volatile table at SHARED_MEM_NODE; a new one, with a new name, each time it is started."""

    name: ClassVar[str] = "shared_mem_node"
    section: ClassVar[str] = "sharedmem"
    options: ClassVar[type | None] = SharedMemOptions

    def __init__(self, conf: Conf, options: Any = None) -> None:
        chosen = options if isinstance(options, SharedMemOptions) else SharedMemOptions()
        self._conf = conf
        #: Which table this is.
        self.table = secrets.token_hex(8)
        self._held = Table(chosen.limits(), chosen.forget_after)
        self._guests: dict[str, Guest] = {}
        self._members = Members()
        self._pack = packer()
        self._timer: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._closed = False

    def addresses(self) -> tuple[Address, ...]:
        """SHARED_MEM_NODE."""
        return (Address(self._conf.shared_mem_node_or_default, self._conf.shared_mem_port),)

    async def open(self) -> None:
        """See :meth:`ServiceRole.open`."""
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    def operations(self) -> Operations:
        """See :meth:`ServiceRole.operations`.

        None needs core's memory of answers: batches have their own, which keeps large answers too, and the others can
        be done twice without harm.
        """
        return {
            wire.HELLO: Operation(self._hello),
            wire.DO: Operation(self._do, at_once=self._do_now),
            wire.WAKE: Operation(self._wake),
            wire.ENDED: Operation(self._ended),
            wire.CLEAR: Operation(self._clear),
            wire.LOOK: Operation(self._look),
            wire.BYE: Operation(self._bye),
        }

    async def close(self) -> None:
        """See :meth:`ServiceRole.close`. Polls are answered: what was held is lost."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for guest in self._guests.values():
            guest.leave()
        self._guests.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping], timeout=LAST)
            self._sweeping = None

    # --- operations ---

    async def _hello(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.Hello)
        if self._closed:
            raise Unreachable("The shared-memory service is stopping.")
        if about.client and about.client not in self._guests:
            self._guests[about.client] = Guest(about.client, self._now())
        return Reply(to_plain(wire.Table(self.table)))

    async def _do(self, asked: Asked) -> Reply:
        return self._do_now(asked)

    def _do_now(self, asked: Asked) -> Reply:
        batch = unpack_batch(asked.body, self._members)
        guest = self._guest(batch.table, batch.client)
        guest.settle(batch.settled)
        body = guest.replied(batch.number)
        if body is None:
            body = self._replies(guest, batch)
            guest.reply(batch.number, body)
            self._spread()
        return Reply(None, body)

    async def _wake(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.Poll)
        guest = self._guest(about.table, about.client)
        guest.settle(about.settled)
        guest.seen(about.seen)
        await guest.news(wire.HOLD)
        # It may have been given up meanwhile, or everything with it.
        self._guest(about.table, about.client)
        return Reply(None, guest.wakes(self._pack))

    async def _ended(self, asked: Asked) -> Reply:
        about = unpack_plain(asked.body, wire.Ended)
        self._check(about.table)
        self._held.ended(about.scope, about.total, about.over, self._now())
        self._spread()
        return Reply()

    async def _clear(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.About)
        self._check(about.table)
        self._held.clear(about.scope, self._now())
        self._spread()
        return Reply()

    async def _look(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.About)
        self._check(about.table)
        listing = self._held.look(about.scope, about.name, self._now())
        self._spread()
        return Reply(None, pack_plain(self._pack, listing))

    async def _bye(self, asked: Asked) -> Reply:
        self._give_up(from_plain(asked.data, wire.Hello).client)
        self._spread()
        return Reply()

    # --- commands ---

    def _replies(self, guest: Guest, batch: wire.Batch) -> bytes:
        """Carry a batch out. What is not known at once, or is large, is told later, as a wake-up."""
        now, packed, size = self._now(), [], 0
        for asked in batch.asked:
            outcome = self._carry_out(guest, asked, now)
            reply = _PARKED
            if outcome is not None:
                reply = pack_outcome(self._pack, outcome) if not _is_large(outcome) else b""
                if not reply or size + len(reply) > wire.ENOUGH:
                    guest.tell(asked.ticket, outcome)
                    reply = _PARKED
            packed.append(reply)
            size += len(reply)
        return pack_list(b"", packed)

    def _carry_out(self, guest: Guest, asked: wire.Asked, now: float) -> Outcome | None:
        order = asked.order
        try:
            if isinstance(order, DiscomputifyError):
                return order
            if isinstance(order, wire.Cancel):
                guest.parked.discard(order.ticket)
                return Answer(self._held.cancel((guest, order.ticket), now))
            if isinstance(order, wire.PutBack):
                self._held.put_back(asked.member.scope, order.name, order.value, now)
                return Answer()
            outcome = self._held.do(asked.member, order, (guest, asked.ticket), now + asked.wait, now)
        except DiscomputifyError as error:
            return error
        if outcome is None:
            guest.parked.add(asked.ticket)
        return outcome

    def _spread(self) -> None:
        """Tell those whose waiting is over, and set the clock for what is due next."""
        for (guest, ticket), outcome in self._held.woken():
            assert isinstance(guest, Guest)
            guest.tell(ticket, outcome)
        due = self._held.next_deadline()
        if due is None or self._closed or (self._timer is not None and self._timer.when() <= due):
            return  # a timer that rings too early does no harm
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._held.tick(self._now())
        self._spread()

    # --- clients ---

    def _guest(self, table: str, client: str) -> Guest:
        """A client that has said hello.

        Raises:
            MemoryLost: it means another table, or was given up.
        """
        self._check(table)
        guest = self._guests.get(client)
        if guest is None:
            raise MemoryLost(
                f"The shared-memory service has not heard of this client for {SILENT:g} s, and has given it up."
            )
        guest.heard_at = self._now()
        return guest

    def _check(self, table: str) -> None:
        if self._closed or table not in ("", self.table):
            raise MemoryLost("The shared-memory service was started again: what it held is lost.")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(ROUND)
            self.give_up_silent(self._now())

    def give_up_silent(self, now: float) -> None:
        """Give clients up that were not heard of for long: nobody fetches what they wait for."""
        for guest in [guest for guest in self._guests.values() if now - guest.heard_at > SILENT]:
            log.warning("a client was not heard of for %g s: what it waits for is given up", SILENT)
            self._give_up(guest.name)
        self._spread()

    def _give_up(self, client: str) -> None:
        guest = self._guests.pop(client, None)
        if guest is None:
            return
        for ticket in guest.parked:
            self._held.cancel((guest, ticket), self._now())
        guest.parked.clear()
        guest.leave()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _is_large(outcome: Outcome) -> bool:
    """Whether *outcome* may not fit into a reply beside others."""
    if not isinstance(outcome, Answer):
        return False
    if outcome.value is not None:
        return len(outcome.value.data) > wire.ENOUGH
    return len(outcome.names) > 1000 or (bool(outcome.values) and sum(v.size for v in outcome.values) > wire.ENOUGH)
