"""Entries and locks of one scope of the fake shared memory, and the room they take.

Everything here happens at once: who waits, and for what, is memory_scope.py's business.
"""

from __future__ import annotations

import json
import math
from collections import deque

import attrs

from discomputify_core.errors import LockLost, MemoryFull, WrongKind
from discomputify_core.model.memory import (
    JSON,
    OVERHEAD,
    Add,
    Answer,
    Append,
    Get,
    Limits,
    Member,
    Names,
    Pop,
    Put,
    Remove,
    Value,
)

#: Most names that one answer lists.
MOST_NAMES = 10_000


def weight(name: str) -> int:
    """Bytes that something counts for having a name."""
    return OVERHEAD + len(name.encode())


@attrs.define
class Room:
    """What a scope holds, and may hold."""

    limits: Limits
    size: int = 0
    count: int = 0
    #: Values of all lists.
    items: int = 0

    def check(self, value: Value) -> None:
        """Raise MemoryFull if *value* alone is too large."""
        if value.size > self.limits.value_bytes:
            raise self._full("value_bytes", f"a value of {value.size} bytes; {self.limits.value_bytes}")

    def take(self, size: int = 0, count: int = 0, items: int = 0) -> None:
        """Make room; negative numbers free it. Raises MemoryFull, and then has changed nothing."""
        limits = self.limits
        if size > 0 and self.size + size > limits.job_bytes:
            raise self._full("job_bytes", f"{self.size + size} bytes; {limits.job_bytes}")
        if count > 0 and self.count + count > limits.job_entries:
            raise self._full("job_entries", f"{self.count + count} entries and locks; {limits.job_entries}")
        if items > 0 and self.items + items > limits.job_entries:
            raise self._full("job_entries", f"{self.items + items} values of lists; {limits.job_entries}")
        self.size, self.count, self.items = self.size + size, self.count + count, self.items + items

    @staticmethod
    def _full(limit: str, much: str) -> MemoryFull:
        return MemoryFull(f"The job's shared memory would have {much} are allowed ({limit}).", limit=limit)


@attrs.define
class Entry:
    """A value, or the values of a list."""

    version: int
    size: int
    value: Value | None = None
    values: deque[Value] | None = None
    #: The part with whose attempt it goes.
    owner: int | None = None


@attrs.frozen
class Held:
    """A lock that is held."""

    member: Member
    token: int
    until: float


@attrs.define
class Entries:
    """The entries of a scope."""

    room: Room
    by_name: dict[str, Entry] = attrs.field(factory=dict)
    #: The last version given to any entry: one that is removed and made again never gets an old version.
    _version: int = 0

    def _next(self) -> int:
        self._version += 1
        return self._version

    def put(self, member: Member, command: Put) -> Answer:
        """See :class:`~discomputify_core.model.memory.Put`."""
        old = self.by_name.get(command.name)
        version = old.version if old else 0
        if command.version is not None and command.version != version:
            return Answer(found=False, version=version)
        self.room.check(command.value)
        size = weight(command.name) + command.value.size
        self.room.take(size - (old.size if old else 0), 0 if old else 1, -len(old.values or ()) if old else 0)
        owner = member.part if command.ephemeral else None
        made = self.by_name[command.name] = Entry(self._next(), size, command.value, owner=owner)
        return Answer(version=made.version, value=_ref(old))

    def get(self, command: Get) -> Answer | None:
        """See :class:`~discomputify_core.model.memory.Get`; None where nothing is."""
        entry = self.by_name.get(command.name)
        if entry is None:
            return None
        if entry.values is None:
            return Answer(version=entry.version, value=entry.value)
        return Answer(version=entry.version, values=tuple(entry.values), listed=True)

    def remove(self, command: Remove) -> Answer:
        """See :class:`~discomputify_core.model.memory.Remove`."""
        old = self.by_name.pop(command.name, None)
        if old is None:
            return Answer(found=False)
        self.room.take(-old.size, -1, -len(old.values or ()))
        return Answer(value=_ref(old))

    def add(self, member: Member, command: Add) -> Answer:
        """See :class:`~discomputify_core.model.memory.Add`."""
        old = self.by_name.get(command.name)
        before = 0 if old is None else _number(command.name, old)
        try:
            number = before + command.by
        except OverflowError:
            number = math.inf
        if not (-(2**63) <= number < 2**63 if isinstance(number, int) else math.isfinite(number)):
            raise MemoryFull(
                f"Adding {command.by} to '{command.name}' would give a number that is too large.", limit="number"
            )
        owner = old.owner if old else None
        done = self.put(member, Put(command.name, Value(JSON, json.dumps(number).encode())))
        self.by_name[command.name].owner = owner
        return Answer(number=number, version=done.version)

    def append(self, command: Append) -> Answer:
        """See :class:`~discomputify_core.model.memory.Append`."""
        self.room.check(command.value)
        entry, more = self.by_name.get(command.name), OVERHEAD + command.value.size
        if entry is None:
            self.room.take(more + weight(command.name), 1, 1)
            entry = self.by_name[command.name] = Entry(0, weight(command.name), values=deque())
        else:
            _list(command.name, entry)
            self.room.take(more, items=1)
        values = _list(command.name, entry)
        values.append(command.value)
        entry.size, entry.version = entry.size + more, self._next()
        return Answer(number=len(values), version=entry.version)

    def pop(self, command: Pop) -> Answer | None:
        """See :class:`~discomputify_core.model.memory.Pop`; None where nothing is."""
        entry = self.by_name.get(command.name)
        if entry is None:
            return None
        values = _list(command.name, entry)
        value = values.popleft()
        entry.version = self._next()
        self._resize(command.name, entry, -1, value)
        if not values:
            self.remove(Remove(command.name))
        return Answer(value=value)

    def put_back(self, name: str, value: Value) -> None:
        """Make *value* the first of a list again: who popped it does not want it. It may exceed limits."""
        entry = self.by_name.get(name)
        if entry is None:
            entry = self.by_name[name] = Entry(0, weight(name), values=deque())
            self.room.size, self.room.count = self.room.size + entry.size, self.room.count + 1
        if entry.values is not None:  # a value that was put there meanwhile has replaced the whole list
            entry.values.appendleft(value)
            entry.version = self._next()
            self._resize(name, entry, 1, value)

    def _resize(self, name: str, entry: Entry, items: int, value: Value) -> None:
        size = items * (OVERHEAD + value.size)
        entry.size += size
        self.room.size, self.room.items = self.room.size + size, self.room.items + items

    def names(self, command: Names) -> Answer:
        """See :class:`~discomputify_core.model.memory.Names`."""
        found = sorted(name for name in self.by_name if name.startswith(command.prefix))
        return Answer(names=tuple(found[:MOST_NAMES]))

    def without(self, part: int) -> None:
        """Remove what goes with the attempt of *part*."""
        for name in [name for name, entry in self.by_name.items() if entry.owner == part]:
            self.remove(Remove(name))


