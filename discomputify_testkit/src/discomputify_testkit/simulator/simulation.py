"""One simulation: a scenario, played in virtual time until all jobs have ended, or a promise is broken."""

from __future__ import annotations

import copy
import functools
from collections import deque
from collections.abc import Callable, Sequence

from discomputify_core.cluster.machine import Cluster, Settings
from discomputify_core.cluster.state import State
from discomputify_core.cluster.why import why_job
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model import events as ev
from discomputify_core.model.commands import Command, JobChanged, StartPart
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.plugins.manager import Plugins
from discomputify_core.plugins.selection import select
from discomputify_testkit.simulator.agenda import Agenda
from discomputify_testkit.simulator.breach import Breach
from discomputify_testkit.simulator.checks import Checks
from discomputify_testkit.simulator.client import SimClient
from discomputify_testkit.simulator.faults import play
from discomputify_testkit.simulator.figures import Figures
from discomputify_testkit.simulator.master import SimMaster
from discomputify_testkit.simulator.node import SimNode
from discomputify_testkit.simulator.result import Result, result_of
from discomputify_testkit.simulator.scenario import JobPlan, Scenario

#: Virtual seconds after the last fault within which everything has to end, beside what the work takes many times over.
PATIENCE, TIMES = 3600.0, 20
#: Virtual seconds that what is left over has, once all jobs have ended.
SETTLE = 120.0
#: Lines that are kept of what happened.
LINES = 60


