"""What the master knows: jobs, nodes, attempts. Data and small questions to it; nothing here decides."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator

import attrs

from discomputify_core.cluster.lifecycle import job_state
from discomputify_core.cluster.memory import JobMemory
from discomputify_core.cluster.parts import Outputs, Parts
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import ENDED, AttemptReport, End, JobSpec, JobState, PartState, Request
from discomputify_core.model.memory import Scope
from discomputify_core.model.node import NodeFacts, NodeLoad
from discomputify_core.model.view import fits

#: Reports of failed attempts that keep their stderr; older ones keep the rest.
STDERR_KEPT = 200


@attrs.define
class Attempt:
    """A live attempt: placed or running."""

    id: AttemptId
    process_id: ProcessId
    part: int
    number: int
    node: NodeName
    started_wall: float = 0.0
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
    order: int
    #: "live", "cut" (connection gone, may come back), "lost", "left".
    state: str
    seen_at: float
    seen_wall: float
    load: NodeLoad = attrs.field(factory=NodeLoad)
    cut_at: float = 0.0
    reason: str = ""
    #: It gives its parts back, because it stops as planned.
    stopping: bool = False
    free_cpus: int = 0
    free_memory: int = 0
    free_resources: dict[str, int] = attrs.field(factory=dict)
    attempts: dict[AttemptId, Attempt] = attrs.field(factory=dict)
    held: dict[ProcessId, int] = attrs.field(factory=dict)

    @property
    def name(self) -> NodeName:
        """The node's name."""
        return self.facts.name

    @property
    def live(self) -> bool:
        """Whether it is connected."""
        return self.state == "live"

    @property
    def open(self) -> bool:
        """Whether it can be given work."""
        return self.live and not self.stopping

    def fill(self) -> None:
        """Nothing runs here: everything is free."""
        self.attempts.clear()
        self.free_cpus = self.facts.slots
        self.free_memory = self.facts.memory
        self.free_resources = dict(self.facts.resources)

    def take(self, attempt: Attempt, request: Request) -> None:
        """*attempt* occupies what *request* asks for."""
        self.attempts[attempt.id] = attempt
        self._change(request, -1)

    def free(self, attempt: Attempt, request: Request) -> None:
        """*attempt* occupies nothing any more."""
        if self.attempts.pop(attempt.id, None) is not None:
            self._change(request, 1)

    def _change(self, request: Request, sign: int) -> None:
        self.free_cpus += sign * request.cpus
        self.free_memory += sign * request.memory
        for name, count in request.needs.items():
            self.free_resources[name] = self.free_resources.get(name, 0) + sign * count

    def could_run(self, spec: JobSpec) -> bool:
        """Whether one part of the job would fit here if nothing else ran."""
        facts = self.facts
        return fits(spec.request, facts.slots, facts.memory, facts.resources) and spec.part_bytes <= facts.cache_limit


@attrs.define
class Job:
    """A job."""

    spec: JobSpec
    order: int
    submitted_wall: float
    parts: Parts
    outputs: Outputs = attrs.field(factory=Outputs)
    version: int = 1
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
    live: dict[AttemptId, Attempt] = attrs.field(factory=dict)
    #: Attempts of parts that did not end well, oldest first, by part.
    reports: dict[int, list[AttemptReport]] = attrs.field(factory=dict)
    recent: deque[AttemptReport] = attrs.field(factory=lambda: deque(maxlen=20))
    stderr_kept: deque[tuple[int, int]] = attrs.field(factory=deque)
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
    #: Live attempts whose programs have ended, and what they wait for.
    waiting: dict[AttemptId, str] = attrs.field(factory=dict)
    progress: float = 0.0
    note: str = ""
    late: int = 0
    #: How often all its parts started again together, and why the last time.
    generation: int = 0
    started_over: str = ""
    #: The shared memory of this generation.
    memory: JobMemory = attrs.field(factory=JobMemory)

    def parts_on_nodes(self) -> Counter[NodeName]:
        """How many parts are placed or run, by node."""
        return Counter(attempt.node for attempt in self.live.values())

    @property
    def id(self) -> ProcessId:
        """The process id."""
        return self.spec.process_id

    @property
    def scope(self) -> Scope:
        """Its shared memory, in this generation."""
        return Scope(self.id, self.spec.key, self.generation)

    @property
    def state(self) -> JobState:
        """Where the job is."""
        return job_state(self.parts.counts())

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED

    def attempts_of(self, part: int) -> Iterator[Attempt]:
        """Live attempts of *part*."""
        return (attempt for attempt in self.live.values() if attempt.part == part)

    def take_tree(self, tree: str, size: int, files: int, part_bytes: int) -> None:
        """Its program is another tree from now on."""
        self.spec = attrs.evolve(self.spec, tree=tree, tree_bytes=size, tree_files=files, part_bytes=part_bytes)

    def keep(self, report: AttemptReport, *, recent: bool = True) -> None:
        """Remember an attempt that did not end well, perhaps as a recent failure; only the newest keep their stderr."""
        self.reports.setdefault(report.part, []).append(report)
        if recent:
            self.recent.append(report)
        if not report.stderr_tail:
            return
        self.stderr_kept.append((report.part, len(self.reports[report.part]) - 1))
        if len(self.stderr_kept) > STDERR_KEPT:
            part, at = self.stderr_kept.popleft()
            self.reports[part][at] = attrs.evolve(self.reports[part][at], stderr_tail="")


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
    #: When events were handled the last time.
    now: float = 0.0
    #: Peers that were refused as nodes: name -> (address, reason, Unix time).
    refused: dict[str, tuple[str, str, float]] = attrs.field(factory=dict)
    orders: int = 0
    #: Reports about attempts that nobody waits for any more.
    late: int = 0

    def open_nodes(self) -> list[Node]:
        """Nodes that can be given work, in cluster order."""
        return sorted((node for node in self.nodes.values() if node.open), key=lambda node: node.order)

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
