"""The parts of one job, kept compactly: a byte of state per part, ranges of ready ones, outputs in arrays.

A job may have ten million parts; only those that are running or had trouble cost an object.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator

import attrs

from discomputify_core.cluster.lifecycle import Cause, next_part_state
from discomputify_core.model.ids import NodeName
from discomputify_core.model.job import PartCounts, PartState

NOWHERE: frozenset[NodeName] = frozenset()


@attrs.define
class Trouble:
    """What is remembered of a part whose first attempt did not end well."""

    number: int = 1
    failures: int = 0
    losses: int = 0
    failed_on: frozenset[NodeName] = NOWHERE


class Parts:
    """States of parts 1 to *total*, and which of them are ready, alike ones together."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._states = bytearray(total + 1)
        self._counts = [0] * len(PartState)
        self._counts[PartState.WAITING] = total
        self._fresh = 1
        self._again: dict[frozenset[NodeName], deque[int]] = {}
        self.trouble: dict[int, Trouble] = {}

    def state(self, part: int) -> PartState:
        """The state of *part*."""
        return PartState(self._states[part])

    def counts(self) -> PartCounts:
        """How many parts are in each state."""
        return PartCounts(self.total, *self._counts)

    def count(self, state: PartState) -> int:
        """How many parts are in *state*."""
        return self._counts[state]

    def move(self, part: int, cause: Cause) -> PartState:
        """Change the state of *part*; returns the new one."""
        old = PartState(self._states[part])
        new = next_part_state(old, cause)
        self._states[part] = new
        self._counts[old] -= 1
        self._counts[new] += 1
        if new is PartState.READY and old is not PartState.WAITING:
            trouble = self.trouble.get(part)
            where = trouble.failed_on if trouble else NOWHERE
            self._again.setdefault(where, deque()).append(part)
        return new

    def move_all(self, old: PartState, cause: Cause) -> None:
        """Change the state of all parts that are *old*."""
        if not self._counts[old]:
            return
        new = next_part_state(old, cause)
        self._states = bytearray(self._states.translate(_swap(old, new)))
        # Index 0 is no part; it stays WAITING, whatever it was translated to.
        self._states[0] = PartState.WAITING
        self._counts[new] += self._counts[old]
        self._counts[old] = 0
        if old is PartState.READY:
            self._again.clear()
            self._fresh = self.total + 1

    def ready_groups(self) -> Iterator[tuple[frozenset[NodeName], int]]:
        """Ready parts by the nodes they failed on, and how many: those that had trouble first."""
        if not self._counts[PartState.READY]:
            return
        for where, parts in self._again.items():
            if parts:
                yield where, len(parts) + (0 if where else self.fresh)
        if self.fresh and not self._again.get(NOWHERE):
            yield NOWHERE, self.fresh

    @property
    def fresh(self) -> int:
        """How many ready parts were never placed."""
        return self.total + 1 - self._fresh

    def take(self, where: frozenset[NodeName], count: int) -> list[int]:
        """Take up to *count* ready parts of the group *where*; the caller moves them on."""
        taken: list[int] = []
        again = self._again.get(where)
        while again and len(taken) < count:
            taken.append(again.popleft())
        if again is not None and not again:
            del self._again[where]
        if not where:
            stop = min(self._fresh + count - len(taken), self.total + 1)
            taken.extend(range(self._fresh, stop))
            self._fresh = stop
        return taken

    def having(self, state: PartState, first: int = 1) -> Iterator[int]:
        """Parts that are in *state*, from *first* on."""
        at = self._states.find(state, first)
        while at != -1:
            yield at
            at = self._states.find(state, at + 1)


def _swap(old: int, new: int) -> bytes:
    table = bytearray(range(256))
    table[old] = new
    return bytes(table)


class Outputs:
    """Which attempt's manifest counts for each done part, in the order of commits.

    Positions never change, since clients page by them: outputs that are taken back leave a gap, and a part that is
    committed again gets a new position.
    """

    def __init__(self) -> None:
        self._algorithm = ""
        self._width = 0
        self._parts = array("I")
        self._numbers = array("I")
        self._nodes = array("I")
        self._digests = bytearray()
        self._names: list[NodeName] = []
        self._index: dict[NodeName, int] = {}
        self.by_node: dict[NodeName, int] = {}
        #: How many parts have outputs that count.
        self.count = 0

    def __len__(self) -> int:
        """How many positions there are, gaps included."""
        return len(self._parts)

    def add(self, part: int, number: int, node: NodeName, manifest: str) -> None:
        """*part*'s outputs are those of its attempt *number*, whose manifest has digest *manifest*."""
        algorithm, _, text = manifest.partition(":")
        raw = bytes.fromhex(text)
        if not self._width:
            self._algorithm, self._width = algorithm, len(raw)
        self._parts.append(part)
        self._numbers.append(number)
        if node not in self._index:
            self._index[node] = len(self._names)
            self._names.append(node)
        self._nodes.append(self._index[node])
        self._digests += raw
        self.by_node[node] = self.by_node.get(node, 0) + 1
        self.count += 1

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int, NodeName, str]]:
        """The commits that count at positions *start* to *stop*, as :meth:`row` gives them."""
        last = len(self._parts) if stop is None else min(stop, len(self._parts))
        return (self.row(at) for at in range(start, last) if self._parts[at])

    def take_back(self, parts: Iterable[int]) -> list[tuple[int, int, NodeName, str]]:
        """The outputs of *parts* do not count any more; returns their commits, in the order in which they were made."""
        wanted = set(parts)
        at_once = [at for at, part in enumerate(self._parts) if part in wanted]
        rows = [self.row(at) for at in at_once]
        for at, (_, _, node, _) in zip(at_once, rows, strict=True):
            self._parts[at] = 0  # no part has this number
            self.by_node[node] -= 1
            if not self.by_node[node]:
                del self.by_node[node]
        self.count -= len(rows)
        return rows

    def fits(self, manifest: str) -> bool:
        """Whether *manifest* is a digest like those of the parts before."""
        algorithm, _, text = manifest.partition(":")
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            return False
        return bool(raw) and (not self._width or (algorithm, len(raw)) == (self._algorithm, self._width))

    def row(self, at: int) -> tuple[int, int, NodeName, str]:
        """The commit at position *at*: part (0 if it was taken back), attempt number, node, manifest."""
        raw = self._digests[at * self._width : (at + 1) * self._width]
        manifest = f"{self._algorithm}:{raw.hex()}"
        return self._parts[at], self._numbers[at], self._names[self._nodes[at]], manifest

    def find(self, part: int) -> tuple[int, int, NodeName, str] | None:
        """The commit of *part*, if it is done."""
        try:
            return self.row(self._parts.index(part))
        except ValueError:
            return None
