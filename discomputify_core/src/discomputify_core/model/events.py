"""What can happen to the cluster. The master's state changes through these values and nothing else."""

from __future__ import annotations

from typing import Union

import attrs

from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import JobSpec, Outcome
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
    AttemptStarted,
    AttemptProgressed,
    AttemptEnded,
    InputsGathered,
    MemoryUsed,
    StartOverAsked,
    MemoryTableLost,
    Tick,
]
