"""Shared memory of one job, written as plainly as possible: everything is computed anew from lists, nothing is quick.

Bytes, counts and who is gone are never kept, so they cannot go wrong. The real table must answer the same.
"""

from __future__ import annotations

import json
from typing import Any, Union

import attrs

from discomputify_core.errors import (
    AttemptOver,
    DiscomputifyError,
    LockLost,
    MemoryFull,
    PartGone,
    RoundForgotten,
    RoundsDiffer,
    TooLate,
    WrongKind,
)
from discomputify_core.model.memory import (
    BARRIER,
    BROADCAST,
    JSON,
    OVERHEAD,
    REF,
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
    Unlock,
    Value,
)

Outcome = Union[Answer, DiscomputifyError]


@attrs.define
class PlainEntry:
    version: int
    values: list[Value]
    is_list: bool
    owner: int | None = None


@attrs.define
class PlainLock:
    member: Member
    token: int
    until: float
    order: int


@attrs.define
class PlainWaiter:
    ticket: tuple[str, int]
    member: Member
    command: Any
    deadline: float
    order: int


@attrs.define
class PlainRound:
    """A complete gather or broadcast."""

    key: tuple[str, str, int]
    answer: Answer
    agreed: tuple[str, int]
    size: int
    heard: set[int]


def weight(name: str) -> int:
    return OVERHEAD + len(name.encode())


