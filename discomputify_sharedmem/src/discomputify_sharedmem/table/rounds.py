"""Rounds of collectives in one scope: what parts bring, when a round is complete, and what is answered.

Not here: waiting (scope.py), results of complete rounds (results.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from discomputify_core.errors import PartGone, PeerBroke
from discomputify_core.model.memory import BARRIER, BROADCAST, OVERHEAD, Answer, Meet, Value
from discomputify_sharedmem.table.results import Result, Results, RoundKey, agree
from discomputify_sharedmem.table.room import Room, weight


@attrs.define
class Open:
    """A round that is not complete."""

    key: RoundKey
    #: What parts brought; of a broadcast, who wants to hear it.
    brought: dict[int, Meet] = attrs.field(factory=dict)
    #: Bytes that this counts.
    size: int = 0
    #: Parts among *brought* that are gone.
    gone: int = 0

    @property
    def root(self) -> int:
        """The root that all agree on."""
        return next(iter(self.brought.values())).root


class Rounds:
    """The rounds of a scope.

    Args:
        gone: parts of which nobody waits any more, and why; changed by its owner, who says so here afterwards.
    """

    def __init__(self, total: int, room: Room, gone: Mapping[int, str]) -> None:
        self.open: dict[RoundKey, Open] = {}
        self.results = Results(total, room, gone)
        self._total = total
        self._room = room
        self._gone = gone

    def meet(self, part: int, command: Meet) -> Answer | None:
        """Let *part* take part; None where it has to wait.

        Raises:
            PartGone, RoundsDiffer, RoundForgotten, MemoryFull: see
                :meth:`~discomputify_core.interfaces.memory.SharedMemory.do`.
        """
        key = (command.kind, command.name, command.round)
        found = self.open.get(key)
        if found is None:
            answer = self.results.find(part, command)
            if answer is not None:
                return answer
        if command.value is None and (command.kind != BARRIER) and (command.kind != BROADCAST or command.root == part):
            raise PeerBroke(f"Part {part} took part in a {command.kind} and brought nothing.", clause="memory")
        opened = found or Open(key)
        self._agree(part, command, opened)
        self._look_for_gone(part, command, opened)
        return self._bring(part, command, opened)

    def _bring(self, part: int, command: Meet, opened: Open) -> Answer | None:
        last = part == command.root if command.kind == BROADCAST else self._is_last(part, opened)
        size = weight(command.name) + (0 if command.value is None else self._room.check(command.value))
        before = opened.brought.get(part)
        more = size - (0 if before is None else _size(before))
        if command.kind == BROADCAST and last:
            return self._tell(part, command, opened)
        self.results.check_name(command.kind, command.name)
        self._room.take(more)
        opened.brought[part] = command
        opened.size += more
        self.open[opened.key] = opened
        return self._close(opened) if last else None

    def _is_last(self, part: int, opened: Open) -> bool:
        return len(opened.brought) + (part not in opened.brought) == self._total

    def _tell(self, part: int, command: Meet, opened: Open) -> Answer:
        """A broadcast's root has come: its result counts like an entry for as long as parts have not heard it."""
        assert command.value is not None
        self.results.check_name(command.kind, command.name)
        size = weight(command.name) + OVERHEAD + command.value.size
        self._room.take(size - opened.size)
        self.open.pop(opened.key, None)
        answer = Answer(True, value=command.value)
        return self.results.tell(opened.key, Result(answer, (command.sign, command.root), size, {part}))

    def _close(self, opened: Open) -> Answer:
        """A barrier or gather is complete."""
        del self.open[opened.key]
        self._room.take(-opened.size)
        kind, name, number = opened.key
        if kind == BARRIER:
            self.results.passed(name, number)
            return Answer()
        first = next(iter(opened.brought.values()))
        values: list[Value] = []
        for part in sorted(opened.brought):
            value = opened.brought[part].value
            assert value is not None
            values.append(value)
        size = weight(name) + sum(value.size + OVERHEAD for value in values)
        answer = Answer(True, values=tuple(values))
        self.results.keep(opened.key, Result(answer, (first.sign, first.root), size))
        return answer

    def heard(self, key: RoundKey, part: int) -> None:
        """*part*, which waited for the round, was answered."""
        self.results.heard(key, part)

    def missing(self, key: RoundKey) -> Iterator[int]:
        """Parts that an open round waits for."""
        opened = self.open[key]
        if key[0] == BROADCAST:
            return iter((opened.root,))
        return (part for part in range(1, self._total + 1) if part not in opened.brought)

    def _agree(self, part: int, command: Meet, opened: Open) -> None:
        """All others agree with each other: one of them stands for all."""
        for other, meet in opened.brought.items():
            if other != part:
                agree(command, (meet.sign, meet.root))
                return

    def _look_for_gone(self, part: int, command: Meet, opened: Open) -> None:
        if command.kind == BROADCAST:
            if command.root != part and command.root in self._gone:
                raise self.part_gone(command, command.root)
        elif len(self._gone) > opened.gone:
            raise self.part_gone(command, next(each for each in self._gone if each not in opened.brought))

    def part_gone(self, command: Meet, part: int) -> PartGone:
        """The error for those who wait for *part*, which is gone."""
        return PartGone(
            f"Part {part} can never come to round {command.round} of the {command.kind} '{command.name}': "
            f"{self._gone[part]}",
            part=part,
            name=command.name,
        )

    def went(self, part: int) -> list[RoundKey]:
        """*part* is gone now and was not before; the open rounds that wait for it in vain."""
        vain = []
        for key, opened in self.open.items():
            if part in opened.brought:
                opened.gone += 1
            elif key[0] != BROADCAST or opened.root == part:
                vain.append(key)
        self.results.went(part)
        return vain

    def came_back(self, part: int) -> None:
        """*part* was gone, and a newer attempt of it has come."""
        for opened in self.open.values():
            if part in opened.brought:
                opened.gone -= 1
        self.results.came_back(part)


def _size(meet: Meet) -> int:
    return weight(meet.name) + (0 if meet.value is None else meet.value.size)