@attrs.define
class Locks:
    """The locks of a scope that are held."""

    room: Room
    held: dict[str, Held] = attrs.field(factory=dict)
    _token: int = 0

    def take(self, member: Member, name: str, until: float, now: float) -> Answer | None:
        """Take the lock for *member*; None while another holds it."""
        if self.holder(name, now) is not None:
            return None
        self.room.take(weight(name), 1)
        self._token += 1
        self.held[name] = Held(member, self._token, until)
        return Answer(number=self._token)

    def holder(self, name: str, now: float) -> Held | None:
        """Who holds the lock; one whose lease has ended does not."""
        held = self.held.get(name)
        if held is not None and held.until <= now:
            self._free(name)
            return None
        return held

    def of(self, member: Member, name: str, token: int, now: float) -> Held:
        """The lock as held by *member* with *token*. Raises LockLost."""
        held = self.holder(name, now)
        if held is None or (held.token, held.member.attempt) != (token, member.attempt):
            raise LockLost(f"The lock '{name}' is not held any more: its lease ended.", name=name)
        return held

    def renew(self, member: Member, name: str, token: int, until: float, now: float) -> Answer:
        """See :class:`~discomputify_core.model.memory.Renew`."""
        self.held[name] = attrs.evolve(self.of(member, name, token, now), until=until)
        return Answer(number=token)

    def free(self, member: Member, name: str, token: int, now: float) -> Answer:
        """See :class:`~discomputify_core.model.memory.Unlock`."""
        self.of(member, name, token, now)
        self._free(name)
        return Answer()

    def _free(self, name: str) -> None:
        del self.held[name]
        self.room.take(-weight(name), -1)

    def without(self, part: int) -> list[str]:
        """Free what the attempt of *part* holds; the names."""
        names = [name for name, held in self.held.items() if held.member.part == part]
        for name in names:
            self._free(name)
        return names


def _ref(old: Entry | None) -> Value | None:
    return old.value if old and old.value and old.value.kind == "ref" else None


def _number(name: str, entry: Entry) -> int | float:
    """The number that an entry is. Raises WrongKind."""
    found = None
    if entry.value is not None and entry.value.kind == JSON:
        found = json.loads(entry.value.data)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise WrongKind(f"'{name}' is no number, so nothing can be added to it.", name=name)
    return found


def _list(name: str, entry: Entry) -> deque[Value]:
    """The values of a list. Raises WrongKind."""
    if entry.values is None:
        raise WrongKind(f"'{name}' is a value and no list.", name=name)
    return entry.values
