"""What travels between roles: the envelope, and the operations of the master with their data.

The store's operations are the store plugin's own. Unknown fields are ignored on reading, so that
releases of one major version work together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.job import JobSpec, JobStatus, Outcome, PartOutput
from discomputify_core.model.node import NodeFacts, NodeLoad, NodeStatus

#: Most bytes in one message's body; bigger things travel as several messages.
MAX_BODY = 16 * 1024 * 1024

#: Operation of an answer; ``data`` is the result, or ``{"error": {...}}`` (errors.to_wire).
ANSWER = "answer"


@attrs.frozen
class RequestId:
    """Names a request, unchanged when it is sent again: 16 random bytes of the client process and a counter."""

    client: bytes
    number: int


@attrs.frozen
class Message:
    """One message on a channel.

    ``request`` is None for a message that wants no answer. An answer carries its request's id
    and the operation :data:`ANSWER`. ``data`` is plain (what MessagePack holds). ``settled``: the client
    has received all answers to its requests with a lower number, so the server may forget them.
    """

    operation: str
    data: Any = None
    body: bytes | bytearray | memoryview = b""
    request: RequestId | None = None
    settled: int = 0


@attrs.frozen
class Hello:
    """What both ends say of themselves in the handshake."""

    role: str
    name: str = ""
    software: str = "discomputify"
    version: str = ""
    features: Mapping[str, Any] = attrs.field(factory=dict)


# --- node -> master -----------------------------------------------------------------------------


@attrs.frozen
class Join:
    """``node.join``: request."""

    facts: NodeFacts
    attempts: tuple[AttemptId, ...] = ()


@attrs.frozen
class Joined:
    """``node.join``: answer."""

    name: str
    #: Seconds between beats.
    beat: float
    #: Attempts that the node shall end: nobody waits for them any more.
    stop: tuple[AttemptId, ...] = ()


@attrs.frozen
class Beat:
    """``node.beat``."""

    load: NodeLoad
    held: tuple[tuple[ProcessId, int], ...] = ()


@attrs.frozen
class Progress:
    """What a part said through ``program.progress``, and what its node waits for on its behalf."""

    attempt: AttemptId
    fraction: float
    note: str = ""
    #: A sentence about what keeps it from ending although its program has, "" while that runs.
    waiting: str = ""


@attrs.frozen
class UsesMemory:
    """A part uses shared memory; ``table``: see MemoryUsed."""

    attempt: AttemptId
    table: str = ""


@attrs.frozen
class StartOver:
    """What a part needs of shared memory is gone; a sentence says what."""

    attempt: AttemptId
    reason: str


@attrs.frozen
class Kept:
    """A part's checkpoint is in the store."""

    attempt: AttemptId
    manifest: str


@attrs.frozen
class Report:
    """``node.report``: a batch of what happened, in the order of its fields (``kept`` before ``ended``)."""

    started: tuple[AttemptId, ...] = ()
    uses_memory: tuple[UsesMemory, ...] = ()
    start_over: tuple[StartOver, ...] = ()
    progress: tuple[Progress, ...] = ()
    ended: tuple[Outcome, ...] = ()
    kept: tuple[Kept, ...] = ()


@attrs.frozen
class ArrayWanted:
    """``node.array``: an array of a job that another node keeps.

    A node asks the master, which passes it on to the node that keeps the array, which brings it into the store.
    """

    node: str
    process_id: ProcessId
    array: str
    #: It is not needed any more (and nothing is brought anywhere).
    drop: bool = False


@attrs.frozen
class ArrayKept:
    """Answer to ``node.array``: the blob of the array in the store."""

    digest: str = ""
    size: int = 0


# --- master -> node -----------------------------------------------------------------------------


@attrs.frozen
class Start:
    """One part to run; its job is in the same batch or was in an earlier one."""

    process_id: ProcessId
    key: str
    attempt: AttemptId
    part: int
    number: int
    #: How often the job's parts started again together before.
    generation: int = 0
    #: Digest of the manifest of files that it finds under DISCOMPUTIFY_CHECKPOINT_PATH; "": none.
    checkpoint: str = ""


