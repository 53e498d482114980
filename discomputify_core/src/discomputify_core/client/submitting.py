"""Submitting program directories: scanned, uploaded, started.

Here: what becomes of a folder until the master has accepted it as a job. Not here: how folders become trees
(edge/trees.py), what becomes of the job (client.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from discomputify_core.client.contact import Contact
from discomputify_core.client.predecessors import Jobs, check_known, ids_of
from discomputify_core.client.reading import requirements_of, scan_program
from discomputify_core.client.results import Submitted, Upload
from discomputify_core.edge import clock, trees
from discomputify_core.edge.connect import master_address
from discomputify_core.edge.ignore import matcher
from discomputify_core.edge.machine import owner
from discomputify_core.edge.weights import check_job
from discomputify_core.errors import (
    BadInput,
    DiscomputifyError,
    DiskError,
    NoSuchJob,
    NoSuchTree,
    StoreError,
    Unreachable,
)
from discomputify_core.interfaces.files import UPLOADED, FileStore, Moved
from discomputify_core.model.files import Digest
from discomputify_core.model.ids import ProcessId, check_parts, check_process_id
from discomputify_core.model.inputs import check_inputs, check_inputs_from, most_bytes_of_a_part
from discomputify_core.model.job import JobSpec, JobStatus, Request, id_in_use
from discomputify_core.model.message import AboutJob, ClearAsked, Nodes, NodesAsked
from discomputify_core.model.program_root import program_in


class Submitting(Contact):
    """The part of a client that brings program directories to its cluster."""

    async def submit(
        self,
        folder: Path | str,
        parts: int | None = None,
        *,
        process_id: str | None = None,
        request: Request | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        inputs: str = "all",
        collect: Sequence[str] = (),
        attempts: int = 3,
        after: Jobs = (),
        after_any: Jobs = (),
        inputs_from: Jobs = (),
        together: bool = False,
        moved: Moved | None = None,
        scanned: Callable[[trees.Scan], None] | None = None,
    ) -> Submitted:
        """Upload a program directory and start it as a job.

        Args:
            folder: holds main.py, everything it imports, and its inputs.
            parts: how many parts; None: as many as the cluster has slots.
            process_id: the job's name; None: microseconds since the epoch.
            request: what one part needs.
            args: further arguments of main.py.
            env: further environment of every part.
            inputs: "all", "lazy" or a pattern such as ``INPUT_PATH/{part}/**``.
            collect: patterns of files outside OUTPUT_PATH to bring home.
            attempts: how often a part that fails by itself is tried.
            after: jobs that have to be done before this one starts: ids, or what was given for them.
            after_any: jobs that have to have ended in any way before.
            inputs_from: jobs that have to be done before, whose outputs the parts find under INPUT_PATH/PROCESS_ID.
            together: start all parts at once, or none.
            moved: told the bytes that were uploaded, as they are.
            scanned: shown the folder's contents before they are uploaded.

        Raises:
            BadInput: the folder, parts or process id cannot be used.
            JobExists: the process id is in use.
            NoSuchJob: it is to follow a job that there is not.
            Unreachable: no master, no store, or (without *parts*) no computing node.
        """
        folder = Path(folder)
        pid = check_process_id(clock.new_process_id() if process_id is None else process_id)
        if parts is not None:
            check_parts(parts)
        check_inputs(inputs, self._connection.conf.input_path)
        matcher(tuple(collect), "--collect")
        inputs_of, any_of = ids_of(inputs_from, "inputs_from"), ids_of(after_any, "after_any")
        done_of = tuple(dict.fromkeys((*ids_of(after, "after"), *inputs_of)))
        scan = await self.scan(folder)
        check_inputs_from(scan.manifest, self._connection.conf.input_path, inputs_of)
        await self._check_free(pid)
        if parts is None:
            parts = await self._slots()
        if scanned:
            scanned(scan)
        conf = self._connection.conf
        key = clock.token(6)
        part_bytes = await asyncio.to_thread(most_bytes_of_a_part, scan.manifest, conf.input_path, inputs, parts)
        spec = JobSpec(
            process_id=pid,
            key=key,
            parts=parts,
            tree="",  # known after the upload
            tree_bytes=scan.manifest.size,
            tree_files=len(scan.manifest.files),
            part_bytes=part_bytes,
            request=request or Request(),
            args=tuple(args),
            env=dict(env or {}),
            inputs=inputs,
            collect=tuple(collect),
            owner=owner(),
            input_path=conf.input_path,
            output_path=conf.output_path,
            attempts=attempts,
            together=together,
            after=done_of,
            after_any=any_of,
            inputs_from=inputs_of,
            requirements=await asyncio.to_thread(requirements_of, folder),
        )
        check_job(spec)
        await check_known(spec, lambda other: self._ask("job.status", AboutJob(other), JobStatus))
        up = await self._upload(scan, pid, f"program-{key}", moved)
        try:
            status = await self._ask("job.submit", attrs.evolve(spec, tree=up.digest), JobStatus)
        except NoSuchJob:  # cleared during the upload, which nobody would ever use
            with contextlib.suppress(DiscomputifyError):
                await (await self._met_store()).clear(pid)
            raise
        upload = Upload(up.files, up.bytes, up.blobs_sent, up.bytes_sent)
        return Submitted(status, upload, scan.ignored)

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

    async def start(
        self,
        process_id: str,
        parts: int | None = None,
        *,
        per_node: int = 0,
        request: Request | None = None,
        replace: bool = False,
    ) -> JobStatus:
        """Start what :meth:`upload` brought as a job.

        Args:
            parts: how many; None: as many as the cluster has slots.
            per_node: at most so many at once on one node; 0: as many as fit.
            request: what one part needs.
            replace: forget an ended job of that id first; what was uploaded for it is started again.

        Raises:
            NoSuchTree: nothing was uploaded for that id; an ended job of it is not forgotten then.
            BadInput: what was uploaded is no program.
            JobExists: the process id is in use.
            Unreachable: no master, no store, or (without *parts*) no computing node.
        """
        pid = check_process_id(process_id)
        if parts is not None:
            check_parts(parts)
        ended = await self._check_free(pid, or_ended=replace)
        store = await self._met_store()
        # An old client may have uploaded it, with folders around it.
        manifest = program_in(await store.manifest(pid, await self._uploaded(store, pid)))
        conf = self._connection.conf
        parts = parts or await self._slots()
        key = clock.token(6)
        spec = JobSpec(
            process_id=pid,
            key=key,
            parts=parts,
            # Of its own name: an upload that comes while the job runs must not take its files away.
            tree=await store.commit(pid, f"program-{key}", manifest),
            tree_bytes=manifest.size,
            tree_files=len(manifest.files),
            part_bytes=await asyncio.to_thread(most_bytes_of_a_part, manifest, conf.input_path, "all", parts),
            request=request or Request(),
            owner=owner(),
            input_path=conf.input_path,
            output_path=conf.output_path,
            per_node=per_node,
        )
        check_job(spec)
        if ended:  # not forgotten before it is sure that there is something to start
            with contextlib.suppress(NoSuchJob, BadInput):  # somebody else was quicker: the next answer says so
                await self._ask_bytes("job.clear", ClearAsked(pid, keep_files=True))
        return await self._ask("job.submit", spec, JobStatus)

    async def _upload(self, scan: trees.Scan, pid: ProcessId, tree: str, moved: Moved | None) -> trees.Uploaded:
        store = await self._met_store()
        try:
            return await trees.upload(scan, store, pid, tree, moved)
        except DiskError:
            # What has arrived would keep a full disk full for everybody.
            with contextlib.suppress(DiscomputifyError):
                await store.clear(pid)
            raise

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
