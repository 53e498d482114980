"""The simulated master: the production cluster between simulated nodes and a simulated journal.

It does what the role does (roles/master): events of a moment are handled together, what follows is done once it is
written down, a node gets orders over the connection that it has at that time. Nothing else decides here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from discomputify_core.errors import DiscomputifyError, NameTaken
from discomputify_core.model import events as ev
from discomputify_core.model.commands import (
    CheckTree,
    ClearMemory,
    ClearStore,
    Command,
    DropJob,
    GatherInputs,
    JobChanged,
    StartPart,
    StopAttempt,
)
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import JobSpec
from discomputify_core.model.node import NodeFacts, NodeLoad
from discomputify_core.model.records import encode
from discomputify_testkit.simulator.journal import Journal
from discomputify_testkit.simulator.link import LATENCY, TO_NODE, Link

if TYPE_CHECKING:
    from discomputify_testkit.simulator.simulation import Simulation

#: Seconds between two looks at leases and deadlines; for the store to answer; until it is asked again.
TICK, STORE, AGAIN = 0.5, 0.01, 2.0
#: Seconds that a turn takes, and how many more for each node: events of that time are handled together.
TURN, TURN_PER_NODE = 0.002, 0.00001

#: Called right after the events were handled; what it returns is called once they are durable.
Then = Callable[[], Callable[[], None] | None]


class SimMaster:
    """The master of a simulation, through all its restarts."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._agenda = world.agenda
        self.journal = Journal(world.agenda)
        self.cluster = world.cluster()
        self.up = False
        #: How often it was started; what was noted for an earlier start does nothing.
        self.starts = 0
        self.desks: dict[NodeName, tuple[Link, str]] = {}
        #: Jobs of which the store is being asked something.
        self.asking: dict[tuple[str, ProcessId, str], None] = {}
        self._inbox: list[tuple[tuple[ev.Event, ...], Then | None]] = []
        self._turn_noted = False
        self._turn_takes = TURN + TURN_PER_NODE * len(world.scenario.nodes)

    # --- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, where the last one ended if there was one."""
        if self.up:
            return
        self.up = True
        self.starts += 1
        if self.starts > 1:
            self.cluster = self.journal.recover(self._world.cluster)
            self._world.checks.restarted(self.cluster, self.journal)
            self.take(ev.MasterStarted(self._agenda.wall))
        self._agenda.after(TICK, self._tick, self.starts)

    def die(self, share: float) -> None:
        """End at once: all that is not on the disk is lost, and every connection."""
        if not self.up:
            return
        self.up = False
        self.starts += 1
        self.journal.crash(share)
        self._inbox.clear()
        self._turn_noted = False
        self.asking.clear()
        links = [link for link, _ in self.desks.values()]
        self.desks.clear()
        for link in links:
            link.open = False
        for node in self._world.nodes.values():  # also those that wait for an answer
            if node.link is not None:
                node.link.open = False
                self._agenda.after(LATENCY, node.closed, node.link)

    def _tick(self, starts: int) -> None:
        if starts == self.starts:
            self.take(ev.Tick(self._agenda.wall))
            self._agenda.after(TICK, self._tick, starts)

    # --- events in ----------------------------------------------------------------------------------

    def take(self, *events: ev.Event, then: Then | None = None) -> None:
        """Let *events* happen with those that come at about the same time."""
        self._inbox.append((events, then))
        if not self._turn_noted:
            self._turn_noted = True
            self._agenda.after(self._turn_takes, self._turn, self.starts)

    def _turn(self, starts: int) -> None:
        if starts != self.starts:
            return
        self._turn_noted = False
        inbox, self._inbox = self._inbox, []
        batch = [event for events, _ in inbox for event in events]
        cluster = self.cluster
        commands = self._world.checks.guarded(lambda: cluster.handle(*batch, now=self._agenda.now))
        answers = [answer for _, then in inbox if then is not None and (answer := then()) is not None]
        line = encode(cluster.record) if cluster.record is not None else None
        self._world.checks.turn(cluster, batch, commands, line)

        def durable() -> None:
            self._carry_out(commands)
            for answer in answers:
                answer()
            if not self.journal.busy:
                self._world.checks.quiet(cluster)

        self.journal.append(line, durable)

    # --- what nodes ask -----------------------------------------------------------------------------

    def join(self, link: Link, facts: NodeFacts, attempts: tuple[AttemptId, ...]) -> None:
        """A node is there."""
        node = self._world.nodes[facts.name]
        try:
            self.cluster.check_join(facts, f"{facts.name}:1", self._agenda.now)
        except NameTaken:
            link.send(TO_NODE, node.refused, link)
            return
        old = self.desks.get(facts.name)
        if old is not None and old[0] is not link:
            old[0].open = False
            self._agenda.after(LATENCY, node.closed, old[0])
        self.desks[facts.name] = (link, facts.session)

        def answer() -> Callable[[], None]:
            stop = self.cluster.unknown_attempts(attempts)
            return lambda: self._accept(link, stop)

        self.take(ev.NodeJoined(facts, f"{facts.name}:1", attempts, self._agenda.wall), then=answer)

    def _accept(self, link: Link, stop: Sequence[AttemptId]) -> None:
        node = self._world.nodes[NodeName(link.node)]
        link.send(TO_NODE, node.accepted, link, stop)
        link.send(TO_NODE, node.tell_again, link)

    def beat(self, link: Link, name: NodeName, load: NodeLoad) -> None:
        """A node is alive."""
        if not self._is_desk(link):
            return
        known = self.cluster.state.nodes.get(name)
        if known is not None and known.state == "lost":
            self._close(link)
            return
        self.take(ev.NodeBeat(name, load, (), self._agenda.wall))

    def report(self, link: Link, report: tuple[ev.Event, ...], number: int) -> None:
        """A node tells how its parts are."""
        if self._is_desk(link):
            node = self._world.nodes[NodeName(link.node)]
            self.take(*report, then=lambda: lambda: link.send(TO_NODE, node.told, link, number))

    def left(self, link: Link, session: str) -> None:
        """A node stops as planned; its connection closes."""
        if self._is_desk(link):
            self.take(ev.NodeLeft(NodeName(link.node), session, self._agenda.wall))
            self.closed(link)

    def closed(self, link: Link, reason: str = "") -> None:
        """A connection is gone, as seen from here."""
        link.open = False
        if self._is_desk(link):
            _, session = self.desks.pop(NodeName(link.node))
            self.take(ev.NodeCut(NodeName(link.node), session, reason))

    def _close(self, link: Link) -> None:
        self.closed(link)
        self._agenda.after(LATENCY, self._world.nodes[NodeName(link.node)].closed, link)

    def _is_desk(self, link: Link) -> bool:
        return self.up and self.desks.get(NodeName(link.node), (None, ""))[0] is link

    # --- what clients ask ---------------------------------------------------------------------------

    def submit(self, spec: JobSpec, again: bool, acknowledged: Callable[[], None]) -> bool:
        """A client submits a job, perhaps one that has ended, and perhaps not for the first time; whether it may."""
        try:
            new = self.cluster.check_resubmit(spec) if again else self.cluster.check_submit(spec)
        except DiscomputifyError:
            return False
        wall = self._agenda.wall
        event = ev.JobResubmitted(spec, wall) if again else ev.JobSubmitted(spec, wall)
        self.take(*((event,) if new else ()), then=lambda: acknowledged)
        return True

    def clear(self, process_id: ProcessId) -> None:
        """A client wants a job to be forgotten."""
        try:
            self.cluster.check_clear(process_id)
        except DiscomputifyError:
            return
        self.take(ev.JobClearAsked(process_id))

    # --- commands out -------------------------------------------------------------------------------

    def _carry_out(self, commands: tuple[Command, ...]) -> None:
        work: dict[NodeName, list[Command]] = {}
        for command in commands:
            if isinstance(command, StartPart) and command.attempt not in self.cluster.state.attempts:
                continue  # over before it was written down: its node came back without it, nobody would stop it
            if isinstance(command, (StartPart, StopAttempt, DropJob)):
                work.setdefault(command.node, []).append(command)
            elif isinstance(command, JobChanged):
                self._world.client.look(command.process_id)
            elif isinstance(command, CheckTree):
                self._ask("tree", command.process_id, command.key, self._check_tree, command)
            elif isinstance(command, GatherInputs):
                self._ask("inputs", command.spec.process_id, command.spec.key, self._gather, command.spec)
            elif isinstance(command, ClearStore):
                self._agenda.after(STORE + self._world.store_waits(), self._cleared, command, self.starts)
            elif isinstance(command, ClearMemory):
                self._agenda.after(STORE, self._memory_cleared, command, self.starts)
        for name, orders in work.items():
            desk = self.desks.get(name)
            if desk is not None:
                desk[0].send(TO_NODE, self._world.nodes[name].work, desk[0], orders)

    def _ask(self, what: str, process_id: ProcessId, key: str, do: Callable[..., None], about: object) -> None:
        self.asking[what, process_id, key] = None
        self._agenda.after(STORE, do, about, self.starts)

    def _check_tree(self, command: CheckTree, starts: int) -> None:
        if starts != self.starts:
            return
        job = self.cluster.state.jobs.get(command.process_id)
        wall = self._agenda.wall
        if job is None or job.ended or job.spec.key != command.key:
            self.asking.pop(("tree", command.process_id, command.key), None)
        elif self._world.store_waits():
            self.take(ev.TreeChecked(command.process_id, command.key, "waiting for the store", False, wall))
            self._agenda.after(AGAIN, self._check_tree, command, starts)
        else:
            self.take(ev.TreeChecked(command.process_id, command.key, "", True, wall))

    def _gather(self, spec: JobSpec, starts: int) -> None:
        if starts != self.starts:
            return
        job = self.cluster.state.jobs.get(spec.process_id)
        wall = self._agenda.wall
        if job is None or job.ended or job.spec.key != spec.key:
            self.asking.pop(("inputs", spec.process_id, spec.key), None)
        elif self._world.store_waits():
            fault = "waiting for the store"
            self.take(ev.InputsGathered(spec.process_id, spec.key, fault=fault, final=False, wall=wall))
            self._agenda.after(AGAIN, self._gather, spec, starts)
        else:
            self.take(ev.InputsGathered(spec.process_id, spec.key, spec.tree, 1, 1, 1, wall=wall))

    def _cleared(self, command: ClearStore, starts: int) -> None:
        if starts == self.starts:
            self.take(ev.StoreCleared(command.process_id))

    def _memory_cleared(self, command: ClearMemory, starts: int) -> None:
        if starts == self.starts:
            self.take(ev.MemoryCleared(command.scope))
