"""The master: events in, commands out. The only file that changes the cluster's state.

One door, :meth:`Cluster.handle`. Handlers change the state and note what is to be done; placement happens
once at the end of a batch. Nothing here waits, reads a clock or talks to anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from discomputify_core.cluster import nodes as node_rules
from discomputify_core.cluster import placement
from discomputify_core.cluster.lifecycle import Cause
from discomputify_core.cluster.parts import Parts, Trouble
from discomputify_core.cluster.state import Attempt, Job, Node, State
from discomputify_core.errors import BadInput, JobExists, NameTaken, NoSuchJob
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model import events as ev
from discomputify_core.model.commands import (
    CheckTree,
    ClearStore,
    Command,
    DropJob,
    JobChanged,
    StartPart,
    StopAttempt,
)
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId, attempt_id
from discomputify_core.model.job import AttemptReport, End, JobSpec, JobState, Outcome, PartState
from discomputify_core.model.node import NodeFacts

#: Seconds of silence after which a node is fenced.
LEASE = 20.0
#: Seconds that a node whose connection closed has to come back.
CUT = 2.0
#: A gap between two ticks above this is the master's own stall, not the nodes' silence.
STALL = 5.0
#: Parts of a job that fail on one node, and not elsewhere, before the job avoids it.
REFUSE_AFTER = 3


@attrs.frozen
class Settings:
    """Limits that the conf may change."""

    expected: tuple[str, ...] = ()
    lease: float = LEASE
    cut: float = CUT


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
        self.waits: dict[str, str] = {}
        self._commands: list[Command] = []
        self._changed: dict[ProcessId, None] = {}
        self._dirty = False
        self._now = 0.0
        self._last_tick: float | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {
            ev.JobSubmitted: self._job_submitted,
            ev.TreeChecked: self._tree_checked,
            ev.JobStopAsked: self._job_stop_asked,
            ev.JobClearAsked: self._job_clear_asked,
            ev.NodeJoined: self._node_joined,
            ev.NodeBeat: self._node_beat,
            ev.NodeCut: self._node_cut,
            ev.NodeRefused: self._node_refused,
            ev.NodeLeft: self._node_left,
            ev.AttemptStarted: self._attempt_started,
            ev.AttemptProgressed: self._attempt_progressed,
            ev.AttemptEnded: self._attempt_ended,
            ev.Tick: self._tick,
        }

    # --- questions that must be asked before an event is made ---------------------------------------

    def check_submit(self, spec: JobSpec) -> bool:
        """Whether *spec* is a new job; False if this very job was submitted before.

        Raises:
            JobExists: another job has its process id.
        """
        job = self.state.jobs.get(spec.process_id)
        if job is None:
            return True
        if job.spec.key == spec.key:
            return False
        raise JobExists(
            f"PROCESS_ID '{job.id}' is in use by a job of {job.spec.owner or 'an unknown user'} with "
            f"{job.parts.total} parts that is {job.state.value}. Choose another one, or free it with: "
            f"discomputify clear {job.id}" + ("" if job.ended else f" (after: discomputify stop {job.id})"),
            process_id=job.id,
            owner=job.spec.owner,
            state=job.state.value,
        )

    def check_clear(self, process_id: ProcessId) -> None:
        """Whether the job may be forgotten.

        Raises:
            NoSuchJob: there is none of that id.
            BadInput: it has not ended.
        """
        job = self.job(process_id)
        if not job.ended:
            raise BadInput(
                f"The job '{process_id}' is {job.state.value}; stop it first: discomputify stop {process_id}"
            )

    def check_join(self, facts: NodeFacts, address: str, now: float) -> None:
        """Whether a node may join under its name.

        Raises:
            NameTaken: a live node has the name.
        """
        node_rules.check_name(self.state.nodes.get(facts.name), facts, address, now, self.settings.cut)

    def job(self, process_id: ProcessId) -> Job:
        """The job of that id.

        Raises:
            NoSuchJob: there is none.
        """
        job = self.state.jobs.get(process_id)
        if job is None:
            known = ", ".join(list(self.state.jobs)[-5:]) or "none"
            raise NoSuchJob(
                f"The cluster knows no job '{process_id}' (it was cleared, or never submitted here). "
                f"Latest jobs: {known}.",
                process_id=process_id,
            )
        return job

    def unknown_attempts(self, attempts: Sequence[AttemptId]) -> tuple[AttemptId, ...]:
        """Those of *attempts* that nobody waits for."""
        return tuple(attempt for attempt in attempts if attempt not in self.state.attempts)

    # --- the door -----------------------------------------------------------------------------------

    def handle(self, *batch: ev.Event, now: float) -> tuple[Command, ...]:
        """Take in *batch* at time *now* (seconds that only grow); returns what is to be done about it."""
        self._now = now
        for event in batch:
            self._handlers[type(event)](event)
        if self._dirty:
            self._dirty = False
            self._place()
        commands = (*self._commands, *(JobChanged(process_id) for process_id in self._changed))
        self._commands.clear()
        self._changed.clear()
        return commands

    # --- jobs ---------------------------------------------------------------------------------------

    def _job_submitted(self, event: ev.JobSubmitted) -> None:
        spec = event.spec
        if spec.process_id in self.state.jobs:
            return
        self.state.jobs[spec.process_id] = Job(spec, self.state.next_order(), event.wall, Parts(spec.parts))
        self._commands.append(CheckTree(spec.process_id, spec.key, spec.tree))
        self._touch(spec.process_id)

    def _tree_checked(self, event: ev.TreeChecked) -> None:
        job = self.state.jobs.get(event.process_id)
        if job is None or job.spec.key != event.key or job.admitted or job.ended:
            return
        self._touch(job.id)
        job.reason = event.fault
        if not event.fault:
            job.admitted = True
            job.parts.move_all(PartState.WAITING, Cause.ADMITTED)
            self._feed(job)
        elif event.final:
            job.parts.move_all(PartState.WAITING, Cause.GAVE_UP)
            self._ended_perhaps(job, event.wall)

    def _job_stop_asked(self, event: ev.JobStopAsked) -> None:
        job = self.state.jobs.get(event.process_id)
        if job is None or job.ended or job.stop_asked:
            return
        self._touch(job.id)
        job.stop_asked = event.by or "a user"
        job.reason = f"stopped by {job.stop_asked}"
        job.parts.move_all(PartState.WAITING, Cause.STOPPED)
        job.parts.move_all(PartState.READY, Cause.STOPPED)
        self.state.hungry.pop(job.id, None)
        for attempt in job.live.values():
            self._stop(attempt, job.reason)
        self._ended_perhaps(job, event.wall)

    def _job_clear_asked(self, event: ev.JobClearAsked) -> None:
        job = self.state.jobs.get(event.process_id)
        if job is None or not job.ended:
            return
        del self.state.jobs[job.id]
        self._commands.append(ClearStore(job.id))
        self._changed[job.id] = None

    def _ended_perhaps(self, job: Job, wall: float) -> None:
        """If nothing is left to do, write down how the job ended and let its nodes forget it."""
        self.state.hungry.pop(job.id, None)
        if not job.ended or job.live or job.ended_wall is not None:
            return
        job.ended_wall = wall
        if job.state is JobState.FAILED and not job.reason:
            job.reason = _why_failed(job)
        elif job.state is JobState.DONE:
            job.reason = ""
        for name in job.ran_on:
            self._commands.append(DropJob(name, job.id))

    def _feed(self, job: Job) -> None:
        """Put *job* among those that have ready parts, in the order in which work starts."""
        if not self.state.ready(job):
            return
        self._dirty = True
        hungry = self.state.hungry
        if job.id in hungry:
            return
        last = next(reversed(hungry.values())) if hungry else None
        hungry[job.id] = job
        if last is not None and _turn(last) > _turn(job):
            self.state.hungry = {job.id: job for job in sorted(hungry.values(), key=_turn)}

    # --- nodes --------------------------------------------------------------------------------------

    def _node_joined(self, event: ev.NodeJoined) -> None:
        facts = event.facts
        node = self.state.nodes.get(facts.name)
        if node is None:
            node = Node(facts, event.address, self._order_of(facts, event.address), "live", self._now, event.wall)
            node.fill()
            self.state.nodes[facts.name] = node
        elif node.facts.session != facts.session or node.state in ("lost", "left"):
            self._lose_attempts(node, f"the node '{node.name}' was restarted", event.wall)
            node.facts, node.load = facts, attrs.evolve(node.load)
            node.held.clear()
            node.fill()
        else:
            self._reattach(node, event)
        node.state, node.reason, node.address = "live", "", event.address
        node.seen_at, node.seen_wall, node.cut_at = self._now, event.wall, 0.0
        self.state.refused.pop(facts.name, None)
        self._nodes_changed()

    def _reattach(self, node: Node, event: ev.NodeJoined) -> None:
        """A node came back with what still runs there; what it does not know of never reached it."""
        there = set(event.attempts)
        for attempt in list(node.attempts.values()):
            if attempt.id not in there:
                self._release(attempt)
                self._again(attempt, Cause.RETURNED, event.wall)
            elif attempt.stopping:
                self._commands.append(StopAttempt(node.name, attempt.id, attempt.stopping))

    def _order_of(self, facts: NodeFacts, address: str) -> int:
        """Expected nodes come first, in the conf's order; others by arrival."""
        host = address.rpartition(":")[0].strip("[]")
        for at, name in enumerate(self.state.expected):
            if name in (facts.name, host):
                return at
        return len(self.state.expected) + self.state.next_order()

    def _node_beat(self, event: ev.NodeBeat) -> None:
        node = self.state.nodes.get(event.node)
        if node is None or not node.live:
            return
        node.seen_at, node.seen_wall, node.load = self._now, event.wall, event.load
        node.held = dict(event.held)

    def _node_cut(self, event: ev.NodeCut) -> None:
        node = self.state.nodes.get(event.node)
        if node is not None and node.live and node.facts.session == event.session:
            node.state, node.cut_at = "cut", self._now
            node.reason = f"its connection closed: {event.reason}" if event.reason else "its connection closed"
            self._nodes_changed()

    def _node_refused(self, event: ev.NodeRefused) -> None:
        if len(self.state.refused) > 1000:
            self.state.refused.clear()
        self.state.refused[event.name] = (event.address, event.reason, event.wall)

    def _node_left(self, event: ev.NodeLeft) -> None:
        node = self.state.nodes.get(event.node)
        if node is None or node.facts.session != event.session or node.state not in ("live", "cut"):
            return
        node.state, node.reason = "left", "stopped as planned"
        for attempt in list(node.attempts.values()):
            self._release(attempt)
            self._again(attempt, Cause.RETURNED, node.seen_wall)
        self._nodes_changed()

    def _tick(self, event: ev.Tick) -> None:
        now = self._now
        gap = 0.0 if self._last_tick is None else now - self._last_tick
        self._last_tick = now
        for node in list(self.state.nodes.values()):
            if gap > STALL:
                node.seen_at = min(node.seen_at + gap, now)
            if node.state == "cut" and now - node.cut_at >= self.settings.cut:
                self._fence(node, node.reason, event.wall)
            elif node.live and now - node.seen_at >= self.settings.lease:
                self._fence(node, f"silent for {now - node.seen_at:.0f} s", event.wall)

    def _fence(self, node: Node, why: str, wall: float) -> None:
        node.state, node.reason = "lost", why
        self._lose_attempts(node, f"the node '{node.name}' was lost ({why})", wall)
        node.fill()
        self._nodes_changed()

    def _lose_attempts(self, node: Node, why: str, wall: float) -> None:
        for attempt in list(node.attempts.values()):
            outcome = Outcome(attempt.id, End.LOST, reason=why, started_at=attempt.started_wall, ended_at=wall)
            self._end(attempt, outcome, wall)

    def _nodes_changed(self) -> None:
        self._dirty = True
        for process_id in self.state.hungry:
            self._touch(process_id)

    # --- attempts -----------------------------------------------------------------------------------

    def _attempt_started(self, event: ev.AttemptStarted) -> None:
        attempt = self._known(event.node, event.attempt)
        if attempt is None:
            return
        job = self.state.jobs[attempt.process_id]
        if job.parts.state(attempt.part) is PartState.PLACED:
            job.parts.move(attempt.part, Cause.STARTED)
            attempt.started_wall = event.wall
            self._touch(job.id)

    def _attempt_progressed(self, event: ev.AttemptProgressed) -> None:
        attempt = self._known(event.node, event.attempt)
        if attempt is None:
            return
        job = self.state.jobs[attempt.process_id]
        job.progress += event.fraction - attempt.progress
        attempt.progress = event.fraction
        job.note = event.note or job.note
        self._touch(job.id)

    def _attempt_ended(self, event: ev.AttemptEnded) -> None:
        outcome = event.outcome
        attempt = self._known(event.node, outcome.attempt)
        if attempt is not None:
            self._end(attempt, outcome, event.wall)

    def _known(self, node: NodeName, attempt: AttemptId) -> Attempt | None:
        """The live attempt, or None (counted) for a late or duplicate report of one that is over."""
        found = self.state.attempts.get(attempt)
        if found is None or found.node != node:
            self.state.late += 1
            return None
        return found

    def _end(self, attempt: Attempt, outcome: Outcome, wall: float) -> None:
        """An attempt is over; what becomes of its part."""
        job = self.state.jobs[attempt.process_id]
        self._release(attempt)
        self._note_strays(job, outcome)
        if outcome.end is End.DONE and job.outputs.fits(outcome.manifest):
            self._commit(job, attempt, outcome, wall)
            return
        if outcome.end is End.RETURNED:
            self._again(attempt, Cause.RETURNED, wall)
            return
        job.keep(
            AttemptReport(
                part=attempt.part,
                number=attempt.number,
                attempt=attempt.id,
                node=attempt.node,
                end=outcome.end.value,
                code=outcome.code,
                reason=outcome.reason or "its outputs came with a digest that cannot be read",
                stderr_tail=outcome.stderr_tail,
                manifest=outcome.manifest,
                started_at=outcome.started_at,
                ended_at=outcome.ended_at or wall,
            )
        )
        self._again(attempt, self._verdict(job, attempt, outcome), wall)

    def _commit(self, job: Job, attempt: Attempt, outcome: Outcome, wall: float) -> None:
        job.parts.move(attempt.part, Cause.COMMITTED)
        job.outputs.add(attempt.part, attempt.number, attempt.node, outcome.manifest)
        trouble = job.parts.trouble.pop(attempt.part, None)
        for name in trouble.failed_on if trouble else ():
            job.mended[name] = job.mended.get(name, 0) + (name != attempt.node)
        if job.failed_on:
            for name in list(job.failed_on):
                self._refuse_perhaps(job, name)
        self._touch(job.id)
        self._ended_perhaps(job, wall) if not self.state.ready(job) else None

    def _verdict(self, job: Job, attempt: Attempt, outcome: Outcome) -> Cause:
        """Whether the part is tried again; counts against its budgets."""
        trouble = job.parts.trouble.setdefault(attempt.part, Trouble(attempt.number))
        if outcome.end is End.LOST:
            trouble.losses += 1
            return Cause.RETRIED if trouble.losses <= job.spec.lost_attempts else Cause.GAVE_UP
        if outcome.end is End.STOPPED:
            return Cause.RETURNED
        trouble.failures += 1
        trouble.failed_on |= {attempt.node}
        job.failed_on.setdefault(attempt.node, set()).add(attempt.part)
        self._refuse_perhaps(job, attempt.node)
        return Cause.RETRIED if trouble.failures < job.spec.attempts else Cause.GAVE_UP

    def _again(self, attempt: Attempt, cause: Cause, wall: float) -> None:
        """The attempt's part goes on: ready again, given up, or stopped with its job."""
        job = self.state.jobs[attempt.process_id]
        if job.stop_asked and cause is not Cause.GAVE_UP:
            cause = Cause.STOPPED
        elif cause is not Cause.GAVE_UP:
            trouble = job.parts.trouble.setdefault(attempt.part, Trouble(attempt.number))
            trouble.number = attempt.number + 1
        job.parts.move(attempt.part, cause)
        self._touch(job.id)
        self._feed(job)
        if not self.state.ready(job):
            self._ended_perhaps(job, wall)

    def _refuse_perhaps(self, job: Job, name: NodeName) -> None:
        """A node that fails parts which others manage gets no more of the job, while another node is left."""
        failed = job.failed_on[name]
        if name in job.refused or len(failed) < REFUSE_AFTER:
            return
        elsewhere = len(job.outputs) - job.outputs.by_node.get(name, 0)
        alone = not job.outputs.by_node.get(name, 0) and elsewhere > 0
        others = any(n.live and n.name != name and n.name not in job.refused for n in self.state.nodes.values())
        if others and (alone or job.mended.get(name, 0) >= REFUSE_AFTER):
            job.refused[name] = f"{len(failed)} parts of '{job.id}' failed there while others succeed elsewhere"
            self._touch(job.id)

    def _note_strays(self, job: Job, outcome: Outcome) -> None:
        for path in outcome.strays:
            if path in job.strays or len(job.strays) < 20:
                job.strays[path] = job.strays.get(path, 0) + 1

    def _stop(self, attempt: Attempt, reason: str) -> None:
        attempt.stopping = reason
        self._commands.append(StopAttempt(attempt.node, attempt.id, reason))

    def _release(self, attempt: Attempt) -> None:
        """Give back what the attempt occupied."""
        job = self.state.jobs[attempt.process_id]
        self.state.attempts.pop(attempt.id, None)
        job.live.pop(attempt.id, None)
        job.progress -= attempt.progress
        node = self.state.nodes[attempt.node]
        node.free(attempt, job.spec.request)
        self._dirty = self._dirty or bool(self.state.hungry)

    # --- placement ----------------------------------------------------------------------------------

    def _place(self) -> None:
        hungry = self.state.hungry
        if not hungry:
            return
        result = placement.place(self.state, list(hungry.values()), self.policy, self._now)
        self.waits = result.waits
        self.faults.extend(fault for fault in result.faults if fault not in self.faults)
        for job, group, node, count in result.placed:
            for part in job.parts.take(group, count):
                self._start(job, part, node)
            self._touch(job.id)
        for job in {id(job): job for job, *_ in result.placed}.values():
            if not self.state.ready(job):
                hungry.pop(job.id, None)

    def _start(self, job: Job, part: int, node: Node) -> None:
        trouble = job.parts.trouble.get(part)
        number = trouble.number if trouble else 1
        job.parts.move(part, Cause.PLACED)
        attempt = Attempt(attempt_id(job.id, part, number, job.spec.key), job.id, part, number, node.name, self._now)
        self.state.attempts[attempt.id] = job.live[attempt.id] = attempt
        node.take(attempt, job.spec.request)
        if node.name not in job.ran_on:
            packages = node.facts.packages
            job.ran_on[node.name] = (
                node.facts.python,
                tuple(packages.get(name, "") for name in job.spec.requirements),
            )
        self._commands.append(StartPart(node.name, attempt.id, part, number, job.spec))

    def _touch(self, process_id: ProcessId) -> None:
        """*process_id* looks different now."""
        job = self.state.jobs.get(process_id)
        if job is not None and process_id not in self._changed:
            job.version += 1
            self._changed[process_id] = None


def _turn(job: Job) -> tuple[int, int]:
    return (-job.spec.priority, job.order)


def _why_failed(job: Job) -> str:
    part = next(job.parts.having(PartState.FAILED), 0)
    failed = job.parts.count(PartState.FAILED)
    reports = job.reports.get(part)
    if not reports:
        return f"{failed} of {job.parts.total} parts failed"
    last = reports[-1]
    tries = f"{len(reports)} attempts" if len(reports) > 1 else "1 attempt"
    more = f" ({failed} of {job.parts.total} parts failed)" if failed > 1 else ""
    return f"part {part} failed after {tries}: {last.reason}{more}"


__all__ = ["CUT", "LEASE", "Cluster", "NameTaken", "Settings"]
