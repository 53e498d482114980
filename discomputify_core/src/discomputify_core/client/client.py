"""The asyncio client: submit, resubmit, status, wait, logs, stop, fetch, clear, nodes, why.

Here: what a user asks of a cluster, as one call each. Not here: submitting (submitting.py), how
outputs come home (fetching.py), printing (cli/).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from discomputify_core.client.deaths import job_failed
from discomputify_core.client.fetching import Fetching
from discomputify_core.client.reading import read_file
from discomputify_core.client.results import Cleared, Fetched
from discomputify_core.client.submitting import Submitting
from discomputify_core.edge import clock
from discomputify_core.edge.machine import owner
from discomputify_core.edge.opening import need_conf
from discomputify_core.errors import (
    BadInput,
    JobForgotten,
    NoSuchJob,
    Unreachable,
)
from discomputify_core.interfaces.files import Moved, StoreStatus
from discomputify_core.model.codec import from_plain
from discomputify_core.model.ids import ProcessId, check_process_id
from discomputify_core.model.job import AttemptReport, JobState, JobStatus
from discomputify_core.model.memory import Listing
from discomputify_core.model.message import (
    AboutJob,
    ClearAsked,
    DrainAsked,
    JobsAsked,
    Log,
    LogAsked,
    MasterInfo,
    MemoryAsked,
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
#: Seconds for which the master waits for the store to clear a job; it does so later, where the store is away.
CLEARING = 12.0
#: Seconds that one question for changes is held by the master.
WATCH = 10.0


class Client(Submitting):
    """A client of one cluster. An asynchronous context manager.

    Args:
        loaded: a conf opened with its transport and store; :meth:`from_conf` opens one.
    """

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
            Unreachable: there was no answer at all yet. Later a master that is away is waited for.
        """
        pid = check_process_id(process_id)
        seen = since
        while True:
            hold = WATCH if until is None else min(WATCH, max(until - clock.now(), 0.0))
            try:
                status = await self._ask_on("job.watch", Watch(pid, seen, hold), JobStatus, hold, until)
            except NoSuchJob as gone:
                if seen < 0:
                    raise
                raise JobForgotten(
                    f"The master does not know '{pid}' any more: somebody cleared it, or the master has lost what it "
                    f"had written down (discomputify journal verify says so). Submit it again if it is needed.",
                    process_id=pid,
                ) from gone
            except Unreachable:
                if seen < 0 or until is None:
                    raise
                return  # the time is over, and nothing new is known
            if status.version > seen or status.ended:
                seen = status.version
                yield status
            if status.ended or (until is not None and clock.now() >= until):
                return

    async def wait(
        self,
        process_id: str,
        timeout: float | None = None,
        changed: Callable[[JobStatus], None] | None = None,
        *,
        check: bool = False,
    ) -> JobStatus:
        """The job's status once it has ended, or after *timeout* seconds (look at ``ended``).

        A master that goes away meanwhile is waited for.

        Args:
            changed: told the status now and after every change.
            check: raise an error if it ended, but not with all parts done.

        Raises:
            NoSuchJob: there is none of that id.
            JobForgotten: there is none any more.
            JobFailed: with *check*; its ``fields["failures"]`` are the newest attempts that did not end well.
        """
        until = None if timeout is None else clock.now() + timeout
        async with self._returning.ready(check_process_id(process_id)):
            async for status in self.changes(process_id, until=until):
                if changed:
                    changed(status)
        if check and status.ended and status.state is not JobState.DONE:
            raise job_failed(status)
        return status

    async def why(self, process_id: str, part: int = 0) -> Sentence:
        """What the job, or one part of it, waits for or why it ended so."""
        return await self._ask("job.why", AboutJob(check_process_id(process_id), part), Sentence)

    async def memory(self, process_id: str, name: str = "") -> Listing:
        """What the job's parts share at the moment (``program.memory()``), or one entry with its value.

        Long values are cut: the first 64 KiB of each come. What is shared is kept until the job is cleared.

        Args:
            name: of one entry, lock or round; "": all. Nothing of that name gives an empty listing.

        Raises:
            NoSuchJob: there is none of that id.
            NoSharedMemory: the cluster has none.
            Unreachable: it does not answer.
        """
        return await self._ask("job.memory", MemoryAsked(check_process_id(process_id), name), Listing)

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
            asking = self._ask_bytes_on if follow else self._ask_bytes
            data, piece = await asking("job.log", question)
            said = from_plain(data, Log)
            attempt = said.number
            if said.ended:
                rest = await self._kept_log(process_id, said.manifest, stream, patient=follow)
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

    async def _kept_log(self, process_id: str, manifest: str, stream: str, *, patient: bool) -> bytes:
        if not manifest:
            return b""
        pid = check_process_id(process_id)

        async def read() -> bytes:
            return await read_file(await self._met_store(), pid, manifest, f"logs/{stream}")

        # Who follows has seen the cluster work: a store that is away is waited for, as a master is.
        return await self.with_store(read, patient=patient)

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
        below: str = "",
        logs: bool = True,
    ) -> Fetched:
        """Bring outputs and logs home, into ``OUT/PROCESS_ID``.

        Args:
            part: only this one.
            follow: go on until the job has ended, each part as it is done; else what is done now.
            moved: told the bytes that arrived, as they do.
            below: a folder inside each part's, for its outputs.
            logs: bring logs, too.

        Raises:
            NoSuchJob: there is none of that id.
            BadInput: ``OUT/PROCESS_ID`` holds something else, or the part has no outputs.
            DiskError: it cannot be written.
        """
        pid = check_process_id(process_id)
        status = await self.status(pid)
        fetching = Fetching(self, await self._met_store(), status, Path(out), moved, below=below, logs=logs)
        await fetching.run(part, follow)
        return fetching.result()

    async def clear(self, process_id: str) -> None:
        """Forget an ended job: its state on the master, its program, outputs and logs in the store.

        Where the store is away, what it holds goes once it is back.

        Raises:
            NoSuchJob: there is none of that id.
            BadInput: it has not ended.
        """
        await self._ask_bytes("job.clear", ClearAsked(check_process_id(process_id)), CLEARING)

    async def clear_older(self, seconds: float) -> Cleared:
        """Forget all jobs that ended more than *seconds* ago; those stay that others which have not ended still need.

        Raises:
            BadInput: that is no length of time.
        """
        if not seconds >= 0:
            raise BadInput(f"Jobs can have ended {seconds!r} seconds ago? Give a number from 0 on.")
        before = clock.wall() - seconds
        cleared: list[ProcessId] = []
        kept: dict[ProcessId, str] = {}
        for job in await self.jobs():
            if not job.ended or (job.ended_at or 0.0) > before:
                continue
            try:
                await self.clear(job.process_id)
                cleared.append(job.process_id)
            except BadInput as needed:
                kept[job.process_id] = str(needed)
            except NoSuchJob:
                pass  # somebody else cleared it meanwhile
        return Cleared(tuple(cleared), kept)

    async def drain(self, node: str, *, undo: bool = False) -> NodeStatus:
        """Give a computing node no more parts; what it runs goes on. With *undo* it gets some again.

        Raises:
            BadInput: there is no node of that name.
        """
        return await self._ask("nodes.drain", DrainAsked(node, undo, owner()), NodeStatus)

    async def committed(self, operation: str, question: Any, kind: type[T], *, patient: bool = False) -> T:
        """Ask the master which outputs count (for :class:`Fetching`); *patient*: however long it is away."""
        return await (self._ask_on if patient else self._ask)(operation, question, kind)
