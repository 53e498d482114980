"""Jobs, parts and attempts as values. Life cycles (what may follow what) are in cluster/lifecycle.py."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs

from discomputify_core.errors import BadInput, JobExists
from discomputify_core.model.files import check_path
from discomputify_core.model.ids import AttemptId, ProcessId, check_parts, check_process_id


class JobState(str, enum.Enum):
    """Where a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


#: Most dependants of a job that are told.
DEPENDANTS = 20

ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.STOPPED})


class PartState(enum.IntEnum):
    """Where a part is. Small integers: a job keeps one byte per part."""

    WAITING = 0
    READY = 1
    PLACED = 2
    RUNNING = 3
    DONE = 4
    FAILED = 5
    STOPPED = 6


#: Most that retries, limits and priorities may be: what messages can hold.
MOST_LIMIT = 2**63
#: Most of anything that a part may ask for (bytes of memory are the largest).
MAX_NEED = 2**60


@attrs.frozen
class Request:
    """What one part needs; the same for all parts of a job."""

    #: Whole CPUs.
    cpus: int = 1
    #: Bytes.
    memory: int = 0
    #: Named resources of nodes (RESOURCES in their conf), for instance ``{"gpu": 1}``.
    needs: Mapping[str, int] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.cpus < 1 or self.memory < 0 or any(count < 1 for count in self.needs.values()):
            raise BadInput("A part needs at least 1 CPU, no negative memory and at least 1 of each named resource.")
        if max(self.cpus, self.memory, *self.needs.values(), 0) > MAX_NEED:
            raise BadInput("A part needs more CPUs, memory or named resources than any machine can have.")


@attrs.frozen
class JobSpec:
    """A job as submitted. The program's tree is already in the store."""

    process_id: ProcessId = attrs.field(converter=check_process_id)
    #: Random text chosen by the submitting client; part of every attempt's id.
    key: str
    parts: int
    #: Digest of the program's manifest in the store, and its size in bytes and files.
    tree: str
    tree_bytes: int = 0
    tree_files: int = 0
    #: The most bytes that one part needs in place before it starts (equals tree_bytes without patterns).
    part_bytes: int = 0
    request: Request = attrs.field(factory=Request)
    args: tuple[str, ...] = ()
    #: Extra environment of every part.
    env: Mapping[str, str] = attrs.field(factory=dict)
    #: "all", "lazy", or a pattern such as ``INPUT_PATH/{part}/**``.
    inputs: str = "all"
    #: Patterns of files outside OUTPUT_PATH to bring home.
    collect: tuple[str, ...] = ()
    #: user@host
    owner: str = ""
    input_path: str = "INPUT_PATH"
    output_path: str = "OUTPUT_PATH"
    #: How often a part may be tried when it fails by itself.
    attempts: int = 3
    #: How often a part may be tried again because its node died.
    lost_attempts: int = 5
    priority: int = 0
    #: At most so many parts at once on one node; 0: as many as fit.
    per_node: int = 0
    #: Whether its parts need each other at the same time: all that are not over are started together, or none.
    together: bool = False
    #: Jobs that have to be done before this one starts; those of ``inputs_from`` among them.
    after: tuple[ProcessId, ...] = ()
    #: Jobs that have to have ended in any way before this one starts.
    after_any: tuple[ProcessId, ...] = ()
    #: Jobs whose outputs this one finds under INPUT_PATH/PROCESS_ID/.
    inputs_from: tuple[ProcessId, ...] = ()
    #: Names of packages in the program's requirements.txt, for noticing nodes that differ.
    requirements: tuple[str, ...] = ()
    #: What nodes must have, such as ``numpy>=2`` or ``python==3.12``; others get none of its parts.
    require: tuple[str, ...] = ()
    #: Seconds that an attempt may take from its program's start on; 0: no limit.
    time_limit: float = 0.0
    #: Seconds from its submission after which the job is ended; 0: no limit.
    deadline: float = 0.0
    #: Bytes of memory that all processes of a part may use together; 0: what the request asks for, if it asks.
    memory_limit: int = 0
    #: Failed parts after which the whole job is ended; 0: the others go on.
    max_failures: int = 0
    #: Whether a part that runs far longer than others did may be tried on another node at the same time.
    second_attempts: bool = False
    #: Whether outputs are put where old clients (CYPHER/1) look for them, as parts become done.
    shown: bool = False

    def __attrs_post_init__(self) -> None:
        check_parts(self.parts)
        check_path(self.input_path)
        check_path(self.output_path)
        if self.attempts < 1 or self.lost_attempts < 0:
            raise BadInput("A part needs at least one attempt.")
        if min(self.time_limit, self.deadline, self.memory_limit, self.max_failures) < 0:
            raise BadInput("A limit is a number above 0, or 0 for none.")
        numbers = (self.attempts, self.lost_attempts, abs(self.priority), self.memory_limit, self.max_failures)
        if max(*numbers, self.time_limit, self.deadline) > MOST_LIMIT:
            raise BadInput(f"Retries, limits and priorities go up to {MOST_LIMIT:,}; one of these is larger.")
        if self.per_node < 0:
            raise BadInput("A job cannot have less than no parts on a node.")
        for each in (*self.after, *self.after_any, *self.inputs_from):
            if check_process_id(each) == self.process_id:
                raise BadInput(f"The job '{each}' cannot wait for itself.")


