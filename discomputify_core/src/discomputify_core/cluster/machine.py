"""The master: events in, commands out. The one door to the cluster's state.

One door, :meth:`Cluster.handle`. Handlers change the state and note what is to be done; placement happens
once at the end of a batch. Nothing here waits, reads a clock or talks to anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from discomputify_core.cluster import (
    dependencies,
    gangs,
    names,
    on_attempts,
    on_jobs,
    on_memory,
    on_nodes,
    placement,
    together,
)
from discomputify_core.cluster.state import Job, State
from discomputify_core.cluster.turn import CUT, LEASE, Settings, Turn
from discomputify_core.errors import BadInput
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model import events as ev
from discomputify_core.model.commands import Command, JobChanged
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.job import JobSpec, id_in_use
from discomputify_core.model.node import NodeFacts

HANDLERS: Mapping[type, Callable[[Turn, Any], None]] = {
    ev.JobSubmitted: on_jobs.on_job_submitted,
    ev.TreeChecked: on_jobs.on_tree_checked,
    ev.JobStopAsked: on_jobs.on_job_stop_asked,
    ev.JobClearAsked: on_jobs.on_job_clear_asked,
    ev.NodeJoined: on_nodes.on_node_joined,
    ev.NodeBeat: on_nodes.on_node_beat,
    ev.NodeCut: on_nodes.on_node_cut,
    ev.NodeRefused: on_nodes.on_node_refused,
    ev.NodeLeft: on_nodes.on_node_left,
    ev.AttemptStarted: on_attempts.on_attempt_started,
    ev.AttemptProgressed: on_attempts.on_attempt_progressed,
    ev.AttemptEnded: on_attempts.on_attempt_ended,
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
    """

    def __init__(self, policy: Scheduler, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.policy = policy
        self.state = State(expected=self.settings.expected)
        #: Faults of the policy since they were last taken, for the log.
        self.faults: list[str] = []
        #: Why jobs wait, in the policy's words.
        self.waits: dict[str, str] = {}
        self._turn = Turn(self.settings, self.state)

    # --- questions that must be asked before an event is made ---------------------------------------

    def check_submit(self, spec: JobSpec) -> bool:
        """Whether *spec* is a new job; False if this very job was submitted before.

        Raises:
            JobExists: another job has its process id.
            NoSuchJob: it is to wait for a job that there is not.
        """
        job = self.state.jobs.get(spec.process_id)
        if job is None:
            dependencies.check(self.state, spec)
            return True
        if job.spec.key == spec.key:
            return False
        raise id_in_use(job.id, job.spec.owner, job.parts.total, job.state)

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

    def unknown_attempts(self, attempts: Sequence[AttemptId]) -> tuple[AttemptId, ...]:
        """Those of *attempts* that nobody waits for."""
        return tuple(attempt for attempt in attempts if attempt not in self.state.attempts)

    # --- the door -----------------------------------------------------------------------------------

    def handle(self, *batch: ev.Event, now: float) -> tuple[Command, ...]:
        """Take in *batch* at time *now* (seconds that only grow); returns what is to be done about it."""
        turn = self._turn
        turn.now = self.state.now = now
        for event in batch:
            HANDLERS[type(event)](turn, event)
            if turn.settled:
                dependencies.settle(turn)
        if turn.dirty:
            turn.dirty = False
            self._place(turn)
        for job in turn.telling.values():
            turn.commands.extend(job.memory.take_over(job.scope, job.parts.total))
        turn.telling.clear()
        commands = (*turn.commands, *(JobChanged(process_id) for process_id in turn.changed))
        turn.commands.clear()
        turn.changed.clear()
        return commands

    def _place(self, turn: Turn) -> None:
        state = self.state
        if not state.hungry:
            return
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
            for part in job.parts.take(group, count):
                on_attempts.start(turn, job, part, node)
            turn.touch(job.id)
        for job in {id(job): job for job, *_ in result.placed}.values():
            if not self.state.ready(job):
                self.state.sated(job)


__all__ = ["CUT", "LEASE", "Cluster", "Settings"]
