"""Bringing program directories to the store: scanned, compared, uploaded.

Here: folders as far as they are files in the store. Not here: how folders become trees (edge/trees.py), starting
them as jobs (submitting.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from discomputify_core.client.contact import Contact
from discomputify_core.client.reading import scan_program
from discomputify_core.client.results import Upload
from discomputify_core.edge import trees
from discomputify_core.edge.connect import master_address
from discomputify_core.errors import (
    DiscomputifyError,
    DiskError,
    NoSuchJob,
    NoSuchTree,
    StoreError,
    StoreFull,
    Unreachable,
)
from discomputify_core.interfaces.files import UPLOADED, FileStore, Moved
from discomputify_core.model.files import Digest
from discomputify_core.model.ids import ProcessId, check_process_id
from discomputify_core.model.job import JobStatus, id_in_use
from discomputify_core.model.message import AboutJob, Nodes, NodesAsked


class Uploading(Contact):
    """The part of a client that brings program directories to its cluster's store."""

    async def upload(self, folder: Path | str, process_id: str, moved: Moved | None = None) -> Upload:
        """Upload a program directory for a job that is started later, by whoever calls :meth:`start`.

        Replaces what was uploaded so for that id before.

        Raises:
            BadInput: the folder or the process id cannot be used.
            JobExists: the process id is in use.
            Unreachable: no master, or no store.
        """
        pid = check_process_id(process_id)
        scan = await self.scan(Path(folder))
        await self._check_free(pid)
        up = await self._upload(scan, pid, UPLOADED, moved)
        return Upload(up.files, up.bytes, up.blobs_sent, up.bytes_sent)

    async def discard(self, process_id: str) -> None:
        """Remove what was uploaded for a job that has not been started. That there is nothing is no error.

        Raises:
            BadInput: the process id cannot be used.
            JobExists: there is a job of that id: :meth:`Client.clear` forgets it.
            Unreachable: no master, or no store.
        """
        pid = check_process_id(process_id)
        await self._check_free(pid)
        store = await self._met_store()
        await store.clear(pid)

    async def scan(self, folder: Path) -> trees.Scan:
        """What would be uploaded of *folder*.

        Raises:
            BadInput: it is missing, empty or has no main.py, or holds what may not be uploaded, or a file where parts
            need INPUT_PATH or OUTPUT_PATH.
        """
        conf = self._connection.conf
        used = self._connection.loaded.path
        also = {used: "it is the conf in use"} if used else {}
        return await asyncio.to_thread(scan_program, folder, self.store.hasher, conf.input_path, conf.output_path, also)

    async def plan(self, folder: Path | str, process_id: str = "plan") -> trees.Plan:
        """What an upload of *folder* would send, and what it would leave out. Changes nothing."""
        scan = await self.scan(Path(folder))
        await self._slots_or_none()
        return await trees.plan(scan, await self._met_store(), check_process_id(process_id))

    async def _upload(self, scan: trees.Scan, pid: ProcessId, tree: str, moved: Moved | None) -> trees.Uploaded:
        store = await self._met_store()
        try:
            return await trees.upload(scan, store, pid, tree, moved)
        except (DiskError, StoreFull):
            # What has arrived would keep a full disk full for everybody.
            with contextlib.suppress(DiscomputifyError):
                await store.clear(pid)
            raise

    async def _uploaded(self, store: FileStore, process_id: ProcessId) -> Digest:
        """What :meth:`upload` brought, else what an old client did.

        Raises:
            NoSuchTree: neither did.
        """
        try:
            return await store.find(process_id, UPLOADED)
        except NoSuchTree as nothing:
            try:
                return await store.gather(process_id)
            except NoSuchTree:
                raise nothing from None
            except StoreError as error:
                if type(error) is StoreError:  # a store that serves no old clients
                    raise nothing from None
                raise

    async def _check_free(self, process_id: ProcessId, *, or_ended: bool = False) -> bool:
        """See that a job may have that id; returns whether one that has ended has it still, which *or_ended* allows.

        Raises:
            JobExists: the id is in use.
        """
        try:
            status = await self._ask("job.status", AboutJob(process_id), JobStatus)
        except NoSuchJob:
            return False
        if or_ended and status.ended:
            return True
        raise id_in_use(process_id, status.owner, status.parts.total, status.state)

    async def _slots_or_none(self) -> int:
        return (await self._ask("nodes", NodesAsked(), Nodes)).slots

    async def _slots(self) -> int:
        slots = await self._slots_or_none()
        if not slots:
            raise Unreachable(
                f"No computing node is connected to the master at {master_address(self._connection.conf)}, so the "
                f"number of parts cannot be taken from the slots. Start one (discomputify run computing_node), "
                f"or give -n."
            )
        return slots
