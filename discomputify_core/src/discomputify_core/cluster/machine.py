"""The master: events in, commands out. The one door to the cluster's state.

One door, :meth:`Cluster.handle`. Handlers change the state and note what is to be done; placement happens
once at the end of a batch. Nothing here waits, reads a clock or talks to anybody.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from discomputify_core.cluster import (
    dependencies,
    due,
    gangs,
    limits,
    names,
    on_attempts,
    on_jobs,
    on_memory,
    on_nodes,
    placement,
    requirements,
    resubmitting,
    seconds,
    setting_aside,
    together,
)
from discomputify_core.cluster.state import Job, Node, State
from discomputify_core.cluster.turn import CUT, LEASE, Settings, Turn
from discomputify_core.errors import BadInput, OurBug
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model import events as ev
from discomputify_core.model.commands import Command, JobChanged
from discomputify_core.model.ids import MAX_NAME, AttemptId, NodeName, ProcessId
from discomputify_core.model.job import JobSpec, id_in_use
from discomputify_core.model.node import NodeFacts
from discomputify_core.model.records import PASSING, Placed, Record

HANDLERS: Mapping[type, Callable[[Turn, Any], None]] = {
    ev.JobSubmitted: on_jobs.on_job_submitted,
    ev.TreeChecked: on_jobs.on_tree_checked,
    ev.JobStopAsked: on_jobs.on_job_stop_asked,
    ev.JobClearAsked: on_jobs.on_job_clear_asked,
    ev.JobOverdue: limits.on_job_overdue,
    ev.JobResubmitted: resubmitting.on_job_resubmitted,
    ev.NodeJoined: on_nodes.on_node_joined,
    ev.NodeBeat: on_nodes.on_node_beat,
    ev.NodeCut: on_nodes.on_node_cut,
    ev.NodeRefused: on_nodes.on_node_refused,
    ev.NodeLeft: on_nodes.on_node_left,
    ev.NodeFenced: on_nodes.on_node_fenced,
    ev.NodeDrainAsked: setting_aside.on_node_drain_asked,
    ev.NodeTriedAgain: setting_aside.on_node_tried_again,
    ev.AttemptKept: on_attempts.on_attempt_kept,
    ev.SecondAttempt: seconds.on_second_attempt,
    ev.AttemptStarted: on_attempts.on_attempt_started,
    ev.AttemptProgressed: on_attempts.on_attempt_progressed,
    ev.AttemptEnded: on_attempts.on_attempt_ended,
    ev.StoreCleared: on_jobs.on_store_cleared,
    ev.MemoryCleared: on_memory.on_memory_cleared,
    ev.MasterStarted: on_nodes.on_master_started,
    ev.InputsGathered: dependencies.on_inputs_gathered,
    ev.MemoryUsed: on_memory.on_memory_used,
    ev.StartOverAsked: on_memory.on_start_over_asked,
    ev.MemoryTableLost: on_memory.on_memory_table_lost,
    ev.Tick: on_nodes.on_tick,
}


class Cluster:
    """The cluster as one value that changes by events.

    Args:
        policy: where parts go.
        settings: limits, and the nodes that are expected.
        state: what it begins with (saving.load); nothing if it is not given.
    """

    def __init__(self, policy: Scheduler, settings: Settings | None = None, state: State | None = None) -> None:
        self.settings = settings or Settings()
        self.policy = policy
        self.state = state or State()
        self.state.expected = self.settings.expected
        for node in self.state.nodes.values():
            node.order = on_nodes.order_of(self.state, node)
        #: What is to be written down of the last batch; None: nothing.
        self.record: Record | None = None
        #: Faults of the policy since they were last taken, for the log.
        self.faults: list[str] = []
        #: Why jobs wait, in the policy's words.
        self.waits: dict[str, str] = {}
        self._turn = Turn(self.settings, self.state)
        #: What was taken in of this batch and is to be written down, and what was decided.
        self._events: list[ev.Event] = []
        self._placed: list[Placed] = []

    # --- questions that must be asked before an event is made ---------------------------------------

    def check_submit(self, spec: JobSpec) -> bool:
        """Whether *spec* is a new job; False if this very job was submitted before.

        Raises:
            JobExists: another job has its process id.
            NoSuchJob: it is to wait for a job that there is not.
            BadInput: what it requires of nodes cannot be understood.
        """
        requirements.check(spec.require)
        job = self.state.jobs.get(spec.process_id)
        if job is None:
            dependencies.check(self.state, spec)
            return True
        if any(origin.key == spec.key for origin in job.origins):
            return False
        raise id_in_use(job.id, job.spec.owner, job.parts.total, job.state)

    def check_resubmit(self, spec: JobSpec) -> bool:
        """Whether a job that ended may go on as *spec* says (JobResubmitted); False if it does already.

        Raises:
            NoSuchJob: there is none of that id.
            BadInput: it has not ended, or all of it is done, or *spec* does not fit it.
        """
        return resubmitting.check_resubmit(self.state, spec)

    def check_clear(self, process_id: ProcessId) -> None:
        """Whether the job may be forgotten.

        Raises:
            NoSuchJob: there is none of that id.
            BadInput: it has not ended, or another one that has not depends on it.
        """
        job = self.job(process_id)
        if not job.ended:
            raise BadInput(
                f"The job '{process_id}' is {job.state.value}; stop it first: discomputify stop {process_id}"
            )
        dependencies.check_clear(self.state, job)

    def check_join(self, facts: NodeFacts, address: str, now: float) -> None:
        """Whether a node may join under its name.

        Raises:
            NameTaken: a live node has the name.
        """
        names.check_name(self.state.nodes.get(facts.name), facts, address, now, self.settings.cut)

    def job(self, process_id: ProcessId) -> Job:
        """The job of that id.

        Raises:
            NoSuchJob: there is none.
        """
        job = self.state.jobs.get(process_id)
        if job is None:
            raise dependencies.unknown_job(self.state, process_id)
        return job

    def check_drain(self, name: str) -> Node:
        """The node of that name, which is to take no more parts.

        Raises:
            BadInput: there is none.
        """
        node = self.state.nodes.get(NodeName(name))
        if node is None:
            known = ", ".join(sorted(self.state.nodes)[:5]) or "none"
            raise BadInput(f"The cluster knows no computing node '{name[:MAX_NAME]}'. Known nodes: {known}.")
        return node

    def unknown_attempts(self, attempts: Sequence[AttemptId]) -> tuple[AttemptId, ...]:
        """Those of *attempts* that nobody waits for."""
        return tuple(attempt for attempt in attempts if attempt not in self.state.attempts)

    # --- the door -----------------------------------------------------------------------------------

    def handle(self, *batch: ev.Event, now: float) -> tuple[Command, ...]:
        """Take in *batch* at time *now* (seconds that only grow); returns what is to be done about it."""
        turn = self._begin(now)
        try:
            for event in batch:
                self._take(event)
                if isinstance(event, ev.Tick):
                    for made in due.due(self.state, self.settings, now, event.wall):
                        self._take(made)
            if turn.dirty:
                turn.dirty = False
                self._place(turn)
        finally:  # what has changed is written down, whatever a bug did to the rest
            self._write_down(now)
        return self._commands()

    def replay(self, record: Record, faults: list[str] | None = None) -> tuple[Command, ...]:
        """Do what :meth:`handle` did when it left *record*: nobody is asked, the clock is not looked at.

        Args:
            faults: where given, what does not fit is left out, and a sentence about it is added here.
        """
        turn = self._begin(record.now)
        steps: list[Callable[[], None]] = [functools.partial(self._take, event) for event in record.events]
        steps += [functools.partial(self._place_again, placed) for placed in record.placed]
        for step, what in zip(steps, (*record.events, *record.placed), strict=True):
            try:
                step()
            except Exception as error:  # whatever does not fit must not keep the rest from being read
                if faults is None:
                    raise
                faults.append(f"{_shown(what)} does not fit: {type(error).__name__}: {error}")
        turn.dirty = False
        self._write_down(record.now)
        return self._commands()

    @property
    def touched(self) -> list[tuple[ProcessId, int, NodeName]]:
        """Jobs, parts and nodes of the attempts that began or ended in the last batch (invariants.check_touched)."""
        return self._turn.touched

    def _begin(self, now: float) -> Turn:
        turn = self._turn
        turn.now = self.state.now = now
        turn.touched.clear()
        self._events, self._placed, self.record = [], [], None
        return turn

    def _take(self, event: ev.Event) -> None:
        turn = self._turn
        if not isinstance(event, PASSING):
            self._events.append(event)
        HANDLERS[type(event)](turn, event)
        if turn.given_up:
            limits.check_failures(turn)
        if turn.settled:
            dependencies.settle(turn)

    def _write_down(self, now: float) -> None:
        if self._events or self._placed:
            self.record = Record(now, tuple(self._events), tuple(self._placed))
            self.state.recorded = now

    def _commands(self) -> tuple[Command, ...]:
        turn = self._turn
        for job in turn.telling.values():
            turn.commands.extend(job.memory.take_over(job.scope, job.parts.total))
        turn.telling.clear()
        commands = (*turn.commands, *(JobChanged(process_id) for process_id in turn.changed))
        turn.commands.clear()
        turn.changed.clear()
        return commands

    def _place_again(self, placed: Placed) -> None:
        """Give parts to the node that they were given to before."""
        job, node = self.state.jobs[placed.process_id], self.state.nodes[placed.node]
        if placed.part:
            self._begin_second(self._turn, job, placed.part, node)
            return
        group = frozenset(placed.avoid)
        if dict(job.parts.ready_groups()).get(group, 0) < placed.count:
            raise OurBug(f"'{job.id}' has no {placed.count} ready parts of that kind.")
        self._give(self._turn, job, group, node, placed.count)
        if not self.state.ready(job):
            self.state.sated(job)

    def _give(self, turn: Turn, job: Job, group: frozenset[NodeName], node: Node, count: int) -> None:
        self._placed.append(Placed(job.id, tuple(sorted(group)), node.name, count))
        for part in job.parts.take(group, count):
            on_attempts.start(turn, job, part, node)
        turn.touch(job.id)

    def _place(self, turn: Turn) -> None:
        if self.state.hungry:
            self._place_ready(turn)
        if self.state.doubling and seconds.nothing_waits(self.state):
            self._place_seconds(turn)

    def _place_ready(self, turn: Turn) -> None:
        state = self.state
        self.waits = {}
        held_before = state.held_back
        for step in gangs.steps(state, turn.now):
            if step.ways:
                self._start(turn, together.place_together(state, step.ways, self.policy, turn.now, step.closed))
            else:
                self._place_each(turn, step)
        for held, gang in sorted(held_before.items() ^ state.held_back.items()):
            turn.touch(held)
            turn.touch(gang)

    def _place_seconds(self, turn: Turn) -> None:
        """Nothing waits: what is free may be used for second attempts of slow parts."""
        for job, attempt in seconds.wanted(self.state):
            result = seconds.place(self.state, job, attempt, self.policy, turn.now)
            self.faults.extend(fault for fault in result.faults if fault not in self.faults)
            for _, _, node, _ in result.placed:
                self._begin_second(turn, job, attempt.part, node)

    def _begin_second(self, turn: Turn, job: Job, part: int, node: Node) -> None:
        self._placed.append(Placed(job.id, (), node.name, 1, part))
        seconds.begin(turn, job, part, node)
        turn.touch(job.id)

    def _place_each(self, turn: Turn, step: gangs.Step) -> None:
        jobs = step.jobs
        while jobs:
            result = placement.place(self.state, jobs, self.policy, turn.now, step.closed)
            self._start(turn, result)
            # Parts of a gang that hoped for a place which others of it took now may go where they failed before.
            placed = {job.id for job, *_ in result.placed}
            jobs = [job for job in jobs if job.id in placed and gangs.joining(job) and self.state.ready(job)]

    def _start(self, turn: Turn, result: placement.Pass) -> None:
        self.waits.update(result.waits)
        self.faults.extend(fault for fault in result.faults if fault not in self.faults)
        for job, group, node, count in result.placed:
            self._give(turn, job, group, node, count)
        for job in {id(job): job for job, *_ in result.placed}.values():
            if not self.state.ready(job):
                self.state.sated(job)


def _shown(what: ev.Event | Placed) -> str:
    """*what* for people: its kind, and whom it is about."""
    about = [getattr(what, name, None) for name in ("process_id", "node", "attempt")]
    outcome = getattr(what, "outcome", None)
    about.append(getattr(outcome, "attempt", None))
    return " ".join([type(what).__name__, *(f"'{each}'" for each in about if each)])


__all__ = ["CUT", "LEASE", "Cluster", "Settings"]
