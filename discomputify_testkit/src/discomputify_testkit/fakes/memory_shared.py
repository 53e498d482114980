"""Shared memory inside one process: a plain table without a service. It keeps every promise of interfaces/memory.py.

Here: the table of all scopes, its loss, and the client side. Not here: what a scope does (memory_scope.py).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import attrs

from discomputify_core.errors import AttemptOver, ChannelClosed, MemoryLost
from discomputify_core.interfaces.calls import Caller
from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.model.conf import Conf
from discomputify_core.model.memory import Answer, Command, Limits, Listing, Member, Over, Scope
from discomputify_testkit.fakes.memory_scope import FakeScope
from discomputify_testkit.fakes.options import MemoryOptions

_numbers = itertools.count(1)


def _fresh_name() -> str:
    return f"memory-{next(_numbers)}"


@attrs.define
class FakeTable:
    """What is held; shared by all clients of it."""

    limits: Limits = attrs.field(factory=Limits)
    name: str = attrs.field(factory=_fresh_name)
    scopes: dict[Scope, FakeScope] = attrs.field(factory=dict)
    cleared: set[Scope] = attrs.field(factory=set)
    clients: list[FakeSharedMemory] = attrs.field(factory=list)

    def scope(self, scope: Scope) -> FakeScope:
        """What is held for *scope*, made when it is asked for first. Raises AttemptOver if it was cleared."""
        if scope in self.cleared:
            raise AttemptOver(f"The shared memory of the job '{scope.process_id}' was cleared.")
        if scope not in self.scopes:
            self.scopes[scope] = FakeScope(self.limits)
        return self.scopes[scope]

    def lose(self, reason: str) -> None:
        """Forget everything, under a new name, as a service does that is started again."""
        lost, self.scopes = self.scopes, {}
        self.cleared.clear()
        self.name = _fresh_name()
        for scope in lost.values():
            scope.fail_all(MemoryLost(f"What the shared memory held is lost: {reason}"))
        for client in list(self.clients):
            client.told_of_loss(reason)


#: By space.
_tables: dict[str, FakeTable] = {}


class FakeSharedMemory(SharedMemory):
    """See the module. All clients of one space, or given one *shared*, use one table; others have one to themselves.

    :meth:`lose` makes everything that is held be lost.
    """

    name = "memory"
    options = MemoryOptions

    def __init__(
        self,
        conf: Conf | None = None,
        options: Any = None,
        service: Caller | None = None,
        *,
        shared: FakeTable | None = None,
    ) -> None:
        self.on_lost = lambda reason: None
        if shared is None:
            shared = FakeTable() if options is None else _tables.setdefault(options.space, FakeTable())
        self.shared = shared
        self.shared.clients.append(self)
        self._table = ""
        self._closed = False

    @property
    def table(self) -> str:
        """See :attr:`SharedMemory.table`."""
        return self._table

    async def do(self, member: Member, command: Command, wait: float = 0.0) -> Answer:
        """See :meth:`SharedMemory.do`."""
        await self._reached()
        return await self.shared.scope(member.scope).do(member, command, wait, self)

    async def _reached(self) -> None:
        """Let others have their turn, as a call over a network does."""
        await asyncio.sleep(0)
        if self._closed:
            raise ChannelClosed("This shared memory was closed.", reason="closed by this side")
        self._table = self.shared.name

    async def ended(self, scope: Scope, total: int, over: Sequence[Over]) -> None:
        """See :meth:`SharedMemory.ended`."""
        await self._reached()
        if scope not in self.shared.cleared:
            for each in over:
                self.shared.scope(scope).ended(total, each)

    async def clear(self, scope: Scope) -> None:
        """See :meth:`SharedMemory.clear`."""
        await self._reached()
        self.shared.cleared.add(scope)
        if (held := self.shared.scopes.pop(scope, None)) is not None:
            held.fail_all(AttemptOver(f"The shared memory of the job '{scope.process_id}' was cleared."))

    async def look(self, scope: Scope, name: str = "") -> Listing:
        """See :meth:`SharedMemory.look`."""
        await self._reached()
        held = self.shared.scopes.get(scope)
        return Listing() if held is None else held.look(name)

    async def close(self) -> None:
        """See :meth:`SharedMemory.close`."""
        if self._closed:
            return
        self._closed = True
        self.shared.clients.remove(self)
        for scope in self.shared.scopes.values():
            scope.fail_all(ChannelClosed("This shared memory was closed.", reason="closed by this side"), self)

    def lose(self, reason: str = "the table was made anew.") -> None:
        """Make everything that is held be lost, for all clients of the table."""
        self.shared.lose(reason)

    def told_of_loss(self, reason: str) -> None:
        """Pass a loss on, where something was held for this client."""
        if self._table:
            self.on_lost(reason)
