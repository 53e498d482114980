"""The computing node: joins the master, runs the parts it is given, tells how they ended.

Here: the connection to the master and who runs what. Not here: the steps of one attempt (attempt.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

from discomputify_core.edge import clock
from discomputify_core.edge.calls import Peer
from discomputify_core.edge.connect import Connection, hello, master_address, store_addresses
from discomputify_core.edge.deadline import within
from discomputify_core.edge.machine import memory, owner, usable_cpus
from discomputify_core.edge.names import node_name, this_machine
from discomputify_core.edge.opening import Loaded
from discomputify_core.edge.places import default_cache_limit
from discomputify_core.errors import DiscomputifyError, MemoryLost, NameTaken, Refused, Unreachable
from discomputify_core.interfaces.calls import Asked, Operation, Reply
from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.files import Manifest, check_digest
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.job import End, JobSpec, Outcome
from discomputify_core.model.message import (
    ArrayKept,
    ArrayWanted,
    Join,
    Joined,
    LogPiece,
    Report,
    Start,
    Work,
)
from discomputify_core.roles.node import arrays_folder
from discomputify_core.roles.node import facts as node_facts
from discomputify_core.roles.node.agent_server import AgentServer
from discomputify_core.roles.node.arrays import Arrays
from discomputify_core.roles.node.attempt import PartAttempt, Tools
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.checkpoints import tree_name
from discomputify_core.roles.node.committing import Commits
from discomputify_core.roles.node.disk import FolderLock
from discomputify_core.roles.node.folders import folder_for, folder_name, piece
from discomputify_core.roles.node.heart import Heart
from discomputify_core.roles.node.indices import Indices
from discomputify_core.roles.node.memory import NodeMemory
from discomputify_core.roles.node.reports import Reports
from discomputify_core.roles.node.returning import Returning
from discomputify_core.roles.node.sharing import Sharing
from discomputify_core.roles.node.workspace import sweep
from discomputify_core.roles.runner.runner import Runner

log = logging.getLogger("discomputify.node")

#: Seconds for one try to reach the master, and between two lines in the log about a master that is away.
REACH, REMIND = 5.0, 60.0
#: Seconds before the second try to reach the master; each further one waits twice as long, up to REACH.
AGAIN = 0.4
#: Seconds that a name may be taken by a predecessor that the master still believes alive.
NAME_PATIENCE = 10.0
#: Seconds for a report, a beat, a farewell.
TELL = 60.0
#: Seconds for running parts to end when the node stops as planned.
PLANNED = 5.0
#: Seconds for everything else to end after that.
TIDY = 15.0
#: Seconds for an array of another node to come into the store.
BRING = 150.0


class ComputingNode:
    """The role ``computing_node``.

    Args:
        loaded: a conf opened with its transport and store.
        name: what ``--name`` said.
        slots: what ``--slots`` said.
    """

    name = "computing_node"

    def __init__(self, loaded: Loaded, name: str | None = None, slots: int | None = None) -> None:
        conf = loaded.conf
        self._loaded = loaded
        self._slots = slots or conf.slots or usable_cpus()
        self.node = node_name(conf, this_machine(), name)
        self._connection = Connection(loaded, hello("computing_node", self.node))
        self._link = self._connection.master(
            operations={
                "node.work": Operation(self._work),
                "node.log": Operation(self._log),
                "node.array": Operation(self._array),
            },
            greet=self._join,
        )
        self._reports = Reports(self._tell, self._told)
        self._runner = Runner()
        self._agent = AgentServer()
        self._memory: NodeMemory | None = None
        self._tools: Tools | None = None
        self._lock: FolderLock | None = None
        self._cache: BlobCache | None = None
        self._returning: Returning | None = None
        self._sharing: Sharing | None = None
        self._indices = Indices(conf.resources)
        self._specs: dict[ProcessId, JobSpec] = {}
        self._manifests: dict[ProcessId, asyncio.Task[Manifest]] = {}
        self._attempts: dict[AttemptId, PartAttempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._attempting: set[asyncio.Task[None]] = set()
        #: Attempts that left a checkpoint, until the master knows how they ended.
        self._checkpointed: dict[AttemptId, Start] = {}
        self._heart: Heart | None = None
        self._joined: asyncio.Future[None] | None = None
        self._leaving = False

    # --- life ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Prepare everything and begin to look for the master; does not wait for it.

        Raises:
            BadConf: PYTHON cannot run, or another node uses the same folders.
            DiskError: a folder cannot be used.
        """
        try:
            self._tools = await self._prepare()
        except BaseException:
            # Also when cancelled: locks and processes are given back.
            await self._tidy()
            raise
        self._joined = asyncio.get_running_loop().create_future()
        # A refusal may interest nobody.
        self._joined.add_done_callback(lambda joined: joined.cancelled() or joined.exception())
        assert self._returning is not None
        assert self._heart is not None
        for work in (self._stay_joined, self._heart.run, self._reports.run, self._returning.run):
            self._spawn(_kept_up(work))

    async def _prepare(self) -> Tools:
        conf = self._loaded.conf
        work = await folder_for(conf.work_path, "work") / folder_name(self.node)
        self._lock = FolderLock(work, "WORK_PATH")
        await asyncio.to_thread(self._lock.take)
        await asyncio.to_thread(sweep, work)
        cache_folder = await folder_for(conf.cache_path, "cache") / folder_name(self.node)
        limit = int(conf.cache_limit or 0) or await asyncio.to_thread(default_cache_limit, cache_folder)
        self._cache = cache = BlobCache(cache_folder, limit)
        await asyncio.to_thread(cache.open)
        facts = await asyncio.to_thread(
            lambda: node_facts.facts(
                conf,
                self.node,
                slots=self._slots,
                memory=memory(),
                owner=owner(),
                cache_limit=limit,
                session=clock.token(),
            )
        )
        await self._runner.start()
        await self._agent.start()
        store = self._connection.store()
        if conf.share:
            cache.others = self._sharing = Sharing(self._connection, cache, store.hasher)
            await self._sharing.open()
        commits = Commits(store, str(store_addresses(conf)[0]), self._connection.meet_store)
        self._memory = await self._shared_memory(work, store)
        self._returning = returning = Returning(store, cache)
        self._heart = Heart(lambda: self._link.peer, work, cache)
        reports, shared = self._reports, self._memory
        return Tools(
            facts, work, cache, store, self._runner, self._agent, reports, commits, conf, shared, returning.soon
        )

    async def _shared_memory(self, work: Path, store: FileStore) -> NodeMemory | None:
        plugin = self._connection.memory()
        if plugin is None:
            return None
        plugin.on_lost = self._memory_lost
        await asyncio.to_thread(arrays_folder.sweep)
        limit = int(self._loaded.conf.shared_arrays_limit or 0) or await asyncio.to_thread(memory) // 4
        return NodeMemory(plugin, Arrays(self.node, work, store, limit, self._ask_for_array))

    async def joined(self, timeout: float | None = None) -> None:
        """Wait until the master accepted this node.

        Raises:
            Refused: it refused.
            Unreachable: nothing in *timeout* seconds.
        """
        if self._joined is None:
            raise Unreachable("The node was not started.")
        done, _ = await asyncio.wait([self._joined], timeout=timeout)
        if not done:
            raise Unreachable(f"The master at {master_address(self._loaded.conf)} did not answer within {timeout} s.")
        self._joined.result()

    async def close(self) -> None:
        """Stop as planned: parts are given back, which costs them nothing. Idempotent."""
        if not self._leaving:
            self._leaving = True
            running = list(self._attempts.values())
            if running:
                log.info("stopping; %d parts are given back", len(running))
            await asyncio.gather(
                *(each.stop(End.RETURNED, "its node stops as planned") for each in running), return_exceptions=True
            )
            if self._attempting:
                await asyncio.wait(self._attempting, timeout=PLANNED)
            if self._link.peer is not None:
                await self._farewell()
        await self._tidy()

    async def _farewell(self) -> None:
        await self._reports.drained(PLANNED)
        try:
            await self._link.call("node.leave", timeout=PLANNED)
        except DiscomputifyError as error:
            log.warning("the master was not told that this node stops: %s", error)

    async def _tidy(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        for manifest in self._manifests.values():
            manifest.cancel()
        ending = {*self._tasks, *self._manifests.values()}
        if ending:
            await asyncio.wait(ending, timeout=TIDY)  # a thread that removes a folder cannot be cancelled
        self._manifests.clear()
        await self._close_memory()
        if self._sharing is not None:
            await self._sharing.close()
        await self._connection.close()
        await self._runner.close()
        await self._agent.close()
        self._tools = None
        if self._cache is not None:
            await self._cache.close()
            self._cache = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def _close_memory(self) -> None:
        if self._memory is None:
            return
        shared, self._memory = self._memory, None
        try:
            await within(TIDY, shared.plugin.close())
        except Exception as error:  # whatever a plugin does, the rest is tidied up
            log.warning("the shared memory could not be closed: %s", error)
        await shared.arrays.close()

    # --- the master ---------------------------------------------------------------------------------

    async def _stay_joined(self) -> None:
        """Be connected, always; say so when the master is away for long."""
        began, reminded, pause = clock.now(), -REMIND, AGAIN
        while True:
            try:
                peer = await self._link.connect(REACH)
                pause = AGAIN
                self._accepted(None)
                await peer.closed.wait()
                log.warning("the connection to the master closed (%s); parts go on", peer.reason)
                began = clock.now()
            except NameTaken as taken:
                if clock.now() - began > NAME_PATIENCE:
                    self._accepted(taken)
                await asyncio.sleep(1.0)
            except Refused as refused:
                self._accepted(refused)
                await asyncio.sleep(REACH)
            except DiscomputifyError as error:
                if clock.now() - reminded > REMIND:
                    reminded = clock.now()
                    log.warning("no master yet, trying again: %s", error)
                await asyncio.sleep(clock.jittered(pause))
                pause = min(pause * 2, REACH)

    def _accepted(self, error: DiscomputifyError | None) -> None:
        if self._joined is None or self._joined.done():
            if error is not None:
                log.warning("%s", error)
        elif error is None:
            self._joined.set_result(None)
        else:
            self._joined.set_exception(error)

    async def _join(self, peer: Peer) -> None:
        """The first thing said on every connection: who this is and what runs here."""
        if self._tools is None:
            raise Refused("This node is stopping.")
        # The master tells of a job again over each connection: of what ended while it was away, or was another
        # master's, nothing is kept.
        needed = {attempt.spec.process_id for attempt in self._attempts.values()}
        for process_id in [each for each in self._specs if each not in needed]:
            self._forget(process_id)
            if self._memory is not None:  # other nodes may still need what is kept here
                self._memory.arrays.doubt(process_id)
        attempts = tuple(dict.fromkeys((*self._attempts, *self._reports.unsent)))
        reply = await peer.call("node.join", to_plain(Join(self._tools.facts, attempts)), timeout=REACH)
        joined = from_plain(reply.data, Joined)
        if self._heart is not None:
            self._heart.beat_every(joined.beat)
        for attempt in joined.stop:
            self._reports.forget(attempt)
            self._checkpointed.pop(attempt, None)
            if attempt in self._attempts:
                self._spawn(self._attempts[attempt].stop(End.STOPPED, "the master does not wait for it any more"))
        log.info("joined the master at %s as %s", peer.channel.address, self.node)

    async def _tell(self, report: Report) -> None:
        await self._link.call("node.report", to_plain(report), timeout=TELL)

    def _told(self, outcome: Outcome) -> None:
        """The master knows how an attempt ended: a part that is done needs its checkpoint no more."""
        start = self._checkpointed.pop(outcome.attempt, None)
        if start is not None and outcome.end is End.DONE:
            self._spawn(self._drop_checkpoint(start))

    async def _drop_checkpoint(self, start: Start) -> None:
        if self._tools is None:
            return
        try:
            await self._tools.store.drop(start.process_id, [tree_name(start)])
        except DiscomputifyError as error:  # it goes with the job
            log.debug("the checkpoint of part %s of '%s' stays: %s", start.part, start.process_id, error)

    # --- what the master asks -----------------------------------------------------------------------

    async def _work(self, asked: Asked) -> Reply:
        work = from_plain(asked.data, Work)
        for spec in work.jobs:
            known = self._specs.get(spec.process_id)
            if known is not None and known.key != spec.key:  # another job of that name
                self._drop(spec.process_id)
            self._specs[spec.process_id] = spec
        for start in work.start:
            self._start(start)
        for name, reason in work.stop.items():
            running = self._attempts.get(AttemptId(name))
            if running is not None:
                self._spawn(running.stop(End.STOPPED, reason))
        for process_id in work.drop:
            self._drop(process_id)
        return Reply()

    def _start(self, start: Start) -> None:
        spec = self._specs.get(start.process_id)
        if self._tools is None or self._leaving:
            self._reports.ended(Outcome(start.attempt, End.RETURNED, reason="its node stops as planned"))
        elif spec is None or spec.key != start.key:
            reason = f"its node was told to run a part of '{start.process_id}' and was never told what that is"
            self._reports.ended(Outcome(start.attempt, End.BROKEN, reason=reason))
        elif start.attempt not in self._attempts:
            # Known from this moment on, so that a new connection to the master lists it.
            indices = self._indices.take(spec.request.needs)
            attempt = PartAttempt(self._tools, spec, start, self._manifest, indices)
            self._attempts[start.attempt] = attempt
            task = self._spawn(self._attempt(attempt, start))
            self._attempting.add(task)
            task.add_done_callback(self._attempting.discard)

    def _drop(self, process_id: ProcessId) -> None:
        """The job is over."""
        self._forget(process_id)
        if self._memory is not None:
            self._memory.arrays.drop(process_id)

    def _forget(self, process_id: ProcessId) -> None:
        self._specs.pop(process_id, None)
        manifest = self._manifests.pop(process_id, None)
        if manifest is not None:
            manifest.cancel()
        if self._tools is not None:
            self._tools.cache.drop(process_id)

    async def _array(self, asked: Asked) -> Reply:
        wanted = from_plain(asked.data, ArrayWanted)
        if self._memory is None:
            raise MemoryLost(f"The computing node '{self.node}' has no shared memory.", why="which has none any more")
        return Reply(to_plain(await self._memory.arrays.share(wanted)))

    async def _ask_for_array(self, wanted: ArrayWanted) -> ArrayKept:
        """Another node's array, in the store; nodes have no ways to each other but through their master."""
        reply = await self._link.call("node.array", to_plain(wanted), timeout=BRING)
        return from_plain(reply.data, ArrayKept)

    def _memory_lost(self, reason: str) -> None:
        """All that the shared memory held is lost: parts that used it cannot go on."""
        log.error("what the shared memory held is lost: %s", reason)
        for attempt in self._attempts.values():
            self._spawn(attempt.lose_memory(reason))

    async def _attempt(self, attempt: PartAttempt, start: Start) -> None:
        try:
            outcome = await attempt.run()
        finally:
            del self._attempts[attempt.id]
            self._indices.give_back(attempt.indices)
        if attempt.checkpointed:
            self._checkpointed[attempt.id] = start
        self._reports.ended(outcome)

    def _manifest(self, spec: JobSpec) -> asyncio.Task[Manifest]:
        """The program's tree, asked for once per job; asked again after a failure."""
        task = self._manifests.get(spec.process_id)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            if self._tools is None:
                raise Refused("This node is stopping.")
            coroutine = self._tools.store.manifest(spec.process_id, check_digest(spec.tree))
            task = self._manifests[spec.process_id] = asyncio.ensure_future(coroutine)
        return task

    async def _log(self, asked: Asked) -> Reply:
        wanted = from_plain(asked.data, LogPiece)
        attempt = self._attempts.get(wanted.attempt)
        if attempt is None or attempt.workspace is None:
            return Reply(None, b"")
        stream = attempt.workspace.err if wanted.stream == "err" else attempt.workspace.out
        return Reply(None, await asyncio.to_thread(piece, stream, wanted.offset, wanted.limit))

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the node ended by a bug: %s", error, exc_info=error)


async def _kept_up(work: Callable[[], Awaitable[None]]) -> None:
    """Do *work*, for as long as the node is; a bug in it must not leave a node that only looks alive."""
    while True:
        try:
            await work()
        except Exception:  # cancellation passes
            log.exception("the node goes on after a bug")
        await asyncio.sleep(1.0)
