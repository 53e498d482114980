"""What the master knows: jobs, nodes, attempts. Data and small questions to it; nothing here decides.

What is *passing* (so it says there) follows from signs of life, progress and the time that passes: it is not written
down, and nothing that is written down may depend on it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import attrs

from discomputify_core.cluster.lifecycle import job_state
from discomputify_core.cluster.memory import JobMemory
from discomputify_core.cluster.parts import Outputs, Parts
from discomputify_core.cluster.requirements import Lack, lacking
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId, attempt_id
from discomputify_core.model.job import ENDED, AttemptReport, End, JobSpec, JobState, PartState, Request
from discomputify_core.model.memory import Scope
from discomputify_core.model.node import NodeFacts, NodeLoad
from discomputify_core.model.view import fits

#: Reports of failed attempts that keep their stderr; older ones keep the rest.
STDERR_KEPT = 200
#: Of how many of its newest attempts that did not end well a job tells whoever asks for its status.
RECENT_KEPT = 20
#: Different requirements of jobs for which a node remembers what it lacks.
LACKS_KEPT = 1000
#: States of nodes whose parts count as running.
MEMBER = frozenset({"live", "cut", "away"})


@attrs.define
class Attempt:
    """A live attempt: placed or running."""

    id: AttemptId
    process_id: ProcessId
    part: int
    number: int
    node: NodeName
    #: What it occupies there.
    request: Request = attrs.field(factory=Request)
    started_wall: float = 0.0
    #: Passing.
    progress: float = 0.0
    #: Why it was told to stop, "" if it was not.
    stopping: str = ""
    #: How often its job's parts had started again together when it was placed.
    generation: int = 0
    #: Which table of shared memory it uses ("": not known yet); None: it uses none.
    memory: str | None = None
    #: As what it ends, whatever its node reports, because its job's parts start again together.
    ends_as: End | None = None


@attrs.define
class Node:
    """A computing node that the master has heard of."""

    facts: NodeFacts
    address: str
    #: Nodes stand in the order of the conf; those that it does not name, by arrival.
    order: int
    #: How many jobs and nodes came before it.
    arrival: int
    #: "live", "cut" (connection gone, may come back), "away" (not back since the master began again), "lost", "left".
    state: str
    #: When it joined the last time, Unix time.
    joined_wall: float = 0.0
    #: When it was heard of the last time, and as what; passing.
    seen_at: float = 0.0
    seen_wall: float = 0.0
    load: NodeLoad = attrs.field(factory=NodeLoad)
    #: When its connection closed; passing.
    cut_at: float = 0.0
    #: Whether it went together with all others, which is taken for the master's own network: it has a full lease to
    #: come back. Passing.
    spared: bool = False
    reason: str = ""
    #: It gives its parts back, because it stops as planned.
    stopping: bool = False
    free_cpus: int = 0
    free_memory: int = 0
    free_resources: dict[str, int] = attrs.field(factory=dict)
    #: What it runs, those included that another attempt of their part has beaten and that have not ended yet.
    attempts: dict[AttemptId, Attempt] = attrs.field(factory=dict)
    #: What it ran when it was lost, as far as the parts are not over: it may come back with them.
    fenced: dict[AttemptId, Attempt] = attrs.field(factory=dict)
    #: Bytes held of jobs' trees; passing.
    held: dict[ProcessId, int] = attrs.field(factory=dict)
    #: Who asked that it takes no more parts, "" if nobody did.
    drained: str = ""
    #: Jobs of which parts failed there by themselves, since the last part that did not; and how many parts.
    failing: dict[ProcessId, int] = attrs.field(factory=dict)
    #: Why it gets no parts for a while: too many parts of different jobs failed there; "" if they did not.
    set_aside: str = ""
    #: When it is tried again, and how often it was set aside since a part succeeded there.
    again_at: float = 0.0
    times_aside: int = 0
    #: What it lacks by what is required, as found out before, and for which facts that holds; passing.
    _lacks: dict[tuple[str, ...], tuple[Lack, ...]] = attrs.field(init=False, factory=dict)
    _lacks_of: NodeFacts | None = attrs.field(init=False, default=None)

    @property
    def name(self) -> NodeName:
        """The node's name."""
        return self.facts.name

    @property
    def live(self) -> bool:
        """Whether it is connected."""
        return self.state == "live"

    @property
    def away(self) -> bool:
        """Whether nothing is heard of it, which may be the master's own fault."""
        return self.state == "away" or (self.spared and self.member)

    @property
    def member(self) -> bool:
        """Whether its parts count as running."""
        return self.state in MEMBER

    @property
    def open(self) -> bool:
        """Whether it can be given work as far as is written down."""
        return self.live and not (self.stopping or self.drained or self.set_aside)

    @property
    def takes_parts(self) -> bool:
        """Whether it can be given work just now."""
        return self.open and not self.spared and not self.load.paused

    def fill(self) -> None:
        """Nothing runs here: everything is free."""
        self.attempts.clear()
        self.free_cpus = self.facts.slots
        self.free_memory = self.facts.memory
        self.free_resources = dict(self.facts.resources)

    def take(self, attempt: Attempt) -> None:
        """*attempt* occupies what it asks for."""
        self.attempts[attempt.id] = attempt
        self._change(attempt.request, -1)

    def free(self, attempt: Attempt) -> None:
        """*attempt* occupies nothing any more."""
        if self.attempts.pop(attempt.id, None) is not None:
            self._change(attempt.request, 1)

    def _change(self, request: Request, sign: int) -> None:
        self.free_cpus += sign * request.cpus
        self.free_memory += sign * request.memory
        for name, count in request.needs.items():
            self.free_resources[name] = self.free_resources.get(name, 0) + sign * count

    def could_run(self, spec: JobSpec) -> bool:
        """Whether one part of the job would fit here if nothing else ran."""
        facts = self.facts
        large = fits(spec.request, facts.slots, facts.memory, facts.resources) and spec.part_bytes <= facts.cache_limit
        return large and not self.lacks(spec)

    def lacks(self, spec: JobSpec) -> tuple[Lack, ...]:
        """What it does not have of what the job requires."""
        if not spec.require:
            return ()
        if self._lacks_of is not self.facts or len(self._lacks) > LACKS_KEPT:
            self._lacks_of, self._lacks = self.facts, {}
        if spec.require not in self._lacks:
            self._lacks[spec.require] = lacking(self.facts, spec.require)
        return self._lacks[spec.require]


