"""Entries of a scope: values, numbers and lists under names, and what is done to them at once.

Not here: waiting for them (scope.py), locks, rounds.
"""

from __future__ import annotations

import math
import re
from collections import deque

import attrs

from discomputify_core.errors import MemoryFull, WrongKind
from discomputify_core.model.memory import (
    JSON,
    OVERHEAD,
    REF,
    Add,
    Answer,
    Append,
    Get,
    Member,
    Names,
    Put,
    Remove,
    Value,
)
from discomputify_sharedmem.table.room import Room, weight
from discomputify_sharedmem.table.sorted_names import SortedNames

#: Most names that one answer lists.
MOST_NAMES = 10_000
#: Whole numbers that may come of adding; more digits than this in a text are no number to add to.
LEAST, MOST = -(2**63), 2**63 - 1
MOST_DIGITS = 400

_NUMBER = re.compile(rb"(-?\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?")


@attrs.define
class Entry:
    """A value, or the values of a list."""

    version: int
    #: Bytes that it counts.
    size: int
    value: Value | None = None
    values: deque[Value] | None = None
    #: The part with whose attempt it goes.
    owner: int | None = None
    #: What *value* says, once it was added to.
    number: int | float | None = None


class Entries:
    """The entries of a scope."""

    def __init__(self, room: Room) -> None:
        self.by_name: dict[str, Entry] = {}
        self._room = room
        self._names = SortedNames(self.by_name.keys())
        self._owned: dict[int, set[str]] = {}
        #: The last version given to any entry: one that is removed and made again never gets an old one.
        self._version = 0

    def put(self, member: Member, command: Put) -> Answer:
        """See :class:`~discomputify_core.model.memory.Put`."""
        old = self.by_name.get(command.name)
        version = 0 if old is None else old.version
        if command.version is not None and command.version != version:
            return Answer(False, version)
        self._set(command.name, old, command.value, member.part if command.ephemeral else None)
        return Answer(True, self._version, value=_ref(old))

    def _set(self, name: str, old: Entry | None, value: Value, owner: int | None) -> Entry:
        size = weight(name) + self._room.check(value)
        if old is None:
            self._room.take(size, 1)
            self._names.came(name)
        else:
            self._room.take(size - old.size, 0, 0 if old.values is None else -len(old.values))
            self._disown(name, old)
        self._version += 1
        made = self.by_name[name] = Entry(self._version, size, value)
        if owner is not None:
            made.owner = owner
            self._owned.setdefault(owner, set()).add(name)
        return made

    def _disown(self, name: str, entry: Entry) -> None:
        if entry.owner is not None:
            names = self._owned[entry.owner]
            names.discard(name)
            if not names:
                del self._owned[entry.owner]

    def get(self, command: Get) -> Answer | None:
        """See :class:`~discomputify_core.model.memory.Get`; None where nothing is."""
        entry = self.by_name.get(command.name)
        if entry is None:
            return None
        if entry.values is None:
            return Answer(True, entry.version, value=entry.value)
        return Answer(True, entry.version, values=tuple(entry.values), listed=True)

    def remove(self, command: Remove) -> Answer:
        """See :class:`~discomputify_core.model.memory.Remove`."""
        old = self.by_name.get(command.name)
        if old is None:
            return Answer(False)
        self._drop(command.name, old)
        return Answer(True, value=_ref(old))

    def _drop(self, name: str, entry: Entry) -> None:
        del self.by_name[name]
        self._names.went(name)
        self._room.take(-entry.size, -1, 0 if entry.values is None else -len(entry.values))
        self._disown(name, entry)

    def add(self, command: Add) -> Answer:
        """See :class:`~discomputify_core.model.memory.Add`."""
        old = self.by_name.get(command.name)
        number = _sum(command, 0 if old is None else _number(command.name, old))
        value = Value(JSON, repr(number).encode())
        made = self._set(command.name, old, value, None if old is None else old.owner)
        made.number = number
        return Answer(True, made.version, number)

    def append(self, command: Append) -> Answer:
        """See :class:`~discomputify_core.model.memory.Append`."""
        more = OVERHEAD + self._room.check(command.value)
        entry = self.by_name.get(command.name)
        values = None if entry is None else _list(command.name, entry)
        if entry is None or values is None:
            self._room.take(more + weight(command.name), 1, 1)
            entry, values = self._new_list(command.name)
        else:
            self._room.take(more, 0, 1)
        values.append(command.value)
        self._changed(entry, more)
        return Answer(True, entry.version, len(values))

    def _new_list(self, name: str) -> tuple[Entry, deque[Value]]:
        values: deque[Value] = deque()
        entry = self.by_name[name] = Entry(0, weight(name), values=values)
        self._names.came(name)
        return entry, values

    def _changed(self, entry: Entry, more: int) -> None:
        self._version += 1
        entry.version = self._version
        entry.size += more

    def pop(self, name: str) -> Answer | None:
        """See :class:`~discomputify_core.model.memory.Pop`; None where nothing is."""
        entry = self.by_name.get(name)
        if entry is None:
            return None
        values = _list(name, entry)
        value = values.popleft()
        less = OVERHEAD + value.size
        self._room.take(-less, 0, -1)
        self._changed(entry, -less)
        if not values:
            self._drop(name, entry)
        return Answer(True, value=value)

    def put_back(self, name: str, value: Value) -> None:
        """Make *value*, which was popped and is not wanted, the first of its list again.

        It may exceed limits: it was within them, and is not lost. A value that was set meanwhile has replaced the
        whole list, and so this one, too.
        """
        entry = self.by_name.get(name)
        if entry is None:
            entry, _ = self._new_list(name)
            self._room.size += entry.size
            self._room.count += 1
        if entry.values is None:
            return
        entry.values.appendleft(value)
        more = OVERHEAD + value.size
        self._room.size += more
        self._room.items += 1
        self._changed(entry, more)

    def names(self, command: Names) -> Answer:
        """See :class:`~discomputify_core.model.memory.Names`."""
        return Answer(True, names=self._names.starting(command.prefix, MOST_NAMES))

    def without(self, part: int) -> None:
        """Remove what goes with the attempt of *part*."""
        for name in list(self._owned.get(part, ())):
            self._drop(name, self.by_name[name])


