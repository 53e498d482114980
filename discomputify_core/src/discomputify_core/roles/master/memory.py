"""The master's end of shared memory: says which attempts are over, clears, looks, and judges which table is lost.

Here: carrying out what the cluster decided, and noticing losses. The master is the one arbiter of a loss: what counts
is the table that its own client side is connected to. Not here: what follows from a loss (cluster/on_memory.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, TypeVar

import attrs

from discomputify_core.cluster.state import Job
from discomputify_core.edge import clock, weights
from discomputify_core.edge.deadline import within
from discomputify_core.errors import DiscomputifyError, MemoryLost, NoSharedMemory, PluginBroke, Unreachable
from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.model import events as ev
from discomputify_core.model.commands import ClearMemory, TellMemory
from discomputify_core.model.ids import AttemptId
from discomputify_core.model.memory import Listing, Row, Scope, Value, check_name
from discomputify_core.model.message import UsesMemory

if TYPE_CHECKING:
    from discomputify_core.roles.master.master import MasterNode

log = logging.getLogger("discomputify.master")

T = TypeVar("T")

#: Seconds that the plugin has for one call, beyond which it is taken for hanging.
PATIENCE = 90.0
#: Seconds that somebody who looks at the memory waits for it.
LOOK = 6.0
#: Seconds before the first new try, and at most between two.
AGAIN, SELDOM = 0.2, 5.0
#: Seconds after which a scope that cannot be cleared is left to the memory itself.
GIVE_UP = 600.0
#: Calls under way at once.
AT_ONCE = 64
#: Of a listing: most bytes of one value and of all, and most parts named in one row.
MAX_VALUE, MAX_VALUES, MAX_PARTS = 64 * 1024, 256 * 1024, 50_000
#: Most characters of a table's name.
MAX_TABLE = 200


class MemoryDesk:
    """One per master.

    Args:
        memory: the plugin's client side; None where the conf names no shared memory.
    """

    def __init__(self, master: MasterNode, memory: SharedMemory | None) -> None:
        self._master = master
        self._memory = memory
        #: The table that is known to be there; "" before the first answer, and after a loss.
        self._table = ""
        #: Tables that parts used and that may be gone, and a scope to ask about.
        self._doubtful: dict[str, Scope] = {}
        self._comparing = False
        self._orders: dict[Scope, deque[TellMemory | ClearMemory]] = {}
        self._room: asyncio.Semaphore | None = None
        self._missed = False
        if memory is not None:
            memory.on_lost = self._lost

    # --- what the cluster wants ---------------------------------------------------------------------

    def carry_out(self, command: TellMemory | ClearMemory) -> None:
        """Begin to do so; commands for one scope one after the other, in order."""
        if self._memory is None:
            self._miss()
            self._over_with(command)
            return
        orders = self._orders.get(command.scope)
        if orders is not None:
            orders.append(command)
            return
        self._orders[command.scope] = deque([command])
        self._master.spawn(self._work(self._memory, command.scope))

    def _miss(self) -> None:
        if not self._missed:
            self._missed = True
            log.error(
                "Parts use shared memory, but the conf of this master names none: they are not told when others have "
                "ended, and losses are not noticed. Give SHARED_MEM the same value everywhere, and start it again."
            )

    async def _work(self, memory: SharedMemory, scope: Scope) -> None:
        orders, begun, pause, table = self._orders[scope], clock.now(), AGAIN, self._table
        try:
            while orders:
                if self._pointless(orders[0], begun, table):
                    self._over_with(orders.popleft())
                    continue
                try:
                    await self._do(memory, orders[0])
                except DiscomputifyError as error:
                    level = log.warning if pause == AGAIN else log.debug
                    level("telling the shared memory about the job '%s' has to wait: %s", scope.process_id, error)
                    await asyncio.sleep(clock.jittered(pause))
                    pause = min(pause * 2, SELDOM)
                else:
                    self._over_with(orders.popleft())
                    begun, pause, table = clock.now(), AGAIN, self._table
        finally:
            del self._orders[scope]

    def _over_with(self, command: TellMemory | ClearMemory) -> None:
        """*command* is carried out, or nobody needs it any more."""
        if isinstance(command, ClearMemory):
            self._master.apply(ev.MemoryCleared(command.scope))

    def _pointless(self, command: TellMemory | ClearMemory, begun: float, table: str) -> bool:
        """Whether nobody needs the command any more, or it is given up."""
        scope = command.scope
        if isinstance(command, TellMemory):
            job = self._master.cluster.state.jobs.get(scope.process_id)
            if job is not None and job.scope == scope:
                return False
            log.debug("the shared memory of '%s' needs to be told nothing more: its scope is over", scope.process_id)
            return True
        if table and self._table and table != self._table:
            log.info("the shared memory of '%s' is not cleared: its table is lost", scope.process_id)
            return True
        if clock.now() - begun > GIVE_UP:
            log.warning("the shared memory of '%s' could not be cleared; it ends by itself", scope.process_id)
            return True
        return False

    async def _do(self, memory: SharedMemory, command: TellMemory | ClearMemory) -> None:
        if self._room is None:
            self._room = asyncio.Semaphore(AT_ONCE)
        async with self._room:
            if isinstance(command, TellMemory):
                await self._asked(memory, memory.ended(command.scope, command.total, command.over))
            else:
                await self._asked(memory, memory.clear(command.scope))

    async def _asked(self, memory: SharedMemory, answer: Awaitable[T], seconds: float = PATIENCE) -> T:
        """What the plugin answers within *seconds*.

        Raises:
            Unreachable: nothing.
            PluginBroke: it raised what it may not raise.
            DiscomputifyError: what it said.
        """
        try:
            found = await within(seconds, answer)
        except DiscomputifyError:
            raise
        except asyncio.TimeoutError:
            raise Unreachable(f"The shared memory did not answer within {seconds:.0f} s.") from None
        except Exception as error:  # whatever a plugin raises is the plugin's fault and must not stop the master
            raise PluginBroke(
                f"The shared memory '{memory.name}' raised {type(error).__name__}: {error}", plugin=memory.name
            ) from error
        self._table = memory.table or self._table
        return found

    # --- losses -------------------------------------------------------------------------------------

    def _lost(self, reason: str) -> None:
        """The plugin's client side says that everything is lost."""
        memory = self._memory
        lost, self._table = self._table or (memory.table if memory else ""), ""
        log.error("what the shared memory held is lost: %s", reason)
        if lost:
            self._master.apply(ev.MemoryTableLost(lost, reason, clock.wall()))

    def used(self, uses: Iterable[UsesMemory]) -> None:
        """Attempts use these tables: one that is not the current one is lost, or the current one has changed."""
        for use in uses:
            scope = self._scope_of(use.attempt)
            if self._memory is None:
                self._miss()
            elif use.table and use.table != self._table and scope is not None:
                self._doubtful[use.table[:MAX_TABLE]] = scope
        if self._doubtful and not self._comparing and self._memory is not None:
            self._comparing = True
            self._master.spawn(self._compare(self._memory))

    def _scope_of(self, attempt: AttemptId) -> Scope | None:
        state = self._master.cluster.state
        found = state.attempts.get(attempt)
        return None if found is None else state.jobs[found.process_id].scope

    async def _compare(self, memory: SharedMemory) -> None:
        """Look which table there is, and say which ones are not it."""
        pause = AGAIN
        try:
            while self._doubtful:
                asked = dict(self._doubtful)  # a table that is named while we look may be newer than what we see
                try:
                    await self._asked(memory, memory.look(next(iter(asked.values()))))
                except DiscomputifyError as error:
                    level = log.warning if pause == AGAIN and not isinstance(error, MemoryLost) else log.debug
                    level("whether the shared memory that parts use is still there cannot be seen yet: %s", error)
                    await asyncio.sleep(clock.jittered(pause))
                    pause = min(pause * 2, SELDOM)
                    continue
                for table in asked:
                    del self._doubtful[table]
                    if table != self._table:
                        reason = "a part used a table of the shared memory that is not there any more"
                        self._master.apply(ev.MemoryTableLost(table, reason, clock.wall()))
        finally:
            self._comparing = False

    # --- looking ------------------------------------------------------------------------------------

    async def look(self, job: Job, name: str = "") -> Listing:
        """What the shared memory of *job* holds, or one entry of it, no larger than one message.

        Raises:
            NoSharedMemory: the conf names none.
            BadName: no entry can have that name.
            MemoryLost, Unreachable: as the plugin's ``look``.
        """
        if name:
            check_name(name)
        if self._memory is None:
            raise NoSharedMemory(
                "This cluster has no shared memory: the conf of its master has no SHARED_MEM. To get one, install "
                'discomputify-sharedmem on every machine, set "SHARED_MEM": "sharedmem" and start the roles again.'
            )
        if not job.memory.used:
            return Listing()
        return bounded(await self._asked(self._memory, self._memory.look(job.scope, name), LOOK))

    async def close(self) -> None:
        """Close the plugin's client side."""
        if self._memory is None:
            return
        try:
            await self._asked(self._memory, self._memory.close())
        except DiscomputifyError as error:
            log.warning("the shared memory could not be closed: %s", error)


def bounded(listing: Listing) -> Listing:
    """*listing*, cut so that it fits into a message; ``more`` counts the rows that were left out."""
    rows = [_row(row) for row in listing.rows]
    first = next(weights.batches(rows), ())
    values: list[Value] = []
    room = MAX_VALUES
    for value in listing.values:
        if room <= 0:
            break
        values.append(attrs.evolve(value, data=bytes(value.data[: min(MAX_VALUE, room)])))
        room -= len(values[-1].data) + 64
    more = listing.more + len(rows) - len(first)
    return attrs.evolve(listing, rows=tuple(first), values=tuple(values), more=more)


def _row(row: Row) -> Row:
    if max(len(row.waiting), len(row.missing)) <= MAX_PARTS:
        return row
    return attrs.evolve(row, waiting=row.waiting[:MAX_PARTS], missing=row.missing[:MAX_PARTS])
