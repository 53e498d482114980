"""The table: all scopes, and what is due when. Not here: what happens inside of a scope (scope.py)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from discomputify_core.errors import AttemptOver, DiscomputifyError, MemoryLost
from discomputify_core.model.memory import (
    Answer,
    Command,
    Limits,
    Listing,
    Member,
    Names,
    Over,
    Scope,
    Value,
    check_name,
)
from discomputify_sharedmem.table.room import short
from discomputify_sharedmem.table.rows import listing
from discomputify_sharedmem.table.scope import Outcome, Scoped, Shared
from discomputify_sharedmem.table.waiting import Ticket

#: Scopes that were freed, and of which that is remembered.
MOST_TOMBS = 100_000


class Table:
    """Everything that is held.

    Args:
        limits: of each scope.
        forget_after: seconds after which a scope that nobody asked about is freed.

    *now* never goes back; every method first does what was due by then.
    """

    def __init__(self, limits: Limits, forget_after: float) -> None:
        self._forget_after = forget_after
        self._shared = Shared(limits)
        self._scopes: dict[Scope, Scoped] = {}
        #: Scopes that were freed, oldest first, and the error for whoever comes.
        self._tombs: OrderedDict[Scope, DiscomputifyError] = OrderedDict()

    def do(self, member: Member, command: Command, ticket: Ticket, deadline: float, now: float) -> Answer | None:
        """Carry *command* out; None where it waits now, until *deadline* at most, and :meth:`woken` will tell.

        Raises:
            DiscomputifyError: as :meth:`discomputify_core.interfaces.memory.SharedMemory.do`. Nothing was changed,
                except that a part whose round is not complete in time has taken part in it.
        """
        self.tick(now)
        if not isinstance(command, Names) and not short(command.name):
            check_name(command.name)
        scoped = self._scopes.get(member.scope)
        if scoped is None:
            scoped = self._begin(member.scope, member.total, now)
        return scoped.do(member, command, ticket, deadline, now)

    def _begin(self, scope: Scope, total: int, now: float) -> Scoped:
        tomb = self._tombs.get(scope)
        if tomb is not None:
            raise type(tomb)(tomb.message, **tomb.fields)
        scoped = self._scopes[scope] = Scoped(scope, total, self._shared)
        scoped.asked_at = now
        self._look_after(scoped)
        return scoped

    def _look_after(self, scoped: Scoped) -> None:
        self._shared.deadlines.set(scoped, scoped.asked_at + self._forget_after, lambda now: self._idle(scoped, now))

    def _idle(self, scoped: Scoped, now: float) -> None:
        if len(scoped.waiting):
            scoped.asked_at = now
        if now < scoped.asked_at + self._forget_after:
            self._look_after(scoped)
            return
        job = scoped.scope.process_id
        self._free(scoped.scope, MemoryLost(f"Nobody used the shared memory of '{job}' for long, and it was freed."))

    def put_back(self, scope: Scope, name: str, value: Value, now: float) -> None:
        """Undo a Pop, whose value is not wanted, also on behalf of an attempt that is over."""
        self.tick(now)
        scoped = self._scopes.get(scope)
        if scoped is not None:
            scoped.put_back(name, value)

    def cancel(self, ticket: Ticket, now: float) -> bool:
        """Let *ticket* wait no more; whether it did. If not, it has been, or will be, told."""
        self.tick(now)
        found = self._shared.tickets.get(ticket)
        if found is None:
            return False
        scoped, waiter = found
        scoped.give_up(waiter)
        return True

    def ended(self, scope: Scope, total: int, over: Sequence[Over], now: float) -> None:
        """Attempts of a job of *total* parts are over. Of a scope that was freed it need not be known.

        Raises:
            PeerBroke: the job has not so many parts.
        """
        self.tick(now)
        scoped = self._scopes.get(scope)
        if scoped is None:
            if scope in self._tombs:
                return
            scoped = self._begin(scope, total, now)
        scoped.check(total, *(each.part for each in over))
        for each in over:
            scoped.ended(each, now)

    def clear(self, scope: Scope, now: float) -> None:
        """Free everything of *scope*; who waits there, or comes later, gets AttemptOver."""
        self.tick(now)
        self._free(scope, AttemptOver(f"The shared memory of the job '{scope.process_id}' was cleared."))

    def _free(self, scope: Scope, error: DiscomputifyError) -> None:
        scoped = self._scopes.pop(scope, None)
        if scoped is not None:
            self._shared.deadlines.drop(scoped)
            scoped.close(error)
        self._tombs[scope] = error
        if len(self._tombs) > MOST_TOMBS:
            self._tombs.popitem(last=False)

    def look(self, scope: Scope, name: str, now: float) -> Listing:
        """What *scope* holds, or what it holds under *name*."""
        self.tick(now)
        scoped = self._scopes.get(scope)
        if scoped is not None:
            scoped.asked_at = now
        return listing(scoped, name, self._shared.limits)

    def tick(self, now: float) -> None:
        """Do what was due by *now*."""
        self._shared.deadlines.run(now)

    def next_deadline(self) -> float | None:
        """When :meth:`tick` has something to do; None where nothing is due ever."""
        return self._shared.deadlines.next()

    def woken(self) -> list[tuple[Ticket, Outcome]]:
        """What came of waiting since this was asked last, in the order in which it came."""
        if not self._shared.woken:
            return []
        woken, self._shared.woken = self._shared.woken, []
        return woken
