"""One turn of the cluster: its state, the time, and what this batch of events has led to so far.

Handlers (on_*.py) take a turn and an event. They change the state and note what is to be done; nothing is placed
or told to anybody before the batch is over.
"""

from __future__ import annotations

from collections import deque

import attrs

from discomputify_core.cluster.state import Job, State
from discomputify_core.model.commands import Command, DropJob
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import JobState, PartState
from discomputify_core.model.memory import Over

#: Seconds of silence after which a node is fenced.
LEASE = 20.0
#: Seconds that a node whose connection closed has to come back.
CUT = 2.0


@attrs.frozen
class Settings:
    """Limits that the conf may change."""

    expected: tuple[str, ...] = ()
    lease: float = LEASE
    cut: float = CUT
    #: Seconds after which a job that has ended is forgotten; None: never.
    keep: float | None = None


@attrs.define
class Turn:
    """What handlers work with; one object, used for batch after batch."""

    settings: Settings
    state: State
    now: float = 0.0
    last_tick: float | None = None
    commands: list[Command] = attrs.field(factory=list)
    #: Jobs that look different now.
    changed: dict[ProcessId, None] = attrs.field(factory=dict)
    #: Jobs, parts and nodes of attempts that began or ended, for the invariants.
    touched: list[tuple[ProcessId, int, NodeName]] = attrs.field(factory=list)
    #: Whether a placement pass may find something.
    dirty: bool = False
    #: Jobs whose shared memory is to be told who is over.
    telling: dict[ProcessId, Job] = attrs.field(factory=dict)
    #: Jobs that have ended, for which others may wait.
    settled: deque[Job] = attrs.field(factory=deque)
    #: Jobs of which a part was given up, and when (Unix time).
    given_up: dict[ProcessId, float] = attrs.field(factory=dict)

    def touch(self, process_id: ProcessId) -> None:
        """*process_id* looks different now."""
        job = self.state.jobs.get(process_id)
        if job is not None and process_id not in self.changed:
            job.version += 1
            self.changed[process_id] = None

    def nodes_changed(self) -> None:
        """Nodes came or went: waiting jobs may be placed, and wait for something else."""
        self.dirty = True
        for process_id in self.state.hungry:
            self.touch(process_id)

    def feed(self, job: Job) -> None:
        """Put *job* among those that have ready parts, in the order in which work starts."""
        if not self.state.ready(job):
            return
        self.dirty = True
        hungry = self.state.hungry
        if job.spec.together:
            self.state.gangs.setdefault(job.id, self.now)
        if job.id in hungry:
            return
        last = next(reversed(hungry.values())) if hungry else None
        hungry[job.id] = job
        if last is not None and last.rank > job.rank:
            self.state.hungry = {job.id: job for job in sorted(hungry.values(), key=lambda job: job.rank)}

    def tell(self, job: Job, over: Over) -> None:
        """Let the job's shared memory know, if it is in use, that an attempt is over."""
        if job.memory.told:
            job.memory.over.append(over)
            self.telling[job.id] = job

    def ended_perhaps(self, job: Job, wall: float) -> None:
        """If nothing is left to do, write down how the job ended and let its nodes forget it."""
        if job.id in self.state.gangs:  # others may have been held back for it
            self.dirty = True
        self.state.sated(job)
        if not job.ended or job.ended_wall is not None:
            return
        job.ended_wall, job.ended_at = wall, self.now
        self.state.clock(job)
        if job.state is JobState.FAILED and not job.reason:
            job.reason = why_failed(job)
        elif job.state is JobState.DONE:
            job.reason = ""
        for name in job.ran_on:
            # Where an attempt has not ended that another one has beaten, its node is told once it has.
            if not any(attempt.process_id == job.id for attempt in self.state.nodes[name].attempts.values()):
                self.commands.append(DropJob(name, job.id))
        job.pending.clear()
        job.outputs.trim()
        if job.dependants:
            self.settled.append(job)


def why_failed(job: Job) -> str:
    """Which part of *job* failed, and how."""
    part = next(job.parts.having(PartState.FAILED), 0)
    failed = job.parts.count(PartState.FAILED)
    reports = job.reports.get(part)
    if not reports:
        return f"{failed} of {job.parts.total} parts failed"
    last = reports[-1]
    tries = f"{len(reports)} attempts" if len(reports) > 1 else "1 attempt"
    more = f" ({failed} of {job.parts.total} parts failed)" if failed > 1 else ""
    return f"part {part} failed after {tries}, the last on {last.node}: {last.reason}{more}"
