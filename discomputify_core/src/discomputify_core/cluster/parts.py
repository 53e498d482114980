"""The parts of one job, kept compactly: a byte of state per part, ranges of ready ones, outputs in arrays.

A job may have ten million parts; only those that are running or had trouble cost an object.
"""

from __future__ import annotations

from bisect import bisect
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from discomputify_core.cluster.column import Column
from discomputify_core.cluster.lifecycle import Cause, next_part_state
from discomputify_core.model.ids import NodeName
from discomputify_core.model.job import PartCounts, PartState

NOWHERE: frozenset[NodeName] = frozenset()
#: Most bytes of one part's outputs that are believed.
MAX_SIZE = 2**50


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
        #: Parts below this are not fresh; how many of the others are ready, and fresh.
        self._next = 1
        self._fresh = 0
        #: Ready parts that had been placed before, in the order in which they came back, by where they failed.
        self._again: dict[frozenset[NodeName], OrderedDict[int, None]] = {}
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
            self._again.setdefault(self._where(part), OrderedDict())[part] = None
        return new

    def take_one(self, part: int) -> None:
        """Take *part*, which is ready and was placed before; the caller moves it on."""
        where = self._where(part)
        del self._again[where][part]
        if not self._again[where]:
            del self._again[where]

    def _where(self, part: int) -> frozenset[NodeName]:
        trouble = self.trouble.get(part)
        return trouble.failed_on if trouble else NOWHERE

    def move_all(self, old: PartState, cause: Cause) -> None:
        """Change the state of all parts that are *old*."""
        if not self._counts[old]:
            return
        new = next_part_state(old, cause)
        self._states = bytearray(self._states.translate(_swap(old, new)))
        # Index 0 is no part; it stays WAITING, whatever it was translated to.
        self._states[0] = PartState.WAITING
        self._counts[new] += self._counts[old]
        if old is PartState.WAITING and new is PartState.READY:
            self._fresh = self._counts[old]
        elif old is PartState.READY:
            self._again.clear()
            self._fresh = 0
        self._counts[old] = 0

    def reopen(self) -> None:
        """All parts that are not done wait again, with budgets as if they had never been tried; their numbers go on."""
        for state in (PartState.FAILED, PartState.STOPPED):
            self.move_all(state, Cause.RESUBMITTED)
        self._next, self._fresh = 1, 0
        self.trouble = {part: Trouble(each.number) for part, each in self.trouble.items()}

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
        """How many ready parts were never placed since their job could start."""
        return self._fresh

    def take(self, where: frozenset[NodeName], count: int) -> list[int]:
        """Take up to *count* ready parts of the group *where*; the caller moves them on."""
        taken: list[int] = []
        again = self._again.get(where)
        while again and len(taken) < count:
            taken.append(again.popitem(last=False)[0])
        if again is not None and not again:
            del self._again[where]
        if not where:
            fresh = min(self._fresh, count - len(taken))
            self._fresh -= fresh
            for _ in range(fresh):
                part = self._states.index(PartState.READY, self._next)
                taken.append(part)
                self._next = part + 1
        return taken

    def save(self) -> list[Any]:
        """All of it as plain data; see :meth:`load`."""
        again = [[sorted(where), list(parts)] for where, parts in self._again.items()]
        trouble = [
            [part, each.number, each.failures, each.losses, sorted(each.failed_on)]
            for part, each in self.trouble.items()
        ]
        return [self.total, bytes(self._states), self._next, self._fresh, again, trouble]

    @classmethod
    def load(cls, plain: list[Any]) -> Parts:
        """What :meth:`save` made *plain* of."""
        total, states, following, fresh, again, trouble = plain
        parts = cls(0)
        parts.total, parts._states, parts._next, parts._fresh = total, bytearray(states), following, fresh
        parts._counts = [states.count(state) for state in PartState]
        parts._counts[PartState.WAITING] -= 1  # index 0 is no part
        parts._again = {frozenset(where): OrderedDict.fromkeys(each) for where, each in again}
        for part, number, failures, losses, failed_on in trouble:
            parts.trouble[part] = Trouble(number, failures, losses, frozenset(failed_on))
        return parts

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
    committed again gets a new position. What was committed since the job was submitted again is of another *origin*:
    another key, another program.
    """

    def __init__(self) -> None:
        self._algorithm = ""
        self._width = 0
        self._parts = Column()
        self._numbers = Column()
        self._nodes = Column()
        #: Bytes of each.
        self._sizes = Column()
        self._digests = bytearray()
        self._names: list[NodeName] = []
        self._index: dict[NodeName, int] = {}
        self.by_node: dict[NodeName, int] = {}
        #: How many parts have outputs that count, and how many bytes these are.
        self.count = 0
        self.bytes = 0
        #: The first position of each origin, and how many parts have outputs of it that count.
        self._starts = [0]
        self.by_origin = [0]

    def save(self) -> list[Any]:
        """All of it as plain data; see :meth:`load`."""
        columns = [column.save() for column in (self._parts, self._numbers, self._nodes)]
        by_node = [[name, count] for name, count in self.by_node.items()]
        origins = [list(self._starts), list(self.by_origin)]
        digests, sizes = bytes(self._digests), self._sizes.save("Q")
        return [
            self._algorithm,
            self._width,
            *columns,
            digests,
            list(self._names),
            by_node,
            self.count,
            sizes,
            *origins,
        ]

    @classmethod
    def load(cls, plain: list[Any]) -> Outputs:
        """What :meth:`save` made *plain* of."""
        outputs = cls()
        outputs._algorithm, outputs._width, parts, numbers, nodes, digests, names, by_node, outputs.count = plain[:9]
        outputs._sizes, outputs._starts, outputs.by_origin = (
            Column.load(plain[9], "Q"),
            list(plain[10]),
            list(plain[11]),
        )
        outputs._parts, outputs._numbers, outputs._nodes = map(Column.load, (parts, numbers, nodes))
        outputs._digests, outputs._names = bytearray(digests), list(names)
        outputs._index = {name: at for at, name in enumerate(names)}
        outputs.by_node = dict(by_node)
        # What was taken back has no bytes any more.
        outputs.bytes = sum(outputs._sizes)
        return outputs

    def __len__(self) -> int:
        """How many positions there are, gaps included."""
        return len(self._parts)

    def trim(self) -> None:
        """Give room back that was kept for more: nothing is to come for now."""
        for column in (self._parts, self._numbers, self._nodes, self._sizes):
            column.trim()
        self._digests = self._digests[:]

    def begin_origin(self) -> None:
        """What is committed from now on is of another origin."""
        self._starts.append(len(self._parts))
        self.by_origin.append(0)

    def origin(self, at: int) -> int:
        """Of which origin, counted from 0, the commit at position *at* is."""
        return bisect(self._starts, at) - 1

    def add(self, part: int, number: int, node: NodeName, manifest: str, size: int = 0) -> None:
        """*part*'s outputs, *size* bytes, are those of attempt *number*, whose manifest has digest *manifest*."""
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
        self._sizes.append(min(max(size, 0), MAX_SIZE))
        self.bytes += self._sizes[-1]
        self.by_origin[-1] += 1

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int, NodeName, str]]:
        """The commits that count at positions *start* to *stop*, as :meth:`row` gives them."""
        return (row for _, row in self.positions(start, stop))

    def positions(
        self, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, tuple[int, int, NodeName, str]]]:
        """As :meth:`rows`, each with its position."""
        last = len(self._parts) if stop is None else min(stop, len(self._parts))
        return ((at, self.row(at)) for at in range(start, last) if self._parts[at])

    def take_back(self, parts: Iterable[int]) -> list[tuple[int, int, NodeName, str]]:
        """The outputs of *parts* do not count any more; returns their commits, in the order in which they were made."""
        wanted = set(parts)
        at_once = [at for at, part in enumerate(self._parts) if part in wanted]
        rows = [self.row(at) for at in at_once]
        for at, (_, _, node, _) in zip(at_once, rows, strict=True):
            self._parts[at] = 0  # no part has this number
            self.bytes -= self._sizes[at]
            self._sizes[at] = 0
            self.by_origin[self.origin(at)] -= 1
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
        at = self.position(part)
        return None if at is None else self.row(at)

    def position(self, part: int) -> int | None:
        """Where the commit of *part* is, if it is done."""
        try:
            return self._parts.index(part)
        except ValueError:
            return None
