"""Rounds of collectives of one scope of the fake shared memory: who took part, results, and which are forgotten."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from discomputify_core.errors import OurBug, PartGone, RoundForgotten, RoundsDiffer
from discomputify_core.model.memory import BARRIER, BROADCAST, OVERHEAD, Answer, Meet, Value
from discomputify_testkit.fakes.memory_entries import Room, weight

#: Kind, name and number of a round.
Key = tuple[str, str, int]


def key_of(command: Meet) -> Key:
    """Which round *command* takes part in."""
    return command.kind, command.name, command.round


@attrs.define
class Result:
    """What came of a complete gather or broadcast."""

    values: tuple[Value, ...]
    #: What all have to agree on.
    agreed: tuple[str, int]
    size: int
    #: Of a broadcast: parts that have taken part in it.
    taken: set[int] = attrs.field(factory=set)


@attrs.define
class Rounds:
    """The rounds of a scope."""

    room: Room
    #: Parts of the job.
    total: int = 0
    #: Incomplete rounds: what each part brought, and what that counts.
    open: dict[Key, dict[int, Meet]] = attrs.field(factory=dict)
    results: dict[Key, Result] = attrs.field(factory=dict)
    #: Results that only parts which run again ask for, oldest first.
    history: dict[Key, None] = attrs.field(factory=dict)
    _history_size: int = 0
    #: Broadcasts that some part has still to take part in.
    _running: dict[Key, None] = attrs.field(factory=dict)
    _barriers: dict[str, int] = attrs.field(factory=dict)
    _forgotten: dict[tuple[str, str], int] = attrs.field(factory=dict)

    def take_part(self, part: int, command: Meet) -> None:
        """Bring what *command* brings, unless the round is complete."""
        key = key_of(command)
        if self._complete(key):
            return
        brought = self.open.get(key, {})
        for other, meet in brought.items():
            if other != part:
                self._agree(command, (meet.sign, meet.root))
        if command.value is None and (command.kind == "gather" or (command.kind, command.root) == (BROADCAST, part)):
            raise OurBug(f"A part took part in the {command.kind} '{command.name}' without a value.")
        if command.value is not None:
            self.room.check(command.value)
        self.room.take(_size(command) - (_size(brought[part]) if part in brought else 0))
        brought[part] = command
        self.open[key] = brought

    def outcome(self, part: int, command: Meet, gone: Mapping[int, str]) -> Answer | None:
        """What *part*, which has taken part, is answered; None while it has to wait."""
        key = key_of(command)
        if not self._complete(key):
            missing = self.missing(key, command.root)
            self._look_for_gone(command, missing, gone)
            if missing:
                return None
            self._close(key, command.root)
        if command.kind == BARRIER:
            return Answer()
        result = self.results.get(key)
        if result is None:
            raise RoundForgotten(
                f"The result of round {command.round} of the {command.kind} '{command.name}' is not kept any more.",
                name=command.name,
            )
        self._agree(command, result.agreed)
        if command.kind == BROADCAST:
            result.taken.add(part)
            return Answer(value=result.values[0])
        return Answer(values=result.values)

    def missing(self, key: Key, root: int) -> list[int]:
        """Parts that have not taken part in an incomplete round, as far as it waits for them."""
        brought = self.open.get(key, {})
        wanted = [root] if key[0] == BROADCAST else range(1, self.total + 1)
        return [part for part in wanted if part not in brought]

    def _complete(self, key: Key) -> bool:
        kind, name, number = key
        if kind == BARRIER:
            return number <= self._barriers.get(name, 0)
        return key in self.results or number <= self._forgotten.get((kind, name), 0)

    @staticmethod
    def _agree(command: Meet, agreed: tuple[str, int]) -> None:
        if agreed != (command.sign, command.root):
            raise RoundsDiffer(
                f"Parts take part in round {command.round} of '{command.name}' with different things: "
                f"{agreed[0] or 'nothing'!r} and {command.sign or 'nothing'!r}, roots {agreed[1]} and {command.root}.",
                name=command.name,
            )

    @staticmethod
    def _look_for_gone(command: Meet, missing: list[int], gone: Mapping[int, str]) -> None:
        part = next((part for part in missing if part in gone), None)
        if part is not None:
            raise PartGone(
                f"Part {part} cannot come to the {command.kind} '{command.name}' any more: {gone[part]}",
                part=part,
                name=command.name,
            )

    def _close(self, key: Key, root: int) -> None:
        kind, name, number = key
        brought = self.open.pop(key)
        self.room.take(-sum(_size(meet) for meet in brought.values()))
        if kind == BARRIER:
            self._barriers[name] = max(number, self._barriers.get(name, 0))
            return
        parts = [root] if kind == BROADCAST else sorted(brought)
        values = tuple(value for part in parts if (value := brought[part].value) is not None)
        size = weight(name) + sum(value.size + OVERHEAD for value in values)
        self.results[key] = Result(values, (brought[parts[0]].sign, root), size)
        if kind == BROADCAST:
            self.room.size += size  # it was counted while it was brought
            self._running[key] = None
        else:
            self._keep(key)

    def _keep(self, key: Key) -> None:
        self.history[key] = None
        self._history_size += self.results[key].size

    def trim(self, gone: Mapping[int, str]) -> None:
        """Forget the oldest results that are too many, after everybody who waited has been answered."""
        for key in list(self._running):
            result = self.results[key]
            if len(result.taken | gone.keys()) >= self.total:
                del self._running[key]
                self.room.size -= result.size
                self._keep(key)
        limits = self.room.limits
        while len(self.history) > limits.history_rounds or self._history_size > limits.history_bytes:
            key = next(iter(self.history))
            del self.history[key]
            self._history_size -= self.results.pop(key).size
            kind, name, number = key
            self._forgotten[kind, name] = max(number, self._forgotten.get((kind, name), 0))


def _size(meet: Meet) -> int:
    return weight(meet.name) + (meet.value.size if meet.value else 0)