@attrs.frozen
class Origin:
    """What a job was submitted with: at first, or again."""

    key: str
    #: Digest of the program.
    tree: str


@attrs.define
class Job:
    """A job."""

    spec: JobSpec
    order: int
    submitted_wall: float
    parts: Parts
    outputs: Outputs = attrs.field(factory=Outputs)
    #: With what it was submitted, the newest last; its outputs know of which origin they are.
    origins: list[Origin] = attrs.field(
        default=attrs.Factory(lambda job: [Origin(job.spec.key, job.spec.tree)], takes_self=True)
    )
    #: Passing.
    version: int = 1
    #: When it was submitted the last time, and when it ended, by the cluster's clock.
    submitted_at: float = 0.0
    ended_at: float = 0.0
    ended_wall: float | None = None
    #: Whether the store confirmed the program's files.
    checked: bool = False
    #: Jobs that it still waits for, and whether they have to be done.
    pending: dict[ProcessId, bool] = attrs.field(factory=dict)
    #: Whether the outputs of other jobs are being, or were, put among its inputs.
    gathering: bool = False
    #: Whether its parts may be placed: there is nothing left to wait for.
    admitted: bool = False
    #: Why it cannot be admitted yet, or why it ended as it did.
    reason: str = ""
    #: If it failed because of jobs that it was to follow: what kept the first of them from being done.
    blame: str = ""
    #: Jobs that wait or waited for it.
    dependants: dict[ProcessId, None] = attrs.field(factory=dict)
    stop_asked: str = ""
    #: Whether it is ended because of a limit of the whole job: what does not run any more makes it failed, not stopped.
    limit_passed: bool = False
    #: Attempts that it waits for; those of each part; and how many there are on each node.
    live: dict[AttemptId, Attempt] = attrs.field(factory=dict)
    on_part: dict[int, list[Attempt]] = attrs.field(factory=dict)
    on_nodes: Counter[NodeName] = attrs.field(factory=Counter)
    #: Where attempts were when their nodes were lost, by part, as far as these are not over.
    fenced: dict[int, list[tuple[NodeName, AttemptId]]] = attrs.field(factory=dict)
    #: Parts that are to be tried on another node at the same time.
    seconds: dict[int, None] = attrs.field(factory=dict)
    #: Manifests of the newest checkpoints of parts that are not over.
    checkpoints: dict[int, str] = attrs.field(factory=dict)
    #: Seconds that attempts took which were committed, and how many these were.
    took: float = 0.0
    timed: int = 0
    #: Attempts of parts that did not end well, oldest first, by part.
    reports: dict[int, list[AttemptReport]] = attrs.field(factory=dict)
    #: The newest of them; and of which parts and attempts standard error is kept. Lists, since most jobs have none.
    recent: list[AttemptReport] = attrs.field(factory=list)
    stderr_kept: list[tuple[int, int]] = attrs.field(factory=list)
    #: Parts that failed on a node by themselves.
    failed_on: dict[NodeName, set[int]] = attrs.field(factory=dict)
    #: Of those, how many are done elsewhere.
    mended: dict[NodeName, int] = attrs.field(factory=dict)
    #: Nodes that get no more of this job, and why.
    refused: dict[NodeName, str] = attrs.field(factory=dict)
    #: Name -> (Python version, versions of required packages) of nodes that ran parts.
    ran_on: dict[NodeName, tuple[str, tuple[str, ...]]] = attrs.field(factory=dict)
    strays: dict[str, int] = attrs.field(factory=dict)
    #: What was to be collected and could not be kept, a sentence each, in the order in which they came.
    unkept: dict[str, None] = attrs.field(factory=dict)
    #: Live attempts whose programs have ended, and what they wait for; passing, like the next two.
    waiting: dict[AttemptId, str] = attrs.field(factory=dict)
    progress: float = 0.0
    note: str = ""
    #: How often all its parts started again together, and why the last time.
    generation: int = 0
    started_over: str = ""
    #: The shared memory of this generation.
    memory: JobMemory = attrs.field(factory=JobMemory)

    def parts_on_nodes(self) -> Counter[NodeName]:
        """How many parts are placed or run, by node."""
        return self.on_nodes

    @property
    def id(self) -> ProcessId:
        """The process id."""
        return self.spec.process_id

    @property
    def rank(self) -> tuple[int, int]:
        """Jobs start in the order of this."""
        return (-self.spec.priority, self.order)

    @property
    def scope(self) -> Scope:
        """Its shared memory, in this generation."""
        return Scope(self.id, self.spec.key, self.generation)

    @property
    def state(self) -> JobState:
        """Where the job is."""
        state = job_state(self.parts.counts())
        return JobState.FAILED if state is JobState.STOPPED and self.limit_passed else state

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED

    def attempts_of(self, part: int) -> Iterator[Attempt]:
        """Live attempts of *part*."""
        return iter(self.on_part.get(part, ()))

    def add(self, attempt: Attempt) -> None:
        """The job waits for *attempt*."""
        self.live[attempt.id] = attempt
        self.on_part.setdefault(attempt.part, []).append(attempt)
        self.on_nodes[attempt.node] += 1

    def drop(self, attempt: Attempt) -> None:
        """The job does not wait for *attempt* any more."""
        if self.live.pop(attempt.id, None) is None:
            return
        self.waiting.pop(attempt.id, None)
        self.progress -= attempt.progress
        others = self.on_part[attempt.part]
        others.remove(attempt)
        if not others:
            del self.on_part[attempt.part]
        self.on_nodes[attempt.node] -= 1
        if not self.on_nodes[attempt.node]:
            del self.on_nodes[attempt.node]
        if not self.live:  # what was taken out leaves its room behind, in each job that has ended
            for emptied in (self.live, self.on_part, self.on_nodes):
                emptied.clear()

    def take_tree(self, tree: str, size: int, files: int, part_bytes: int) -> None:
        """Its program is another tree from now on."""
        self.spec = attrs.evolve(self.spec, tree=tree, tree_bytes=size, tree_files=files, part_bytes=part_bytes)
        self.origins[-1] = Origin(self.spec.key, tree)

    def attempt_at(self, position: int) -> AttemptId:
        """The attempt whose outputs are at *position*."""
        part, number, *_ = self.outputs.row(position)
        return attempt_id(self.id, part, number, self.origins[self.outputs.origin(position)].key)

    def keep(self, report: AttemptReport, *, recent: bool = True) -> None:
        """Remember an attempt that did not end well, perhaps as a recent failure; only the newest keep their stderr."""
        self.reports.setdefault(report.part, []).append(report)
        if recent:
            self.recent.append(report)
            del self.recent[:-RECENT_KEPT]
        if not report.stderr_tail:
            return
        self.stderr_kept.append((report.part, report.number))
        if len(self.stderr_kept) > STDERR_KEPT:
            part, number = self.stderr_kept.pop(0)
            kept = self.reports.get(part, [])
            kept[:] = (attrs.evolve(each, stderr_tail="") if each.number == number else each for each in kept)


