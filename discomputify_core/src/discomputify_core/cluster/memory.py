"""What the master knows of a job's shared memory: who uses it, in which table, and what is to be told to it.

Data, and small questions to it. Not here: what follows from a loss (on_memory.py), what the memory holds (a plugin's
business).
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from discomputify_core.cluster.parts import Trouble
from discomputify_core.model.commands import TellMemory
from discomputify_core.model.memory import Over, Scope

#: Most ends of attempts in one command.
MOST_OVER = 5000


@attrs.define
class JobMemory:
    """The shared memory of one generation of a job, as far as the master has to know it."""

    #: Which table it is in; "" while that is not known.
    table: str = ""
    #: Whether a part has used it.
    used: bool = False
    #: Whether its table knows who was over when the first part used it: from then on it is told of every end.
    told: bool = False
    #: What is to be told at the end of this turn.
    over: list[Over] = attrs.field(factory=list)
    #: One byte per part: whether it is done and used this memory.
    done_parts: bytearray = attrs.field(factory=bytearray)
    #: What is remembered of the troubles of such parts: they may have to run again.
    trouble: dict[int, Trouble] = attrs.field(factory=dict)

    def note_done(self, part: int, total: int, trouble: Trouble | None) -> None:
        """*part*, which used this memory, is done; *trouble* it had before."""
        if not self.done_parts:
            self.done_parts = bytearray(total + 1)
        self.done_parts[part] = 1
        if trouble is not None:
            self.trouble[part] = trouble

    def done(self) -> Iterator[int]:
        """Done parts that used this memory, in order."""
        part = self.done_parts.find(1)
        while part != -1:
            yield part
            part = self.done_parts.find(1, part + 1)

    def any_done(self) -> bool:
        """Whether a done part used this memory."""
        return 1 in self.done_parts

    def trouble_of(self, part: int) -> Trouble:
        """What is remembered of a done part: its failures and losses, not where it failed."""
        before = self.trouble.get(part)
        return Trouble() if before is None else Trouble(before.number, before.failures, before.losses)

    def may_be_in(self, table: str) -> bool:
        """Whether it is in *table*, as far as is known."""
        return not self.table or not table or self.table == table

    def forget_table(self) -> None:
        """Its table is gone, and with it nothing that a part still needs."""
        self.table, self.told = "", False
        self.over.clear()

    def take_over(self, scope: Scope, total: int) -> Iterator[TellMemory]:
        """What is to be told, as commands of a bounded size; nothing is left to be told."""
        over, self.over = self.over, []
        for first in range(0, len(over), MOST_OVER):
            yield TellMemory(scope, total, tuple(over[first : first + MOST_OVER]))
