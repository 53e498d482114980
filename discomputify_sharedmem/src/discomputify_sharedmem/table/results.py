"""Results of complete rounds in one scope: kept, within bounds, for parts that come later or run again.

Not here: rounds that are not complete (rounds.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from discomputify_core.errors import RoundForgotten, RoundsDiffer
from discomputify_core.model.memory import BARRIER, Answer, Meet
from discomputify_sharedmem.table.room import Room

#: Kind, name and number of a round.
RoundKey = tuple[str, str, int]


@attrs.define
class Result:
    """What came of a complete gather or broadcast."""

    answer: Answer
    #: Sign and root that all have to agree on.
    agreed: tuple[str, int]
    #: Bytes that it counts.
    size: int
    #: Of a broadcast that somebody has still to hear: parts that have.
    heard: set[int] = attrs.field(factory=set)
    #: How many others are gone and never will.
    gone: int = 0


class Results:
    """See the module; *gone* as for :class:`~discomputify_sharedmem.table.rounds.Rounds`."""

    def __init__(self, total: int, room: Room, gone: Mapping[int, str]) -> None:
        self._total = total
        self._room = room
        self._gone = gone
        #: By kind and name: the last barrier that was complete; the last round whose result is forgotten.
        self._last: dict[tuple[str, str], int] = {}
        #: Broadcasts that somebody has still to hear: they count like entries.
        self._running: dict[RoundKey, Result] = {}
        #: The others, oldest first, and their bytes.
        self._history: dict[RoundKey, Result] = {}
        self._size = 0

    def find(self, part: int, command: Meet) -> Answer | None:
        """What *part* is answered if the round is complete; None if it is not.

        Raises:
            RoundForgotten: its result is not kept any more.
            RoundsDiffer: the others took part with something else.
        """
        kind, name, number = key = (command.kind, command.name, command.round)
        result = self._running.get(key) or self._history.get(key)
        if result is not None:
            agree(command, result.agreed)
            self.heard(key, part)
            return result.answer
        if number > self._last.get((kind, name), 0):
            return None
        if kind == BARRIER:
            return Answer()
        raise RoundForgotten(
            f"The result of round {number} of the {kind} '{name}' is not kept any more: the limits for results are "
            'history_bytes and history_rounds in the section "sharedmem" of the conf of shared_mem_node.',
            name=name,
        )

    def check_name(self, kind: str, name: str) -> None:
        """Refuse a further name where there are too many.

        Raises:
            MemoryFull: there are.
        """
        if (kind, name) not in self._last:
            self._room.check_round_names(len(self._last))
            self._last[kind, name] = 0

    def passed(self, name: str, number: int) -> None:
        """A barrier is complete."""
        self._last[BARRIER, name] = max(number, self._last.get((BARRIER, name), 0))

    def keep(self, key: RoundKey, result: Result) -> None:
        """Keep a result that nobody has to hear; it is forgotten when newer ones fill the history."""
        self._history[key] = result
        self._size += result.size
        limits = self._room.limits
        while self._size > limits.history_bytes or len(self._history) > limits.history_rounds:
            kind, name, number = oldest = next(iter(self._history))
            self._size -= self._history.pop(oldest).size
            self._last[kind, name] = max(number, self._last.get((kind, name), 0))

    def tell(self, key: RoundKey, result: Result) -> Answer:
        """Keep the result of a broadcast, whose room is taken already, until all have heard it."""
        result.gone = len(self._gone)
        self._running[key] = result
        self._settle(key, result)
        return result.answer

    def heard(self, key: RoundKey, part: int) -> None:
        """*part* was answered."""
        result = self._running.get(key)
        if result is not None:
            result.heard.add(part)
            self._settle(key, result)

    def _settle(self, key: RoundKey, result: Result) -> None:
        if len(result.heard) + result.gone >= self._total:
            del self._running[key]
            self._room.take(-result.size)
            result.heard = set()
            self.keep(key, result)

    def went(self, part: int) -> None:
        """*part* is gone now and was not before."""
        for key, result in list(self._running.items()):
            if part not in result.heard:
                result.gone += 1
                self._settle(key, result)

    def came_back(self, part: int) -> None:
        """*part* was gone, and a newer attempt of it has come."""
        for result in self._running.values():
            if part not in result.heard:
                result.gone -= 1


def agree(command: Meet, agreed: tuple[str, int]) -> None:
    """Check that *command* is as *agreed*: sign and root.

    Raises:
        RoundsDiffer: it is not.
    """
    if agreed != (command.sign, command.root):
        sign, root = agreed
        things = f"roots {root} and {command.root}" if sign == command.sign else f"{sign!r} and {command.sign!r}"
        raise RoundsDiffer(
            f"Parts take part in round {command.round} of the {command.kind} '{command.name}' with different things: "
            f"{things}.",
            name=command.name,
        )
