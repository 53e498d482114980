"""What is counted while a simulation runs: time that counted, time that did not, and what each node ran when."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from discomputify_core.model.ids import AttemptId
from discomputify_core.model.job import End

if TYPE_CHECKING:
    from discomputify_testkit.simulator.node import Run, SimNode
    from discomputify_testkit.simulator.simulation import Simulation

#: A bar of the chart: node, CPUs, from when to when, and how it ended.
Span = tuple[str, int, float, float, str]


class Figures:
    """The counts of one simulation."""

    def __init__(self, world: Simulation) -> None:
        self._agenda = world.agenda
        #: Slot-seconds that attempts took, and of those the ones whose outputs count.
        self.taken = 0.0
        self.useful = 0.0
        self.ends: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.spans: list[Span] = []
        self._done: dict[AttemptId, float] = {}

    def ran(self, node: SimNode, run: Run, end: End) -> None:
        """An attempt has ended."""
        taken = self._add(node, run, end.value)
        if end is End.DONE:
            self._done[run.order.attempt] = taken

    def lost(self, node: SimNode, run: Run) -> None:
        """An attempt is gone with its node."""
        self._add(node, run, End.LOST.value)

    def _add(self, node: SimNode, run: Run, end: str) -> float:
        cpus, now = run.order.spec.request.cpus, self._agenda.now
        taken = (now - run.began) * cpus
        self.taken += taken
        self.ends[end] += 1
        self.spans.append((node.plan.name, cpus, run.began, now, end))
        return taken

    def counts(self, attempt: AttemptId) -> None:
        """The outputs of an attempt are those of its part."""
        self.useful += self._done.pop(attempt, 0.0)
