"""Starting the programs that old clients (CYPHER/1) uploaded, as ordinary jobs. Not here: their other operations."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import attrs

from discomputify_core.cluster.by_node import live_nodes
from discomputify_core.cluster.state import Job
from discomputify_core.edge import clock, weights
from discomputify_core.edge.deadline import within
from discomputify_core.edge.tree_scan import check_folders
from discomputify_core.errors import DiscomputifyError, NoSuchTree, StoreError, Unreachable
from discomputify_core.interfaces.files import UPLOADED
from discomputify_core.model import events as ev
from discomputify_core.model.files import Digest, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.inputs import most_bytes_of_a_part
from discomputify_core.model.job import JobSpec
from discomputify_core.model.program_root import program_in, program_root
from discomputify_core.roles.master.ending import MAX_WHO, cleared
from discomputify_core.roles.master.showing import unfinished

if TYPE_CHECKING:
    from discomputify_core.roles.master.master import MasterNode

log = logging.getLogger("discomputify.master")

#: Seconds that a store has for its first answer; it may take longer for the rest, which is work.
FIRST_ANSWER = 10.0

STARTED, ALREADY_RUNNING = "STARTED", "ALREADY_RUNNING"


@attrs.frozen
class OldJobs:
    """What the conf says of jobs that old clients start."""

    input_path: str = "INPUT_PATH"
    output_path: str = "OUTPUT_PATH"
    #: How many parts; None: one on each computing node.
    parts: int | None = None


@attrs.frozen
class _Program:
    manifest: Manifest
    #: Of the manifest, as a tree of the job with that key.
    digest: Digest
    key: str


class Starting:
    """What becomes of EXEC."""

    def __init__(self, master: MasterNode, conf: OldJobs) -> None:
        self._master = master
        self._conf = conf

    async def start(self, process_id: ProcessId, who: str) -> dict[str, str]:
        """Start what was uploaded for *process_id*, again if a job of that id has ended; one caller per id at a time.

        Returns:
            By node, STARTED, or ALREADY_RUNNING for a job that has not ended.

        Raises:
            NoSuchTree: nothing was uploaded.
            BadInput: it is no program, or not complete.
            Unreachable: no computing node, or no store.
        """
        if self._running(process_id):
            return self._all(ALREADY_RUNNING)
        self._check_nodes(process_id)
        await self._make_way(process_id)
        program = await self._program(process_id)
        showings = self._master.showings
        if not self._running(process_id):
            await showings.hide(process_id)
        ended = self._job(process_id)
        try:
            answer = self._submit(process_id, program, who)
            await self._master.settled()
            return answer
        except DiscomputifyError:
            if ended is not None:
                showings.again(ended)
            raise

    def _job(self, process_id: ProcessId) -> Job | None:
        return self._master.cluster.state.jobs.get(process_id)

    def _running(self, process_id: ProcessId) -> bool:
        job = self._job(process_id)
        return job is not None and not job.ended

    def _all(self, word: str) -> dict[str, str]:
        return {node.name: word for node in live_nodes(self._master.cluster.state)}

    def _check_nodes(self, process_id: ProcessId) -> int:
        """How many nodes can be given work.

        Raises:
            Unreachable: none.
        """
        count = len(self._master.cluster.state.open_nodes())
        if not count:
            raise Unreachable(
                f"No computing node is connected to the master, so '{process_id}' cannot be started. "
                "Start one (discomputify run computing_node), then start the program again."
            )
        return count

    async def _make_way(self, process_id: ProcessId) -> None:
        """Let what an earlier run has still under way in the store come to its end.

        Raises:
            Unreachable: it did not in time.
        """
        master = self._master
        await master.showings.end(process_id)
        if not await cleared(master, process_id):
            raise unfinished(process_id)
        await master.showings.caught_up(process_id)

    async def _program(self, process_id: ProcessId) -> _Program:
        """The program among what was uploaded, as a tree of its own: later uploads do not touch it."""
        store = self._master.store
        uploaded = await store.manifest(process_id, await self._uploaded(process_id))
        manifest = await asyncio.to_thread(self._read, uploaded, process_id)
        key = clock.token(6)
        return _Program(manifest, await store.commit(process_id, f"program-{key}", manifest), key)

    def _read(self, uploaded: Manifest, process_id: ProcessId) -> Manifest:
        """The program's part of *uploaded*. Takes a while: for threads."""
        root = program_root(uploaded)
        beside = sum(not entry.path.startswith(root + "/") for entry in uploaded.files) if root else 0
        if beside:
            log.warning("'%s': %d uploaded files are not in the program's folder '%s'", process_id, beside, root)
        manifest = program_in(uploaded)
        check_folders(manifest.entries, (self._conf.input_path, self._conf.output_path))
        return manifest

    async def _uploaded(self, process_id: ProcessId) -> Digest:
        """What old clients wrote for the job, else what a new client uploaded for a later start."""
        before = await self._uploaded_before(process_id)
        try:
            return await self._master.store.gather(process_id)
        except NoSuchTree:
            also = ""
        except StoreError as error:
            if type(error) is not StoreError:  # a damaged or missing blob, not a store that has no such files
                raise
            also = f" {error}"
        if before is None:
            raise NoSuchTree(f"Nothing was uploaded for '{process_id}', so there is nothing to start.{also}")
        return before

    async def _uploaded_before(self, process_id: ProcessId) -> Digest | None:
        try:
            return await within(FIRST_ANSWER, self._master.store.find(process_id, UPLOADED))
        except NoSuchTree:
            return None
        except asyncio.TimeoutError:
            raise Unreachable(
                f"The store did not answer within {FIRST_ANSWER:.0f} s. Is ftp_node running? "
                f"Start '{process_id}' again once it is."
            ) from None

    def _submit(self, process_id: ProcessId, program: _Program, who: str) -> dict[str, str]:
        """Make it a job. Nothing is waited for here: an ended job of the id goes and this one comes in one step."""
        if self._running(process_id):  # somebody was quicker
            return self._all(ALREADY_RUNNING)
        if process_id in self._master.clearing:
            raise NoSuchTree(f"'{process_id}' was cleared while it was being started. Upload the program again.")
        nodes, conf = self._check_nodes(process_id), self._conf
        parts = conf.parts or nodes
        spec = JobSpec(
            process_id=process_id,
            key=program.key,
            parts=parts,
            tree=program.digest,
            tree_bytes=program.manifest.size,
            tree_files=len(program.manifest.files),
            part_bytes=most_bytes_of_a_part(program.manifest, conf.input_path, "all", parts),
            owner=who[:MAX_WHO],
            input_path=conf.input_path,
            output_path=conf.output_path,
            per_node=0 if conf.parts else 1,
            shown=True,
        )
        again = (ev.JobClearAsked(process_id, keep_files=True),) if self._job(process_id) else ()
        self._master.flush(*again, ev.JobSubmitted(weights.check_job(spec), clock.wall()))
        self._master.showings.begin(self._master.cluster.job(process_id))
        log.info("%s started '%s' with %d parts", who, process_id, parts)
        return {node.name: STARTED for node in self._master.cluster.state.open_nodes()}