@attrs.frozen
class Work:
    """``node.work``: jobs that the node has not seen, parts to start, attempts to stop, jobs to drop."""

    jobs: tuple[JobSpec, ...] = ()
    start: tuple[Start, ...] = ()
    #: attempt id -> reason
    stop: Mapping[str, str] = attrs.field(factory=dict)
    drop: tuple[ProcessId, ...] = ()


@attrs.frozen
class LogPiece:
    """``node.log``: bytes of a running attempt's stream; the answer's body."""

    attempt: AttemptId
    #: "out" or "err"
    stream: str
    offset: int
    limit: int


# --- client -> master ---------------------------------------------------------------------------


@attrs.frozen
class Watch:
    """``job.watch``: the status once its version is above *seen*, or as it is after *timeout* seconds."""

    process_id: ProcessId
    seen: int = -1
    timeout: float = 10.0


@attrs.frozen
class AboutJob:
    """``job.status``, ``job.stop``, ``job.why``: which job, which part (0: the job itself)."""

    process_id: ProcessId
    part: int = 0
    by: str = ""


@attrs.frozen
class ClearAsked:
    """``job.clear``: which job, and whether the store keeps its files for a next job of that id."""

    process_id: ProcessId
    keep_files: bool = False


@attrs.frozen
class JobsAsked:
    """``job.list``: jobs from *after* on, oldest first; 0: from the first."""

    after: int = 0


@attrs.frozen
class Statuses:
    """Answer to ``job.list``: as many as fit, without failures, warnings and nodes. ``next`` continues, 0: no more."""

    jobs: tuple[JobStatus, ...] = ()
    next: int = 0


@attrs.frozen
class OutputsAsked:
    """``job.outputs``: committed outputs, in the order in which they were committed, from *after* on."""

    process_id: ProcessId
    after: int = 0
    limit: int = 1000


@attrs.frozen
class Outputs:
    """Answer to ``job.outputs``: ``next`` continues; ``ended`` says that no more will come."""

    outputs: tuple[PartOutput, ...] = ()
    next: int = 0
    ended: bool = False


@attrs.frozen
class LogAsked:
    """``job.log``: bytes of a stream from *offset* on. part 0: any; number 0: the newest attempt."""

    process_id: ProcessId
    part: int
    number: int = 0
    #: "out" or "err"
    stream: str = "out"
    offset: int = 0
    limit: int = 1024 * 1024


@attrs.frozen
class Log:
    """Answer to ``job.log``; the bytes are the message's body.

    Where ``manifest`` is set the stream is in the store (``logs/out``, ``logs/err``) and the body is empty.
    """

    attempt: AttemptId
    number: int = 1
    manifest: str = ""
    ended: bool = False
    next: int = 0


@attrs.frozen
class Sentence:
    """Answer to ``job.why``."""

    text: str
    #: Further sentences, one per reason.
    details: tuple[str, ...] = ()


@attrs.frozen
class MemoryAsked:
    """``job.memory``: what a job's shared memory holds, or one entry; answered with a Listing."""

    process_id: ProcessId
    name: str = ""


@attrs.frozen
class DrainAsked:
    """``nodes.drain``: which node takes no more parts, or (``undo``) does again; answered with its NodeStatus."""

    node: str
    undo: bool = False
    by: str = ""


@attrs.frozen
class NodesAsked:
    """``nodes``: nodes from *after* on; 0: from the first. Their packages are many, and told where wanted."""

    after: int = 0
    packages: bool = False


@attrs.frozen
class Nodes:
    """Answer to ``nodes``: as many as fit. ``next`` continues, 0: no more."""

    nodes: tuple[NodeStatus, ...] = ()
    #: Slots of all live nodes.
    slots: int = 0
    next: int = 0


@attrs.frozen
class MasterInfo:
    """Answer to ``master.info``: for ``doctor``."""

    version: str
    scheduler: str
    plugins: Mapping[str, str] = attrs.field(factory=dict)
    jobs: int = 0
    nodes: int = 0
    #: Where the master's store is, and what it last heard of it.
    store: str = ""
    #: What keeps the master from writing down what happens; "" if nothing does.
    journal: str = ""