def _ref(old: Entry | None) -> Value | None:
    return None if old is None or old.value is None or old.value.kind != REF else old.value


def _number(name: str, entry: Entry) -> int | float:
    """The number that an entry is.

    Raises:
        WrongKind: it is none.
    """
    if entry.number is not None:
        return entry.number
    value = entry.value
    if value is not None and value.kind == JSON and len(value.data) <= MOST_DIGITS:
        match = _NUMBER.fullmatch(value.data)
        if match:
            return int(value.data) if match.end(1) == len(value.data) else float(value.data)
    kind = "a list" if value is None else f"of kind {value.kind!r}"
    raise WrongKind(f"'{name}' is {kind} and no number, so nothing can be added to it.", name=name)


def _sum(command: Add, before: int | float) -> int | float:
    """Raises MemoryFull where the sum is no number that can be kept."""
    try:
        number = before + command.by
    except OverflowError:  # a whole number that no float can hold, and a float
        number = math.inf
    if not (LEAST <= number <= MOST if isinstance(number, int) else math.isfinite(number)):
        raise MemoryFull(
            f"Adding {command.by} to '{command.name}' would give a number that is too large: whole numbers have at "
            "most 64 bits with their sign. Nothing was changed.",
            limit="number",
        )
    return number


def _list(name: str, entry: Entry) -> deque[Value]:
    """The values of a list.

    Raises:
        WrongKind: it is none.
    """
    if entry.values is None:
        raise WrongKind(f"'{name}' is a value and no list.", name=name)
    return entry.values
