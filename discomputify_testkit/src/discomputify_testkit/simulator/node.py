"""A simulated computing node: runs parts as long as they take, tells the master, dies, comes back.

It keeps the promises of the real one (roles/node): whatever runs or has ended and is not told yet is listed when it
joins, a report is told until it is acknowledged, an attempt that is known is never begun twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from discomputify_core.model import events as ev
from discomputify_core.model.commands import Command, StartPart, StopAttempt
from discomputify_core.model.ids import AttemptId, NodeName
from discomputify_core.model.job import End, Outcome
from discomputify_core.model.node import NodeFacts, NodeLoad
from discomputify_testkit.simulator.link import TO_MASTER, Link
from discomputify_testkit.simulator.scenario import NodePlan

if TYPE_CHECKING:
    from discomputify_testkit.simulator.simulation import Simulation

#: Seconds between two signs of life; to put a part's files in place; to commit its outputs; to end its processes.
BEAT, PREPARE, COMMIT, END = 2.0, 0.05, 0.02, 0.05
#: Seconds until the second try to reach the master, and most between two tries.
AGAIN, REACH = 0.4, 5.0
#: Seconds until a name is asked for again that is taken.
TAKEN = 1.0
#: Seconds until what is told twice is told the second time.
LATE = 0.1
CACHE = 1 << 40


@attrs.define(eq=False)
class Run:
    """An attempt on a node."""

    order: StartPart
    began: float
    #: Whether its program has begun; whether nothing of it is left.
    started: bool = False
    over: bool = False
    #: Whether it is being ended, and as what.
    ending: End | None = None
    #: Whether the master does not count it any more.
    unknown: bool = False


def manifest_of(attempt: AttemptId) -> str:
    """The digest of what an attempt commits."""
    return "blake3:" + hashlib.blake2b(attempt.encode(), digest_size=32).hexdigest()


class SimNode:
    """One node of a simulation."""

    def __init__(self, world: Simulation, plan: NodePlan) -> None:
        self.plan = plan
        self.name = NodeName(plan.name)
        self.up = False
        self.link: Link | None = None
        self.runs: dict[AttemptId, Run] = {}
        #: Until when its connections hold messages up, by direction.
        self.held = [0.0, 0.0]
        #: Until when things are as the faults of these names say.
        self.until: dict[str, float] = {}
        self.times = 1.0
        self._world = world
        self._agenda = world.agenda
        self._session = 0
        self._joined = False
        self._leaving = False
        self._pause = AGAIN
        self._dials_at = 0.0
        #: CPUs in use by attempts that the master counts.
        self.busy = 0
        self._loads: dict[tuple[int, str], NodeLoad] = {}
        self._facts = NodeFacts(self.name, plan.slots)
        # What is to be told, and what is on its way.
        self._news: list[ev.Event] = []
        self._ended: dict[AttemptId, Outcome] = {}
        self._telling: tuple[ev.Event, ...] = ()
        self._told = 0

    # --- life ---------------------------------------------------------------------------------------

    @property
    def session(self) -> str:
        """Another one with every start."""
        return f"{self.name}.{self._session}"

    def start(self) -> None:
        """The process starts."""
        if self.up:
            return
        self._session += 1
        self.up, self._leaving, self._pause = True, False, AGAIN
        plan = self.plan
        self._facts = NodeFacts(self.name, plan.slots, memory=plan.memory, cache_limit=CACHE, session=self.session)
        self._agenda.after(0.0, self._dial, self._session)
        self._agenda.after(BEAT, self._beat, self._session)

    def die(self) -> None:
        """The process dies with all that it runs; its end of the connection is nobody's any more."""
        for run in list(self.runs.values()):
            self._release(run)
            self._world.figures.lost(self, run)
        self.runs.clear()
        self._ended.clear()
        self._news.clear()
        self._telling = ()
        self.up, self._joined, self.link = False, False, None
        self._session += 1  # what was noted for this start does nothing any more

    def leave(self) -> None:
        """Stop as planned: give parts back, say so, and end."""
        if not self.up or self._leaving:
            return
        self._leaving = True
        for run in list(self.runs.values()):
            self._end(run, End.RETURNED)
        self._agenda.after(1.0, self._farewell, self._session)

    def _farewell(self, session: int) -> None:
        if session != self._session:
            return
        link = self.link
        if link is not None and self._joined:
            link.send(TO_MASTER, self._world.master.left, link, self.session)
        self.die()

    # --- the connection -----------------------------------------------------------------------------

    def _dial(self, session: int) -> None:
        if session != self._session or not self.up or self.link is not None or self._leaving:
            return
        master, now = self._world.master, self._agenda.now
        blocked = max(self._dials_at, *self.held)
        if not master.up or now < blocked:
            self._agenda.at(max(now + self._pause, min(blocked, now + REACH)), self._dial, session)
            self._pause = min(self._pause * 2, REACH)
            return
        self.link = link = Link(self._agenda, self.name, self.held)
        self._joined, self._pause = False, AGAIN
        attempts = tuple(dict.fromkeys((*self.runs, *self._ended)))
        link.send(TO_MASTER, master.join, link, self._facts, attempts)

    def no_dial(self, seconds: float) -> None:
        """It cannot reach the master for a while."""
        self._dials_at = max(self._dials_at, self._agenda.now + seconds)

    def closed(self, link: Link) -> None:
        """The connection is gone; all goes on, and is told over the next one."""
        if self.link is not link:
            return
        self.link, self._joined = None, False
        self._agenda.after(0.01, self._dial, self._session)

    def refused(self, link: Link) -> None:
        """The name is taken, as the master still believes."""
        if self.link is link:
            link.open = False
            self.link = None
            self._agenda.after(TAKEN, self._dial, self._session)

    def accepted(self, link: Link, stop: Sequence[AttemptId]) -> None:
        """The master has taken the node in, and waits for all it listed but *stop*."""
        if self.link is not link:
            return
        self._joined = True
        for attempt in stop:
            self._ended.pop(attempt, None)
            run = self.runs.get(attempt)
            if run is not None:
                self._discount(run)
                self._end(run, End.STOPPED)
        self._hand_over()

    def _beat(self, session: int) -> None:
        if session != self._session:
            return
        self._agenda.after(BEAT, self._beat, session)
        if self._joined and self.link is not None:
            full = "its disk is full" if self._is("paused") else ""
            load = self._loads.get((self.busy, full))
            if load is None:
                load = self._loads[self.busy, full] = NodeLoad(100 * self.busy / self.plan.slots, paused=full)
            self.link.send(TO_MASTER, self._world.master.beat, self.link, self.name, load)

    def _is(self, fault: str) -> bool:
        return self.until.get(fault, -1.0) > self._agenda.now

    # --- telling ------------------------------------------------------------------------------------

    def _tell(self, event: ev.Event) -> None:
        self._news.append(event)
        self._hand_over()

    def _hand_over(self) -> None:
        if not self._joined or self.link is None or self._telling or not (self._news or self._ended):
            return
        wall = self._agenda.wall
        ends = [ev.AttemptEnded(self.name, outcome, wall) for outcome in self._ended.values()]
        self._telling = (*self._news, *ends)
        self._news.clear()
        self._told += 1
        self._send()

    def _send(self) -> None:
        link = self.link
        if link is None:
            return
        report = self._telling[::-1] if self._is("swap") else self._telling
        link.send(TO_MASTER, self._world.master.report, link, report, self._told)
        if self._is("repeat"):
            self._agenda.after(LATE, link.send, TO_MASTER, self._world.master.report, link, report, self._told)

    def told(self, link: Link, number: int) -> None:
        """The master has the report of that number, and will not forget it."""
        if self.link is not link or number != self._told or not self._telling:
            return
        for event in self._telling:
            if isinstance(event, ev.AttemptEnded):
                self._ended.pop(event.outcome.attempt, None)
        self._telling = ()
        self._hand_over()

    def tell_again(self, link: Link) -> None:
        """Over a new connection, what was on its way is told first."""
        if self._telling and self.link is link:
            self._send()

    # --- parts --------------------------------------------------------------------------------------

    def work(self, link: Link, orders: Sequence[Command]) -> None:
        """The master wants parts to begin or to end."""
        if self.link is not link:
            return
        for order in orders:
            if isinstance(order, StartPart):
                self._begin(order)
            elif isinstance(order, StopAttempt):
                run = self.runs.get(order.attempt)
                if run is not None:
                    self._end(run, End.STOPPED)

    def _begin(self, order: StartPart) -> None:
        if self._leaving:
            self._ended[order.attempt] = Outcome(order.attempt, End.RETURNED, reason="its node stops as planned")
            self._hand_over()
            return
        if order.attempt in self.runs:
            return
        run = self.runs[order.attempt] = Run(order, self._agenda.now)
        self.busy += order.spec.request.cpus
        self._world.checks.begins(self, order)
        wait = self._world.store_waits()
        self._agenda.after(PREPARE + wait, self._starts, run)

    def _starts(self, run: Run) -> None:
        if run.over or run.ending is not None:
            return
        order = run.order
        run.started = True
        self._tell(ev.AttemptStarted(self.name, order.attempt, self._agenda.wall))
        plan = self._world.plan_of(order.spec.process_id)
        if plan.shares:
            self._tell(ev.MemoryUsed(self.name, order.attempt, self._world.table, self._agenda.wall))
        if self._is("broken"):
            self._ends(run, Outcome(order.attempt, End.BROKEN, reason="the disk of its node is broken"))
            return
        times = self.times if self._is("slow") else 1.0
        seconds = self._world.part_seconds(order) * times / self.plan.speed
        if plan.keeps:
            self._agenda.after(seconds / 2, self._keeps, run)
        self._agenda.after(seconds, self._program_ends, run)

    def _keeps(self, run: Run) -> None:
        if not run.over and run.ending is None:
            self._tell(ev.AttemptKept(self.name, run.order.attempt, manifest_of(run.order.attempt)))

    def _program_ends(self, run: Run) -> None:
        if run.over or run.ending is not None:
            return
        order = run.order
        if self._world.fails(order):
            self._ends(run, Outcome(order.attempt, End.EXIT, 1))
            return
        self._agenda.after(COMMIT + self._world.store_waits(), self._commits, run)

    def _commits(self, run: Run) -> None:
        if run.over or run.ending is not None:
            return
        attempt = run.order.attempt
        self._world.checks.commits(attempt)
        wall = self._agenda.wall
        began = wall - self._agenda.now + run.began
        manifest = manifest_of(attempt)
        self._ends(run, Outcome(attempt, End.DONE, manifest=manifest, started_at=began, ended_at=wall))

    def _end(self, run: Run, end: End) -> None:
        """End the processes of an attempt, which takes a moment."""
        if not run.over and run.ending is None:
            run.ending = end
            self._agenda.after(END, self._ends, run, Outcome(run.order.attempt, end))

    def _ends(self, run: Run, outcome: Outcome) -> None:
        if run.over:
            return
        self._release(run)
        self.runs.pop(run.order.attempt, None)
        self._world.figures.ran(self, run, outcome.end)
        self._ended[outcome.attempt] = outcome
        self._hand_over()

    def _release(self, run: Run) -> None:
        run.over = True
        self._discount(run)

    def _discount(self, run: Run) -> None:
        """The master counts the attempt no more."""
        if not run.unknown:
            run.unknown = True
            self.busy -= run.order.spec.request.cpus