class PlainModel:
    def __init__(self, total: int, limits: Limits) -> None:
        self.total = total
        self.limits = limits
        self.entries: dict[str, PlainEntry] = {}
        self.locks: dict[str, PlainLock] = {}
        self.open: dict[tuple[str, str, int], dict[int, Meet]] = {}
        #: Results, in the order in which they came to be only history.
        self.running: list[PlainRound] = []
        self.history: list[PlainRound] = []
        self.passed: list[tuple[str, str, int]] = []
        self.forgotten: list[tuple[str, str, int]] = []
        self.standing: dict[int, Over] = {}
        self.waiters: list[PlainWaiter] = []
        self.woken: dict[tuple[str, int], Outcome] = {}
        self.version = self.token = self.order = 0

    # --- what is computed anew ---

    def size(self) -> int:
        entries = sum(
            weight(name) + sum(value.size + (OVERHEAD if entry.is_list else 0) for value in entry.values)
            for name, entry in self.entries.items()
        )
        brought = sum(
            weight(meet.name) + (meet.value.size if meet.value else 0)
            for meets in self.open.values()
            for meet in meets.values()
        )
        return entries + sum(map(weight, self.locks)) + brought + sum(each.size for each in self.running)

    def count(self) -> int:
        return len(self.entries) + len(self.locks)

    def items(self) -> int:
        return sum(len(entry.values) for entry in self.entries.values() if entry.is_list)

    def gone(self) -> list[int]:
        return [part for part, over in self.standing.items() if over.stands in ("done", "gone")]

    def next_deadline(self) -> float | None:
        times = [lock.until for lock in self.locks.values()] + [waiter.deadline for waiter in self.waiters]
        return min(times, default=None)

    # --- commands ---

    def do(self, member: Member, command: Command, ticket: tuple[str, int], deadline: float, now: float) -> Any:
        self.advance(now)
        try:
            self.admit(member, now)
            answer = self.perform(member, command, now)
            if answer is None and deadline <= now:
                answer = self.in_vain(command)
        except DiscomputifyError as error:
            return error
        if answer is None:
            self.order += 1
            self.waiters.append(PlainWaiter(ticket, member, command, deadline, self.order))
        self.settle(now)
        return answer

    def admit(self, member: Member, now: float) -> None:
        known = self.standing.get(member.part)
        if known and (member.number < known.number or (member.number == known.number and known.stands)):
            raise AttemptOver("over")
        if known is None or member.number > known.number:
            self.standing[member.part] = Over(member.part, member.number, member.attempt, "")
            self.free(member.part, now)

    def limited(self, more: int, entries: int = 0, items: int = 0) -> None:
        if more > 0 and self.size() + more > self.limits.job_bytes:
            raise MemoryFull("", limit="job_bytes")
        if entries > 0 and self.count() + entries > self.limits.job_entries:
            raise MemoryFull("", limit="job_entries")
        if items > 0 and self.items() + items > self.limits.job_entries:
            raise MemoryFull("", limit="job_entries")

    def check(self, value: Value) -> None:
        if value.size > self.limits.value_bytes:
            raise MemoryFull("", limit="value_bytes")

    def perform(self, member: Member, command: Command, now: float) -> Answer | None:
        if isinstance(command, (Put, Get, Remove, Add, Append, Pop, Names)):
            return self.on_entries(member, command)
        if isinstance(command, Meet):
            return self.meet(member.part, command)
        held = self.locks.get(command.name)
        if isinstance(command, Lock):
            if held:
                return None
            self.limited(weight(command.name), 1)
            self.token += 1
            self.order += 1
            self.locks[command.name] = PlainLock(member, self.token, now + command.lease, self.order)
            return Answer(number=self.token)
        if not held or held.token != command.token or held.member.part != member.part:
            raise LockLost("lost", name=command.name)
        if isinstance(command, Unlock):
            del self.locks[command.name]
            return Answer()
        self.order += 1
        held.until, held.order = now + command.lease, self.order
        return Answer(number=held.token)

    def on_entries(self, member: Member, command: Any) -> Answer | None:
        if isinstance(command, Names):
            return Answer(names=tuple(sorted(name for name in self.entries if name.startswith(command.prefix))))
        old = self.entries.get(command.name)
        ref = old.values[0] if old and not old.is_list and old.values[0].kind == REF else None
        if isinstance(command, Put):
            if command.version is not None and command.version != (old.version if old else 0):
                return Answer(False, old.version if old else 0)
            self.set(command.name, command.value, member.part if command.ephemeral else None)
            return Answer(version=self.version, value=ref)
        if isinstance(command, Add):
            number = command.by + (0 if old is None else self.number(old))
            if not -(2**63) <= number < 2**63:
                raise MemoryFull("", limit="number")
            self.set(command.name, Value(JSON, json.dumps(number).encode()), old.owner if old else None)
            return Answer(version=self.version, number=number)
        if isinstance(command, Append):
            self.check(command.value)
            if old and not old.is_list:
                raise WrongKind("", name=command.name)
            self.limited(OVERHEAD + command.value.size + (0 if old else weight(command.name)), 0 if old else 1, 1)
            self.version += 1
            entry = self.entries.setdefault(command.name, PlainEntry(0, [], True))
            entry.values.append(command.value)
            entry.version = self.version
            return Answer(version=self.version, number=len(entry.values))
        if old is None:
            return Answer(False) if isinstance(command, Remove) else None
        if isinstance(command, Remove):
            del self.entries[command.name]
            return Answer(value=ref)
        if isinstance(command, Pop):
            if not old.is_list:
                raise WrongKind("", name=command.name)
            self.version += 1
            old.version = self.version
            value = old.values.pop(0)
            if not old.values:
                del self.entries[command.name]
            return Answer(value=value)
        if old.is_list:
            return Answer(version=old.version, values=tuple(old.values), listed=True)
        return Answer(version=old.version, value=old.values[0])

    def set(self, name: str, value: Value, owner: int | None) -> None:
        self.check(value)
        old = self.entries.get(name)
        before = 0
        if old:
            before = weight(name) + sum(each.size + (OVERHEAD if old.is_list else 0) for each in old.values)
        self.limited(weight(name) + value.size - before, 0 if old else 1)
        self.version += 1
        self.entries[name] = PlainEntry(self.version, [value], False, owner)

    def number(self, entry: PlainEntry) -> Any:
        value = entry.values[0]
        found = json.loads(value.data) if value.kind == JSON and not entry.is_list else None
        if type(found) not in (int, float):
            raise WrongKind("")
        return found

    def put_back(self, name: str, value: Value, now: float) -> None:
        self.advance(now)
        entry = self.entries.setdefault(name, PlainEntry(0, [], True))
        if entry.is_list:
            entry.values.insert(0, value)
            self.version += 1
            entry.version = self.version
        self.settle(now)

    # --- rounds ---

    def meet(self, part: int, command: Meet) -> Answer | None:
        kind, name, number = key = (command.kind, command.name, command.round)
        brought = self.open.get(key, {})
        if key not in self.open:
            for each in self.running + self.history:
                if each.key == key:
                    if each.agreed != (command.sign, command.root):
                        raise RoundsDiffer("")
                    each.heard.add(part)
                    self.trim()
                    return each.answer
            if any(other[:2] == (kind, name) and other[2] >= number for other in self.passed):
                return Answer()
            if any(other[:2] == (kind, name) and other[2] >= number for other in self.forgotten):
                raise RoundForgotten("")
        if any((m.sign, m.root) != (command.sign, command.root) for p, m in brought.items() if p != part):
            raise RoundsDiffer("")
        needed = [command.root] if kind == BROADCAST else range(1, self.total + 1)
        vain = [each for each in needed if each not in brought and each != part and each in self.gone()]
        if vain:
            raise PartGone("", part=vain)
        if command.value is not None:
            self.check(command.value)
        return self.bring(part, command, {**brought, part: command}, list(needed))

    def bring(self, part: int, command: Meet, brought: dict[int, Meet], needed: list[int]) -> Answer | None:
        key = (command.kind, command.name, command.round)
        before = self.open.pop(key, None)
        complete = all(each in brought for each in needed)
        values = tuple(m.value for p, m in sorted(brought.items()) if m.value and p in needed)
        size = weight(command.name) + sum(value.size + OVERHEAD for value in values)
        after = sum(weight(m.name) + (m.value.size if m.value else 0) for m in brought.values())
        old = sum(weight(m.name) + (m.value.size if m.value else 0) for m in (before or {}).values())
        try:
            # All that was there counts on: it is only not there while this is computed.
            more = size if complete and command.kind == BROADCAST else after
            if more > old and self.size() + more > self.limits.job_bytes:
                raise MemoryFull("", limit="job_bytes")
        except MemoryFull:
            if before is not None:
                self.open[key] = before
            raise
        if not complete:
            self.open[key] = brought
            return None
        if command.kind == BARRIER:
            self.passed.append(key)
            answer = Answer()
        elif command.kind == BROADCAST:
            answer = Answer(value=values[0])
        else:
            answer = Answer(values=values)
        waiters = [each for each in self.waiters if self.key(each.command) == key]
        if command.kind != BARRIER:
            made = PlainRound(key, answer, (command.sign, command.root), size, {part})
            made.heard.update(each.member.part for each in waiters)
            (self.running if command.kind == BROADCAST else self.history).append(made)
        for each in waiters:
            self.wake(each, answer)
        self.trim()
        return answer

    def trim(self) -> None:
        for each in list(self.running):
            if len(each.heard | set(self.gone())) >= self.total:
                self.running.remove(each)
                self.history.append(each)
        while (
            len(self.history) > self.limits.history_rounds
            or sum(each.size for each in self.history) > self.limits.history_bytes
        ):
            self.forgotten.append(self.history.pop(0).key)

    # --- waiting and ending ---

    @staticmethod
    def key(command: Command) -> Any:
        if isinstance(command, Meet):
            return command.kind, command.name, command.round
        assert not isinstance(command, Names)
        return "lock" if isinstance(command, (Lock, Renew, Unlock)) else "entry", command.name

    def wake(self, waiter: PlainWaiter, outcome: Outcome) -> None:
        self.waiters.remove(waiter)
        self.woken[waiter.ticket] = outcome

    def settle(self, now: float) -> None:
        """Try everything that waits again, in the order of coming, until nothing changes."""
        changed = True
        while changed:
            changed = False
            for waiter in self.waiters:
                if isinstance(waiter.command, Meet):
                    continue
                try:
                    outcome: Outcome | None = self.perform(waiter.member, waiter.command, now)
                except DiscomputifyError as error:
                    outcome = error
                if outcome is not None:
                    self.wake(waiter, outcome)
                    changed = True
                    break

    def in_vain(self, command: Command) -> Answer:
        if not isinstance(command, Meet):
            return Answer(False)
        brought = self.open[command.kind, command.name, command.round]
        # A part that asks again for another root replaces what it had said; all others agree on theirs.
        root = next(iter(brought.values())).root
        needed = [root] if command.kind == BROADCAST else range(1, self.total + 1)
        raise TooLate("", parts=[part for part in needed if part not in brought])

    def advance(self, now: float) -> None:
        due = [(lock.until, lock.order, name) for name, lock in self.locks.items() if lock.until <= now]
        due += [(each.deadline, each.order, "") for each in self.waiters if each.deadline <= now]
        for _, order, name in sorted(due):
            if name and self.locks.get(name) and self.locks[name].order == order:
                del self.locks[name]
                self.settle(now)
            for waiter in [each for each in self.waiters if each.order == order]:
                try:
                    self.wake(waiter, self.in_vain(waiter.command))
                except TooLate as late:
                    self.wake(waiter, late)

    def cancel(self, ticket: tuple[str, int], now: float) -> bool:
        self.advance(now)
        before = len(self.waiters)
        self.waiters = [each for each in self.waiters if each.ticket != ticket]
        return len(self.waiters) < before

    def ended(self, over: Over, now: float) -> None:
        self.advance(now)
        known = self.standing.get(over.part)
        if known and (known.number > over.number or (known.number == over.number and known.stands in ("done", "gone"))):
            return
        if known and (known.number, known.stands) == (over.number, over.stands):
            return
        self.standing[over.part] = over
        self.free(over.part, now)
        if over.part in self.gone():
            for waiter in list(self.waiters):
                command = waiter.command
                if not isinstance(command, Meet) or over.part in (brought := self.open[self.key(command)]):
                    continue
                if command.kind != BROADCAST or next(iter(brought.values())).root == over.part:
                    self.wake(waiter, PartGone("", part=[over.part]))
        self.trim()

    def free(self, part: int, now: float) -> None:
        for waiter in [each for each in self.waiters if each.member.part == part]:
            self.wake(waiter, AttemptOver("over"))
        for name in [name for name, entry in self.entries.items() if entry.owner == part]:
            del self.entries[name]
        mine = [name for name, lock in self.locks.items() if lock.member.part == part]
        for name in mine:
            del self.locks[name]
            self.settle(now)
