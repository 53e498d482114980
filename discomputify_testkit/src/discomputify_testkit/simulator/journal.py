"""The simulated master's journal: bytes of records, durable a moment after they were appended, and a snapshot.

It fails as a disk does: what was not durable when the master died is lost, or a part of it is not. Not here: the real
files, which have tests of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import msgpack

from discomputify_core.cluster import saving
from discomputify_core.cluster.machine import Cluster
from discomputify_core.cluster.state import State
from discomputify_core.model.records import decode
from discomputify_testkit.simulator.agenda import Agenda

#: Seconds until what was appended is on the disk.
SYNC = 0.005

Entry = tuple["bytes | None", Callable[[], None]]


def packed(state: State) -> bytes:
    """All that a snapshot of *state* holds."""
    data: bytes = msgpack.packb(saving.save(state))
    return data


class Journal:
    """What survives the master."""

    def __init__(self, agenda: Agenda) -> None:
        #: Until when the disk is full.
        self.full_until = 0.0
        self.snapshot = packed(State())
        self.lines: list[bytes] = []
        #: How many lines were ever durable.
        self.durable = 0
        self._agenda = agenda
        self._waiting: list[Entry] = []
        self._writing: list[Entry] = []
        #: How many of those that are durable were not told so yet.
        self._telling = 0
        self._starts = 0

    @property
    def busy(self) -> bool:
        """Whether something is not durable yet, or what follows from it was not done yet."""
        return bool(self._waiting or self._writing or self._telling)

    def append(self, line: bytes | None, then: Callable[[], None]) -> None:
        """Write *line* down, if there is one, and call *then* once it and all before it are durable."""
        if line is None and not (self._waiting or self._writing):
            then()
            return
        self._waiting.append((line, then))
        if not self._writing:
            self._write()

    def _write(self) -> None:
        self._writing, self._waiting = self._waiting, []
        done = max(self._agenda.now + SYNC, self.full_until)
        self._agenda.at(done, self._written, self._starts)

    def _written(self, starts: int) -> None:
        if starts != self._starts:
            return
        entries, self._writing = self._writing, []
        self._keep([line for line, _ in entries if line is not None])
        if self._waiting:
            self._write()
        self._telling += len(entries)
        for _, then in entries:
            self._telling -= 1
            then()

    def crash(self, share: float) -> None:
        """The master dies: of what was being written, the first *share* is on the disk, and nobody was told."""
        lines = [line for line, _ in self._writing if line is not None]
        if self.full_until <= self._agenda.now:
            self._keep(lines[: round(share * len(lines))])
        self._writing, self._waiting = [], []
        self._starts += 1

    def _keep(self, lines: list[bytes]) -> None:
        self.lines.extend(lines)
        self.durable += len(lines)

    def keep(self, snapshot: bytes) -> None:
        """*snapshot* takes the place of all lines; nothing may be under way."""
        self.snapshot, self.lines = snapshot, []

    def recover(self, begin: Callable[[State], Cluster]) -> Cluster:
        """What another master begins with; *begin* makes a cluster of the state in the snapshot."""
        cluster = begin(saving.load(msgpack.unpackb(self.snapshot, strict_map_key=False)))
        for line in self.lines:
            cluster.replay(decode(line))
        return cluster
