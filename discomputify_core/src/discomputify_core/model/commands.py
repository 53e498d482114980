"""What the cluster asks its role to do. Nothing has happened until an event says so."""

from __future__ import annotations

from typing import Union

import attrs

from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import JobSpec
from discomputify_core.model.memory import Over, Scope


@attrs.frozen
class CheckTree:
    """Ask the store whether it holds a job's tree; answer with TreeChecked."""

    process_id: ProcessId
    key: str
    tree: str


@attrs.frozen
class StartPart:
    """Tell *node* to run a part. ``spec`` travels to a node once per job."""

    node: NodeName
    attempt: AttemptId
    part: int
    number: int
    spec: JobSpec
    #: How often the job's parts started again together before.
    generation: int = 0
    #: Digest of the manifest that an earlier attempt of the part left by ``program.checkpoint()``; "": none did.
    checkpoint: str = ""


@attrs.frozen
class StopAttempt:
    """Tell *node* to end an attempt, its processes and their children."""

    node: NodeName
    attempt: AttemptId
    reason: str


@attrs.frozen
class DropJob:
    """The job is over for *node*: it may free what it holds of it."""

    node: NodeName
    process_id: ProcessId


@attrs.frozen
class ClearStore:
    """Remove a job's trees from the store."""

    process_id: ProcessId


@attrs.frozen
class GatherInputs:
    """Join the outputs of jobs with a job's program, as a tree of that job; answer with InputsGathered."""

    spec: JobSpec


@attrs.frozen
class TellMemory:
    """Tell the shared memory which attempts of a job are over. Commands for one scope are carried out in order."""

    scope: Scope
    total: int
    over: tuple[Over, ...]


@attrs.frozen
class ClearMemory:
    """Free what the shared memory holds of a generation of a job."""

    scope: Scope


@attrs.frozen
class JobChanged:
    """Somebody who watches the job should look."""

    process_id: ProcessId


Command = Union[
    CheckTree,
    StartPart,
    StopAttempt,
    DropJob,
    ClearStore,
    GatherInputs,
    TellMemory,
    ClearMemory,
    JobChanged,
]
