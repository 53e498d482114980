"""What client methods give back, beyond the values of model/."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from discomputify_core.edge.trees import Ignored
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobStatus


@attrs.frozen
class Upload:
    """What a submit moved."""

    #: Files and bytes of the program directory.
    files: int
    bytes: int
    #: Blobs and bytes that the store did not have yet.
    blobs_sent: int
    bytes_sent: int


@attrs.frozen
class Submitted:
    """A job that the master accepted."""

    status: JobStatus
    upload: Upload
    #: What was left out, and why.
    ignored: tuple[Ignored, ...] = ()
    #: Lines of its requirements.txt that are no plain requirements, and are not checked.
    unchecked: tuple[str, ...] = ()

    @property
    def process_id(self) -> ProcessId:
        """The job's id."""
        return self.status.process_id


@attrs.frozen
class Fetched:
    """What a fetch brought."""

    #: Folder of the job: ``OUT/PROCESS_ID``.
    folder: str
    #: Parts whose outputs are complete there.
    parts: int
    files: int
    bytes: int
    #: Whether fetched outputs of an earlier job of the same id were removed there first.
    replaced: bool = False


@attrs.frozen
class Cleared:
    """What a clearing of old jobs did."""

    #: Jobs that were forgotten, oldest first.
    cleared: tuple[ProcessId, ...]
    #: Jobs as old that had to stay, and why.
    kept: Mapping[ProcessId, str]
