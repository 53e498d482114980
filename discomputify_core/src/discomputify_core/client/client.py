"""The asyncio client: submit, status, wait, logs, stop, fetch, clear, nodes, why.

Here: what a user asks of a cluster, as one call each. Not here: how folders become trees (edge/trees.py), how
outputs come home (fetching.py), printing (cli/).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from discomputify_core.client.fetching import Fetching
from discomputify_core.client.reading import read_file, requirements_of, scan_program
from discomputify_core.client.results import Fetched, Submitted, Upload
from discomputify_core.edge import clock, trees
from discomputify_core.edge.connect import Connection, hello, master_address
from discomputify_core.edge.ignore import matcher
from discomputify_core.edge.machine import owner
from discomputify_core.edge.opening import Loaded, need_conf
from discomputify_core.edge.weights import check_job
from discomputify_core.errors import (
    BadInput,
    DiscomputifyError,
    DiskError,
    JobForgotten,
    NoSuchJob,
    Unreachable,
)
from discomputify_core.interfaces.files import FileStore, Moved, StoreStatus
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.ids import ProcessId, check_parts, check_process_id
from discomputify_core.model.inputs import check_inputs, most_bytes_of_a_part
from discomputify_core.model.job import AttemptReport, JobSpec, JobStatus, Request, id_in_use
from discomputify_core.model.message import (
    AboutJob,
    JobsAsked,
    Log,
    LogAsked,
    MasterInfo,
    Nodes,
    NodesAsked,
    Sentence,
    Statuses,
    Watch,
)
from discomputify_core.model.node import NodeStatus

T = TypeVar("T")

#: Kinds of plugins that a client uses.
NEEDED = ("transport", "store")
#: Seconds in which the first answer must come: a command that cannot reach its cluster ends after this.
FIRST_CONTACT = 8.0
#: Seconds for later answers: a master that restarts is waited for.
PATIENCE = 60.0
#: Seconds that one question for changes is held by the master.
WATCH = 10.0


class Client:
    """A client of one cluster. An asynchronous context manager.

    Args:
        loaded: a conf opened with its transport and store; :meth:`from_conf` opens one.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._connection = Connection(loaded, hello("client", owner()))
        self._master = self._connection.master()
        self._store: FileStore | None = None
        self._met = False
        self._met_the_store = False

    @classmethod
    def from_conf(cls, conf: Path | str | None = None) -> Client:
        """A client for the cluster of a conf.

        Args:
            conf: path of a discomputify_conf.json; None searches as the command line does.

        Raises:
            BadConf: the conf cannot be used, or there is none.
        """
        return cls(need_conf(Path(conf) if conf is not None else None, NEEDED))

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. Jobs go on."""
        await self._connection.close()

    @property
    def store(self) -> FileStore:
        """The cluster's store."""
        if self._store is None:
            self._store = self._connection.store()
        return self._store

    async def _met_store(self) -> FileStore:
        """The store, after making sure once that it can be reached: later it is waited for."""
        store = self.store
        if not self._met_the_store:
            await self._connection.meet_store(FIRST_CONTACT)
            self._met_the_store = True
        return store

    async def _ask(self, operation: str, question: Any, kind: type[T], timeout: float = 0.0) -> T:
        data, _ = await self._ask_bytes(operation, question, timeout)
        return from_plain(data, kind)

    async def _ask_bytes(self, operation: str, question: Any, timeout: float = 0.0) -> tuple[Any, bytes]:
        patience = (PATIENCE if self._met else FIRST_CONTACT) + timeout
        reply = await self._master.call(operation, to_plain(question), timeout=patience)
        self._met = True
        return reply.data, bytes(reply.body)

    # --- submitting ---------------------------------------------------------------------------------

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
            moved: told the bytes that were uploaded, as they are.
            scanned: shown the folder's contents before they are uploaded.

        Raises:
            BadInput: the folder, parts or process id cannot be used.
            JobExists: the process id is in use.
            Unreachable: no master, no store, or (without *parts*) no computing node.
        """
        folder = Path(folder)
        pid = check_process_id(clock.new_process_id() if process_id is None else process_id)
        if parts is not None:
            check_parts(parts)
        check_inputs(inputs, self._connection.conf.input_path)
        matcher(tuple(collect), "--collect")
        scan = await self.scan(folder)
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
            requirements=await asyncio.to_thread(requirements_of, folder),
        )
        check_job(spec)
        up = await self._upload(scan, pid, f"program-{key}", moved)
        status = await self._ask("job.submit", attrs.evolve(spec, tree=up.digest), JobStatus)
        upload = Upload(up.files, up.bytes, up.blobs_sent, up.bytes_sent)
        return Submitted(status, upload, scan.ignored)

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

    async def _check_free(self, process_id: str) -> None:
        try:
            status = await self.status(process_id)
        except NoSuchJob:
            return
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

    # --- watching -----------------------------------------------------------------------------------

    async def status(self, process_id: str) -> JobStatus:
        """The job as it is.

        Raises:
            NoSuchJob: there is none of that id.
        """
        return await self._ask("job.status", AboutJob(check_process_id(process_id)), JobStatus)

    async def jobs(self) -> tuple[JobStatus, ...]:
        """All jobs that the cluster knows, oldest first; failures, warnings and nodes are left to :meth:`status`."""
        found: list[JobStatus] = []
        after = 0
        while True:
            page = await self._ask("job.list", JobsAsked(after), Statuses)
            found += page.jobs
            if page.next <= after:
                return tuple(found)
            after = page.next

    async def changes(self, process_id: str, since: int = -1, until: float | None = None) -> AsyncIterator[JobStatus]:
        """The job's status now and after every change, until it has ended.

        Args:
            since: a version that was seen already.
            until: a time of this process's clock (``edge.clock.now``) at which to stop.

        Raises:
            NoSuchJob: there is none of that id.
            JobForgotten: there is none any more.
        """
        pid = check_process_id(process_id)
        seen = since
        while True:
            hold = WATCH if until is None else min(WATCH, max(until - clock.now(), 0.0))
            try:
                status = await self._ask("job.watch", Watch(pid, seen, hold), JobStatus, hold)
            except NoSuchJob as gone:
                if seen < 0:
                    raise
                raise JobForgotten(
                    f"The master does not know '{pid}' any more: somebody cleared it, or the master was started again, "
                    f"which in this release ends its jobs. Submit it again.",
                    process_id=pid,
                ) from gone
            if status.version > seen or status.ended:
                seen = status.version
                yield status
            if status.ended or (until is not None and clock.now() >= until):
                return

    async def wait(
        self, process_id: str, timeout: float | None = None, changed: Callable[[JobStatus], None] | None = None
    ) -> JobStatus:
        """The job's status once it has ended, or after *timeout* seconds (look at ``ended``)."""
        status = await self.status(process_id)
        until = None if timeout is None else clock.now() + timeout
        if changed:
            changed(status)
        if not status.ended:
            async for later in self.changes(process_id, status.version, until):
                status = later
                if changed:
                    changed(status)
        return status

    async def why(self, process_id: str, part: int = 0) -> Sentence:
        """What the job, or one part of it, waits for or why it ended so."""
        return await self._ask("job.why", AboutJob(check_process_id(process_id), part), Sentence)

    async def attempts(self, process_id: str, part: int) -> tuple[AttemptReport, ...]:
        """The attempts of one part, oldest first."""
        return await self._ask("job.attempts", AboutJob(check_process_id(process_id), part), tuple[AttemptReport, ...])

    async def nodes(self, packages: bool = False) -> tuple[NodeStatus, ...]:
        """The computing nodes; with *packages* also what is installed for the interpreter of each."""
        found: dict[str, NodeStatus] = {}  # by name: nodes may come between two pages
        after = 0
        while True:
            page = await self._ask("nodes", NodesAsked(after, packages), Nodes)
            found.update((node.name, node) for node in page.nodes)
            if page.next <= after:
                return tuple(found.values())
            after = page.next

    async def info(self) -> MasterInfo:
        """The master's version and what it uses."""
        return await self._ask("master.info", None, MasterInfo)

    async def store_status(self) -> StoreStatus:
        """The store's version, place and space.

        Raises:
            Unreachable: it did not answer; the first time it is not waited for longer than for a first contact.
        """
        return await (await self._met_store()).status()

    # --- logs ---------------------------------------------------------------------------------------

    async def logs(
        self, process_id: str, part: int, *, attempt: int = 0, stream: str = "out", follow: bool = False
    ) -> AsyncIterator[bytes]:
        """Pieces of what a part wrote to a stream.

        Args:
            attempt: which attempt; 0: the newest.
            stream: "out" or "err".
            follow: wait for more until the attempt has ended.
        """
        if stream not in ("out", "err"):
            raise BadInput(f"There are the streams 'out' and 'err', not {stream!r}.")
        offset = 0
        while True:
            question = LogAsked(check_process_id(process_id), part, attempt, stream, offset)
            data, piece = await self._ask_bytes("job.log", question)
            said = from_plain(data, Log)
            attempt = said.number
            if said.ended:
                rest = await self._kept_log(process_id, said.manifest, stream)
                if rest[offset:]:
                    yield rest[offset:]
                return
            if piece:
                yield piece
                offset = said.next
            elif not follow:
                return
            else:
                await asyncio.sleep(0.2)

    async def _kept_log(self, process_id: str, manifest: str, stream: str) -> bytes:
        if not manifest:
            return b""
        return await read_file(await self._met_store(), check_process_id(process_id), manifest, f"logs/{stream}")

    # --- ending -------------------------------------------------------------------------------------

    async def stop(self, process_id: str, timeout: float = 10.0) -> JobStatus:
        """End the job's processes and their children; returns when they have ended, or after *timeout* seconds."""
        about = AboutJob(check_process_id(process_id), by=owner())
        status = await self._ask("job.stop", about, JobStatus)
        return status if status.ended else await self.wait(process_id, timeout)

    async def fetch(
        self,
        process_id: str,
        out: Path | str = ".",
        part: int | None = None,
        *,
        follow: bool = False,
        moved: Moved | None = None,
    ) -> Fetched:
        """Bring outputs and logs home, into ``OUT/PROCESS_ID``.

        Args:
            part: only this one.
            follow: go on until the job has ended, each part as it is done; else what is done now.

        Raises:
            NoSuchJob: there is none of that id.
            BadInput: ``OUT/PROCESS_ID`` holds something else, or the part has no outputs.
            DiskError: it cannot be written.
        """
        pid = check_process_id(process_id)
        status = await self.status(pid)
        fetching = Fetching(self, await self._met_store(), status, Path(out), moved)
        await fetching.run(part, follow)
        return fetching.result()

    async def clear(self, process_id: str) -> None:
        """Forget an ended job: its state on the master, its program, outputs and logs in the store.

        Raises:
            NoSuchJob: there is none of that id.
            BadInput: it has not ended.
        """
        await self._ask_bytes("job.clear", AboutJob(check_process_id(process_id)))

    async def committed(self, operation: str, question: Any, kind: type[T]) -> T:
        """Ask the master which outputs count (for :class:`Fetching`)."""
        return await self._ask(operation, question, kind)
