"""What can happen to the cluster. The master's state changes through these values and nothing else."""

from __future__ import annotations

from typing import Union

import attrs

from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import JobSpec, Outcome
from discomputify_core.model.memory import Scope
from discomputify_core.model.node import NodeFacts, NodeLoad


@attrs.frozen
class JobSubmitted:
    """A client submitted a job."""

    spec: JobSpec
    #: Unix time, for people.
    wall: float = 0.0


@attrs.frozen
class TreeChecked:
    """The store was asked whether it holds a job's tree; ``fault`` is "" if it does.

    ``final`` is False when the store could not be asked, and will be asked again.
    """

    process_id: ProcessId
    key: str
    fault: str = ""
    final: bool = True
    wall: float = 0.0


@attrs.frozen
class JobStopAsked:
    """Somebody asked to stop a job."""

    process_id: ProcessId
    by: str = ""
    wall: float = 0.0


@attrs.frozen
class JobClearAsked:
    """Somebody asked to forget a job that ended."""

    process_id: ProcessId
    #: Whether what the store holds of it stays, for a job of the same id that starts from the same files.
    keep_files: bool = False


@attrs.frozen
class NodeJoined:
    """A computing node connected: new, back after a cut, or restarted (another ``facts.session``)."""

    facts: NodeFacts
    address: str = ""
    #: Attempts that run or wait for their commit there.
    attempts: tuple[AttemptId, ...] = ()
    wall: float = 0.0


@attrs.frozen
class NodeBeat:
    """A computing node is alive."""

    node: NodeName
    load: NodeLoad
    #: Bytes held of jobs' trees.
    held: tuple[tuple[ProcessId, int], ...] = ()
    wall: float = 0.0


@attrs.frozen
class NodeCut:
    """The connection to a node closed. It has a moment to come back before it is fenced."""

    node: NodeName
    session: str
    reason: str = ""


@attrs.frozen
class NodeRefused:
    """A peer was refused as a node (version, name taken…); shown in ``nodes``."""

    name: str
    address: str
    reason: str
    wall: float = 0.0


@attrs.frozen
class NodeLeft:
    """A node stops as planned and has ended its parts."""

    node: NodeName
    session: str
    wall: float = 0.0


@attrs.frozen
class NodeFenced:
    """A node has been away for too long; made by the cluster itself out of the time that passed."""

    node: NodeName
    session: str
    reason: str
    wall: float = 0.0


@attrs.frozen
class NodeDrainAsked:
    """Somebody asked that a node takes no more parts, or (``undo``) that it does again."""

    node: NodeName
    undo: bool = False
    by: str = ""


@attrs.frozen
class NodeTriedAgain:
    """A node that was set aside for its failures is used again; made by the cluster itself."""

    node: NodeName


@attrs.frozen
class AttemptStarted:
    """A part's program runs."""

    node: NodeName
    attempt: AttemptId
    wall: float = 0.0


@attrs.frozen
class AttemptProgressed:
    """A part called ``program.progress``, or its program has ended and its node waits for something."""

    node: NodeName
    attempt: AttemptId
    fraction: float
    note: str = ""
    #: What for, in a sentence; "" while the program runs.
    waiting: str = ""


@attrs.frozen
class AttemptEnded:
    """An attempt ended; its outputs, if any, are in the store."""

    node: NodeName
    outcome: Outcome
    wall: float = 0.0


@attrs.frozen
class AttemptKept:
    """A part's ``program.checkpoint()``: the manifest of what its next attempt starts with is in the store."""

    node: NodeName
    attempt: AttemptId
    manifest: str


@attrs.frozen
class SecondAttempt:
    """A part runs far longer than others did, and may be tried at another node too; made by the cluster itself."""

    process_id: ProcessId
    part: int


@attrs.frozen
class JobResubmitted:
    """A job that ended goes on with another program: its parts that are not done run again, with fresh budgets.

    ``spec`` has the job's process id and number of parts, and a key of its own.
    """

    spec: JobSpec
    wall: float = 0.0


@attrs.frozen
class JobOverdue:
    """A job's deadline has passed; made by the cluster itself."""

    process_id: ProcessId
    wall: float = 0.0


@attrs.frozen
class StoreCleared:
    """The store has removed what it held of a job that was forgotten."""

    process_id: ProcessId


@attrs.frozen
class MemoryCleared:
    """The shared memory has freed a scope."""

    scope: Scope


@attrs.frozen
class MasterStarted:
    """A master begins with what an earlier one wrote down: no node is connected, nothing is under way to the store."""

    wall: float = 0.0


@attrs.frozen
class InputsGathered:
    """The outputs of the jobs that a job takes inputs from are joined with its program, or cannot be.

    ``fault`` and ``final``: as of TreeChecked.
    """

    process_id: ProcessId
    key: str
    #: Digest of the joined tree, which takes the program's place, and what JobSpec says of a tree.
    tree: str = ""
    tree_bytes: int = 0
    tree_files: int = 0
    part_bytes: int = 0
    fault: str = ""
    final: bool = True
    wall: float = 0.0


@attrs.frozen
class MemoryUsed:
    """A part uses shared memory, for the first time in this attempt."""

    node: NodeName
    attempt: AttemptId
    #: Which table it was answered from.
    table: str = ""
    wall: float = 0.0


@attrs.frozen
class StartOverAsked:
    """What a part needs of shared memory is gone: all parts of its job have to start again together."""

    node: NodeName
    attempt: AttemptId
    reason: str
    wall: float = 0.0


@attrs.frozen
class MemoryTableLost:
    """A table of shared memory is gone; parts that used it start again."""

    table: str
    reason: str
    wall: float = 0.0


@attrs.frozen
class Tick:
    """Time passed. Leases and deadlines are looked at."""

    wall: float = 0.0


Event = Union[
    JobSubmitted,
    TreeChecked,
    JobStopAsked,
    JobClearAsked,
    NodeJoined,
    NodeBeat,
    NodeCut,
    NodeRefused,
    NodeLeft,
    NodeFenced,
    NodeDrainAsked,
    NodeTriedAgain,
    AttemptStarted,
    AttemptProgressed,
    AttemptEnded,
    AttemptKept,
    SecondAttempt,
    JobResubmitted,
    JobOverdue,
    StoreCleared,
    MemoryCleared,
    MasterStarted,
    InputsGathered,
    MemoryUsed,
    StartOverAsked,
    MemoryTableLost,
    Tick,
]