class Simulation:
    """One simulation.

    Args:
        scenario: all that happens follows from it.
        policy: makes a policy; by default the plugin that the scenario names.
        settings: of the cluster.
        trace: whether to keep lines about what happened last.
        kind: the class of the cluster, for tests of this simulator with a broken one.
    """

    def __init__(
        self,
        scenario: Scenario,
        policy: Callable[[], Scheduler] | None = None,
        settings: Settings | None = None,
        trace: bool = False,
        kind: type[Cluster] = Cluster,
    ) -> None:
        self.scenario = scenario
        self.settings = settings or Settings()
        self.policy = policy or _of_plugin(scenario.policy)
        self._kind = kind
        self.agenda = Agenda()
        self.table = "table 1"
        #: Until when the store does not answer.
        self.store_stalls = 0.0
        self._lines: deque[str] | None = deque(maxlen=LINES) if trace else None
        #: How long each part of each job takes on a usual node.
        self._lengths = [
            [scenario.part_seconds(at, part) for part in range(1, plan.spec.parts + 1)]
            for at, plan in enumerate(scenario.jobs)
        ]
        self._index = {plan.spec.process_id: at for at, plan in enumerate(scenario.jobs)}
        self.figures = Figures(self)
        self.checks = Checks(self)
        self.client = SimClient(self)
        self.nodes = {NodeName(plan.name): SimNode(self, plan) for plan in scenario.nodes}
        self.master = SimMaster(self)

    def run(self) -> Result:
        """Play it.

        Raises:
            Breach: a promise is broken.
        """
        agenda = self.agenda
        self.master.start()
        for node in self.nodes.values():
            agenda.at(node.plan.begins, node.start)
        self.client.start()
        for fault in self.scenario.faults:
            agenda.at(fault.at, play, self, fault)
        limit = self._limit()
        while self.client.open and agenda.now < limit and agenda.step():
            pass
        if self.client.open:
            self._overdue()
        makespan = agenda.now
        self._settle()
        self.checks.ended(self.master.cluster)
        return result_of(self, makespan)

    def _limit(self) -> float:
        scenario = self.scenario
        calm = max((fault.at + fault.seconds for fault in scenario.faults), default=0.0)
        begun = max([plan.at for plan in scenario.jobs] + [plan.begins for plan in scenario.nodes], default=0.0)
        return calm + begun + PATIENCE + TIMES * (self.ideal() + self.longest())

    def _overdue(self) -> None:
        state = self.master.cluster.state
        said = []
        for process_id in list(self.client.open)[:3]:
            job = state.jobs.get(process_id)
            said.append(f"{process_id}: {why_job(state, job) or job.parts.counts() if job else 'not known'}")
        raise Breach(f"not all jobs ended in time ({'; '.join(said)})", self.agenda.now, self.lines)

    def _settle(self) -> None:
        """Let what is under way come to its end."""
        until = self.agenda.now + SETTLE
        while self.agenda.now < until and (self._under_way() or self.master.journal.busy):
            for _ in range(100):
                self.agenda.step()

    def _under_way(self) -> bool:
        left = self.master.cluster.state.attempts or not self.master.up
        return bool(left) or any(node.runs for node in self.nodes.values())

    # --- what its pieces ask ------------------------------------------------------------------------

    def cluster(self, state: State | None = None) -> Cluster:
        """A cluster with a policy of its own that begins with *state*."""
        return self._kind(self.policy(), self.settings, state)

    def plan_of(self, process_id: ProcessId) -> JobPlan:
        """The plan of a job."""
        return self.scenario.jobs[self._index[process_id]]

    def part_seconds(self, order: StartPart) -> float:
        """How long the program of a part takes on a usual node."""
        return self._lengths[self._index[order.spec.process_id]][order.part - 1]

    def fails(self, order: StartPart) -> bool:
        """Whether the program fails by itself."""
        return self.scenario.fails(self._index[order.spec.process_id], order.part, order.number)

    def store_waits(self) -> float:
        """Seconds until the store answers again."""
        return max(self.store_stalls - self.agenda.now, 0.0)

    def ideal(self) -> float:
        """Seconds that no schedule can beat: all work on all slots, or the longest part."""
        plans = zip(self.scenario.jobs, self._lengths, strict=True)
        work = sum(sum(lengths) * plan.spec.request.cpus for plan, lengths in plans)
        slots = sum(plan.slots * plan.speed for plan in self.scenario.nodes)
        return max(work / slots if slots else 0.0, self.longest())

    def longest(self) -> float:
        """Seconds that the longest part takes on the fastest node."""
        longest = max((max(lengths) for lengths in self._lengths), default=0.0)
        return longest / max((plan.speed for plan in self.scenario.nodes), default=1.0)

    # --- what happened ------------------------------------------------------------------------------

    @property
    def lines(self) -> tuple[str, ...]:
        """What happened last."""
        return tuple(self._lines or ())

    def note(self, text: str, *about: object) -> None:
        """Keep a line about what happened."""
        if self._lines is not None:
            self._lines.append(f"{self.agenda.now:9.3f} s  {text % about if about else text}")

    def trace(self, batch: Sequence[ev.Event], commands: Sequence[Command]) -> None:
        """Keep lines about a turn of the cluster."""
        if self._lines is None:
            return
        for event in batch:
            if not isinstance(event, (ev.Tick, ev.NodeBeat)):
                self.note("%s", _short(event))
        for command in commands:
            if not isinstance(command, JobChanged):
                self.note("    -> %s", _short(command))


def simulate(scenario: Scenario) -> Result:
    """Play *scenario*.

    Raises:
        Breach: a promise is broken.
    """
    return Simulation(scenario).run()


@functools.lru_cache(maxsize=16)
def _of_plugin(name: str) -> Callable[[], Scheduler]:
    """What makes policies of that name, with their default options."""
    cls = select(Plugins.load(), "scheduler", name)
    fresh = cls(cls.options() if cls.options is not None else None)
    return lambda: copy.deepcopy(fresh)


def _short(what: object) -> str:
    """*what* for people: its kind, and what it is about."""
    about = [getattr(what, name, None) for name in ("process_id", "node", "attempt", "reason", "fault")]
    for name in ("outcome", "facts", "spec", "scope"):
        inner = getattr(what, name, None)
        about += [getattr(inner, each, None) for each in ("attempt", "end", "name", "session", "process_id")]
    attempts = getattr(what, "attempts", ())
    return " ".join([type(what).__name__, *(str(each) for each in about if each), *attempts[:4]])