class End(str, enum.Enum):
    """How an attempt ended."""

    #: Exit code 0 and outputs committed in the store.
    DONE = "done"
    #: The program ended with another exit code (``code``).
    EXIT = "exit"
    #: A signal ended the program (``code`` is its number).
    SIGNAL = "signal"
    #: The node could not run it: interpreter, disk, store… Counts like a failure of the part.
    BROKEN = "broken"
    #: It took longer than its job's time limit.
    TIME_LIMIT = "time_limit"
    #: It used more memory than its job's limit.
    MEMORY_LIMIT = "memory_limit"
    #: Stopped because the job was stopped or another attempt won.
    STOPPED = "stopped"
    #: Given back by a node that stops as planned. Costs nothing.
    RETURNED = "returned"
    #: The node died or was cut off.
    LOST = "lost"


@attrs.frozen
class Outcome:
    """How one attempt ended, as its node reports it."""

    attempt: AttemptId
    end: End
    #: Exit code or signal number.
    code: int = 0
    #: A sentence, for people.
    reason: str = ""
    #: The last lines of stderr.
    stderr_tail: str = ""
    #: Digest of the manifest committed for this attempt: ``outputs/…``, ``logs/out``, ``logs/err``,
    #: ``collected/…``. "" where nothing could be kept. Only a DONE attempt has ``outputs/``.
    manifest: str = ""
    output_files: int = 0
    output_bytes: int = 0
    #: New files outside OUTPUT_PATH that nobody collects (a few of them).
    strays: tuple[str, ...] = ()
    #: What ``--collect`` asked for and cannot be kept, a sentence each (a few of them).
    unkept: tuple[str, ...] = ()
    #: Name of a module that could not be imported.
    missing_module: str = ""
    #: Whether it ended because of shared memory that it could not reach or that was lost: counts as a lost node.
    memory_lost: bool = False
    #: Seconds on the node's clock (Unix time).
    started_at: float = 0.0
    ended_at: float = 0.0
    #: Seconds of CPU time that all its processes used, and the most bytes of memory they held at once, as far as known.
    cpu_seconds: float = 0.0
    peak_memory: int = 0


@attrs.frozen
class PartCounts:
    """How many parts are in each state."""

    total: int = 0
    waiting: int = 0
    ready: int = 0
    placed: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    stopped: int = 0


@attrs.frozen
class AttemptReport:
    """One attempt, as ``status`` and ``why`` show it."""

    part: int
    #: Counted from 1.
    number: int
    attempt: AttemptId
    node: str
    end: str = ""
    code: int = 0
    reason: str = ""
    stderr_tail: str = ""
    manifest: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    #: As of Outcome.
    cpu_seconds: float = 0.0
    peak_memory: int = 0


@attrs.frozen
class JobStatus:
    """A job as the client sees it; ``status --json`` prints these fields."""

    process_id: ProcessId
    state: JobState
    parts: PartCounts
    submitted_at: float
    ended_at: float | None = None
    #: Why it ended so, or what it waits for.
    reason: str = ""
    owner: str = ""
    #: Grows with every change; for waiting on the next one.
    version: int = 0
    tree: str = ""
    #: Failing attempts, newest last; bounded.
    failures: tuple[AttemptReport, ...] = ()
    warnings: tuple[str, ...] = ()
    #: Mean fraction that running parts reported through ``program.progress``, and the newest note.
    progress: float = 0.0
    note: str = ""
    input_path: str = "INPUT_PATH"
    output_path: str = "OUTPUT_PATH"
    #: How many parts are done by node.
    nodes: Mapping[str, int] = attrs.field(factory=dict)
    #: What it waits or waited for, as it was submitted.
    after: tuple[ProcessId, ...] = ()
    after_any: tuple[ProcessId, ...] = ()
    inputs_from: tuple[ProcessId, ...] = ()
    #: Jobs that wait or waited for it; the first few.
    dependants: tuple[ProcessId, ...] = ()
    together: bool = False
    #: How often all its parts started again together.
    generation: int = 0
    #: Programs that made its parts, the one that it was submitted with first: digest of the tree, how many parts are
    #: done by it. More than one where it was submitted again.
    trees: tuple[tuple[str, int], ...] = ()
    #: Bytes of outputs and logs of its parts, and of its program, in the store.
    output_bytes: int = 0
    tree_bytes: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED


@attrs.frozen
class PartOutput:
    """Where the outputs of a done part are, or the logs of a failed one."""

    part: int
    number: int
    attempt: AttemptId
    manifest: str
    state: str = "done"


def id_in_use(process_id: str, owner: str, parts: int, state: JobState) -> JobExists:
    """The error for a process id that another job has: whose it is, and how to free it."""
    first = "" if state in ENDED else f" (after: discomputify stop {process_id})"
    return JobExists(
        f"PROCESS_ID '{process_id}' is in use by a job of {owner or 'an unknown user'} with "
        f"{parts} parts that is {state.value}. Choose another one, or free it with: "
        f"discomputify clear {process_id}{first}",
        process_id=process_id,
        owner=owner,
        state=state.value,
    )
