"""What the cluster asks its role to do. Nothing has happened until an event says so."""

from __future__ import annotations

from typing import Union

import attrs

from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import JobSpec


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
class JobChanged:
    """Somebody who watches the job should look."""

    process_id: ProcessId


Command = Union[CheckTree, StartPart, StopAttempt, DropJob, ClearStore, JobChanged]
