"""One scope: carries commands out, serves those who wait, and frees what attempts leave behind.

Not here: what entries, locks and rounds are (entries.py, locks.py, rounds.py), other scopes (table.py).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Union

import attrs

from discomputify_core.errors import AttemptOver, DiscomputifyError, PeerBroke, TooLate
from discomputify_core.model.memory import (
    Add,
    Answer,
    Append,
    Command,
    Get,
    Limits,
    Lock,
    Meet,
    Member,
    Names,
    Over,
    Pop,
    Put,
    Remove,
    Renew,
    Scope,
    Unlock,
    Value,
)
from discomputify_sharedmem.table.deadlines import Deadlines
from discomputify_sharedmem.table.entries import Entries
from discomputify_sharedmem.table.locks import Held, Locks, granted
from discomputify_sharedmem.table.parts import Parts
from discomputify_sharedmem.table.results import RoundKey
from discomputify_sharedmem.table.room import Room
from discomputify_sharedmem.table.rounds import Rounds
from discomputify_sharedmem.table.waiting import ENTRY, LOCK, Key, Ticket, Waiter, Waiting, Waits, key_of

Outcome = Union[Answer, DiscomputifyError]

#: Most parts that an error names in its fields, and in its sentence.
MOST_PARTS, MOST_SHOWN = 1000, 10


@attrs.define
class Shared:
    """What all scopes of a table share."""

    limits: Limits
    deadlines: Deadlines = attrs.field(factory=Deadlines)
    #: Those who wait, by their tickets.
    tickets: dict[Ticket, tuple[Scoped, Waiter]] = attrs.field(factory=dict)
    #: What came of waiting, and was not looked at yet.
    woken: list[tuple[Ticket, Outcome]] = attrs.field(factory=list)


class Scoped:
    """See the module. Before anything is done, what was due by then has been done (:class:`Deadlines`)."""

    def __init__(self, scope: Scope, total: int, shared: Shared) -> None:
        self.scope = scope
        self.total = total
        #: When somebody asked last.
        self.asked_at = 0.0
        self.room = Room(shared.limits)
        self.parts = Parts()
        self.entries = Entries(self.room)
        self.locks = Locks(self.room)
        self.rounds = Rounds(total, self.room, self.parts.gone)
        self.waiting = Waiting()
        self._shared = shared
        entries = self.entries
        self._ways: dict[type, Callable[[Member, Any, float], Answer | None]] = {
            Put: self._put,
            Get: lambda member, command, now: entries.get(command),
            Remove: lambda member, command, now: entries.remove(command),
            Add: self._add,
            Append: self._append,
            Pop: lambda member, command, now: entries.pop(command.name),
            Names: lambda member, command, now: entries.names(command),
            Lock: self._lock,
            Renew: self._renew,
            Unlock: self._unlock,
            Meet: self._meet,
        }

    def check(self, total: int, *parts: int) -> None:
        """Refuse parts that the job has not.

        Raises:
            PeerBroke: it has not.
        """
        for part in parts:
            if total != self.total or not 1 <= part <= self.total:
                raise PeerBroke(
                    f"Part {part} of {total} is not one of this job, which has {self.total} parts.", clause="memory"
                )

    # --- commands ---

    def do(self, member: Member, command: Command, ticket: Ticket, deadline: float, now: float) -> Answer | None:
        """See :meth:`~discomputify_sharedmem.table.table.Table.do`."""
        self.check(member.total, member.part)
        gone = member.part in self.parts.gone
        if self.parts.admit(member):
            self._replaced(member.part, gone, now)
        self.asked_at = now
        answer = self._ways[type(command)](member, command, now)
        if answer is not None:
            return answer
        assert isinstance(command, (Get, Pop, Lock, Meet))
        if deadline <= now:
            return self._in_vain(command)
        self._park(Waiter(ticket, member, command, key_of(command)), deadline)
        return None

    def _put(self, member: Member, command: Put, now: float) -> Answer:
        answer = self.entries.put(member, command)
        if answer.found:
            self._serve_entry(command.name)
        return answer

    def _add(self, member: Member, command: Add, now: float) -> Answer:
        answer = self.entries.add(command)
        self._serve_entry(command.name)
        return answer

    def _append(self, member: Member, command: Append, now: float) -> Answer:
        answer = self.entries.append(command)
        self._serve_entry(command.name)
        return answer

    def put_back(self, name: str, value: Value) -> None:
        """A value that was popped is not wanted: it is the first of its list again."""
        self.entries.put_back(name, value)
        self._serve_entry(name)

    def _lock(self, member: Member, command: Lock, now: float) -> Answer | None:
        if command.name in self.locks.held:
            return None
        held = self.locks.take(member, command.name, now + command.lease)
        self._shared.deadlines.set(held, held.until, lambda now: self._release(held, now))
        return granted(held)

    def _renew(self, member: Member, command: Renew, now: float) -> Answer:
        held = self.locks.of(member, command.name, command.token)
        held.until = now + command.lease
        self._shared.deadlines.set(held, held.until, lambda now: self._release(held, now))
        return granted(held)

    def _unlock(self, member: Member, command: Unlock, now: float) -> Answer:
        self._release(self.locks.of(member, command.name, command.token), now)
        return Answer()

    def _meet(self, member: Member, command: Meet, now: float) -> Answer | None:
        answer = self.rounds.meet(member.part, command)
        if answer is not None:
            key = (command.kind, command.name, command.round)
            for waiter in self.waiting.at(key):
                self._wake(waiter, answer)
                self.rounds.heard(key, waiter.member.part)
        return answer

    # --- waiting ---

    def _park(self, waiter: Waiter, deadline: float) -> None:
        self.waiting.add(waiter)
        self._shared.tickets[waiter.ticket] = (self, waiter)
        self._shared.deadlines.set(waiter, deadline, lambda now: self._late(waiter))

    def give_up(self, waiter: Waiter) -> None:
        """*waiter* waits no more, and is told nothing. What it brought to a round stays."""
        self.waiting.remove(waiter)
        del self._shared.tickets[waiter.ticket]
        self._shared.deadlines.drop(waiter)

    def _wake(self, waiter: Waiter, outcome: Outcome) -> None:
        self.give_up(waiter)
        self._shared.woken.append((waiter.ticket, outcome))

    def _late(self, waiter: Waiter) -> None:
        try:
            outcome: Outcome = self._in_vain(waiter.command)
        except TooLate as late:
            outcome = late
        self._wake(waiter, outcome)

    def _in_vain(self, command: Waits) -> Answer:
        """What somebody is told whose time is over."""
        if not isinstance(command, Meet):
            return Answer(False)
        missing = list(islice(self.rounds.missing((command.kind, command.name, command.round)), MOST_PARTS))
        raise TooLate(_late_text(command, missing, self.parts.known.keys()), parts=missing, name=command.name)

    def _serve_entry(self, name: str) -> None:
        """Serve those who wait for an entry, which has changed, for as long as it is there."""
        key: Key = (ENTRY, name)
        while (waiter := self.waiting.first(key)) is not None:
            try:
                if isinstance(waiter.command, Get):
                    outcome: Outcome | None = self.entries.get(waiter.command)
                else:
                    outcome = self.entries.pop(name)
            except DiscomputifyError as error:
                outcome = error
            if outcome is None:
                return
            self._wake(waiter, outcome)

    def _release(self, held: Held, now: float) -> None:
        """A lock is free: who has waited longest gets it."""
        self.locks.free(held)
        self._shared.deadlines.drop(held)
        key: Key = (LOCK, held.name)
        while held.name not in self.locks.held and (waiter := self.waiting.first(key)) is not None:
            assert isinstance(waiter.command, Lock)
            try:
                outcome: Outcome | None = self._lock(waiter.member, waiter.command, now)
            except DiscomputifyError as error:
                outcome = error
            assert outcome is not None
            self._wake(waiter, outcome)

    # --- attempts ---

    def ended(self, over: Over, now: float) -> None:
        """An attempt is over."""
        gone = over.part in self.parts.gone
        if not self.parts.end(over):
            return
        self.asked_at = now
        self._free(over.part, AttemptOver(f"This attempt of part {over.part} is over.", part=over.part), now)
        still = over.part in self.parts.gone
        if still and not gone:
            for key in self.rounds.went(over.part):
                self._fail_round(key, over.part)
        elif gone and not still:
            self.rounds.came_back(over.part)

    def _replaced(self, part: int, was_gone: bool, now: float) -> None:
        """A newer attempt of *part* has come."""
        self._free(part, AttemptOver(f"A newer attempt of part {part} runs.", part=part), now)
        if was_gone:
            self.rounds.came_back(part)

    def _free(self, part: int, error: AttemptOver, now: float) -> None:
        """What the attempt of *part* held is given back; it waits for nothing any more."""
        for waiter in self.waiting.of(part):
            self._wake(waiter, error)
        self.entries.without(part)
        for held in self.locks.of_part(part):
            self._release(held, now)

    def _fail_round(self, key: RoundKey, part: int) -> None:
        for waiter in self.waiting.at(key):
            assert isinstance(waiter.command, Meet)
            self._wake(waiter, self.rounds.part_gone(waiter.command, part))

    def close(self, error: DiscomputifyError) -> None:
        """Everything is freed; those who wait get *error*."""
        for waiter in self.waiting.all():
            self._wake(waiter, error)
        for held in self.locks.held.values():
            self._shared.deadlines.drop(held)


def _late_text(command: Meet, missing: list[int], known: Any) -> str:
    unseen = [part for part in missing if part not in known]
    text = f"Round {command.round} of the {command.kind} '{command.name}' was not complete in time: "
    if len(unseen) < len(missing):
        text += f"{_parts([part for part in missing if part in known])} did not come"
        text += "; " if unseen else "."
    if unseen:
        have = "has" if len(unseen) == 1 else "have"
        text += f"{_parts(unseen)} {have} not been seen at all: perhaps they wait for a free slot; "
        text += "submit with --together."
    return text


def _parts(parts: list[int]) -> str:
    shown = ", ".join(str(part) for part in parts[:MOST_SHOWN])
    more = f" and {len(parts) - MOST_SHOWN} more" if len(parts) > MOST_SHOWN else ""
    return f"{'part' if len(parts) == 1 else 'parts'} {shown}{more}"