@attrs.define
class State:
    """Everything the master knows."""

    expected: tuple[str, ...] = ()
    jobs: dict[ProcessId, Job] = attrs.field(factory=dict)
    nodes: dict[NodeName, Node] = attrs.field(factory=dict)
    attempts: dict[AttemptId, Attempt] = attrs.field(factory=dict)
    #: Jobs with ready parts, in the order in which work should start.
    hungry: dict[ProcessId, Job] = attrs.field(factory=dict)
    #: Jobs among these whose parts start together, and since when they have ready parts.
    gangs: dict[ProcessId, float] = attrs.field(factory=dict)
    #: Jobs that may not use all free room, and for which gang it is kept.
    held_back: dict[ProcessId, ProcessId] = attrs.field(factory=dict)
    #: When to place again although nothing has happened: a gang has waited long enough by then.
    look_again: float = math.inf
    #: When events were handled the last time; passing.
    now: float = 0.0
    #: When something was written down the last time.
    recorded: float = 0.0
    #: How often a master began with what an earlier one had written down.
    starts: int = 0
    #: Jobs that were forgotten, which the store may still hold something of; shared memory that may not be freed yet.
    clearing: dict[ProcessId, None] = attrs.field(factory=dict)
    clearing_memory: dict[Scope, None] = attrs.field(factory=dict)
    #: Jobs with parts that are to be tried on another node at the same time.
    doubling: dict[ProcessId, None] = attrs.field(factory=dict)
    #: Jobs that have to end in time, as long as they have not ended; and those that have, the first one first.
    timed: dict[ProcessId, None] = attrs.field(factory=dict)
    over: dict[ProcessId, None] = attrs.field(factory=dict)
    #: Peers that were refused as nodes: name -> (address, reason, Unix time); passing.
    refused: dict[str, tuple[str, str, float]] = attrs.field(factory=dict)
    orders: int = 0
    #: Reports about attempts that nobody waits for any more.
    late: int = 0

    def open_nodes(self) -> list[Node]:
        """Nodes that can be given work just now, in cluster order."""
        return sorted((node for node in self.nodes.values() if node.takes_parts), key=lambda node: node.order)

    def clock(self, job: Job, *, known: bool = True) -> None:
        """Note whether *job* has to end in time, or that it has ended; unless it is not *known* any more."""
        self.timed.pop(job.id, None)
        self.over.pop(job.id, None)
        if known and job.ended:
            self.over[job.id] = None
        elif known and job.spec.deadline:
            self.timed[job.id] = None

    def sated(self, job: Job) -> None:
        """*job* has no ready parts any more."""
        self.hungry.pop(job.id, None)
        self.gangs.pop(job.id, None)
        self.held_back.pop(job.id, None)

    def next_order(self) -> int:
        """A number larger than all before."""
        self.orders += 1
        return self.orders

    def ready(self, job: Job) -> int:
        """How many parts of *job* could be placed now."""
        return job.parts.count(PartState.READY) if job.admitted else 0
