"""The master node: the cluster's state machine, its clock, and what it says to nodes, store and watchers.

Here: taking events in, carrying commands out. What is decided is in cluster/; the operations that peers call
are in for_nodes.py, for_clients.py and old_clients.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence

from discomputify_core import __version__
from discomputify_core.cluster.machine import Cluster, Settings
from discomputify_core.edge import clock
from discomputify_core.edge.calls import Peer
from discomputify_core.edge.deadline import within
from discomputify_core.edge.serving import Server
from discomputify_core.errors import (
    BadInput,
    ChannelClosed,
    DiscomputifyError,
    NoSuchTree,
    OurBug,
    StoreError,
    StoreFull,
)
from discomputify_core.interfaces.files import FileStore
from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.interfaces.transport import Address, Transport
from discomputify_core.model import events as ev
from discomputify_core.model.codec import to_plain
from discomputify_core.model.commands import (
    CheckTree,
    ClearMemory,
    ClearStore,
    Command,
    DropJob,
    GatherInputs,
    JobChanged,
    StartPart,
    StopAttempt,
    TellMemory,
)
from discomputify_core.model.files import check_digest
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, Outcome
from discomputify_core.model.message import Hello, Work
from discomputify_core.roles.master.desk import NodeDesk, work_for
from discomputify_core.roles.master.for_clients import client_operations
from discomputify_core.roles.master.for_nodes import node_operations
from discomputify_core.roles.master.gathering import Gatherings
from discomputify_core.roles.master.journal.journal import Journal
from discomputify_core.roles.master.memory import MemoryDesk
from discomputify_core.roles.master.observers import Observers
from discomputify_core.roles.master.old_clients import old_operations
from discomputify_core.roles.master.old_starting import OldJobs
from discomputify_core.roles.master.showing import Showings
from discomputify_core.roles.master.watchers import Watchers

log = logging.getLogger("discomputify.master")

#: Seconds between two looks at leases and deadlines.
TICK = 0.5
#: Seconds between a node's signs of life.
BEAT = 2.0
#: Most sentences of one kind about the journal in the log.
MOST_FAULTS = 20
#: Seconds between two looks at how full the store is.
STORE_LOOK = 10.0
#: Seconds between two tries to ask a store that does not answer.
STORE_AGAIN = 2.0
#: Seconds for which an answer waits for what it tells to be written down.
WRITTEN = 5.0


class MasterNode:
    """The role ``master_node``.

    Args:
        addresses: where to serve.
        store: asked whether it holds the programs of submitted jobs, and told to forget cleared ones.
        policy: where parts go.
        observe: called with every batch of events, off this loop.
        plugins: versions of the distributions in use here, for ``doctor``.
        old_jobs: what jobs that old clients (CYPHER/1) start are like.
        memory: the shared memory's client side, closed with this master; None where the conf names none.
        beat: seconds between two signs of life that nodes are to give.
        journal: where it writes down what happens, opened here and closed with it; None: nowhere, jobs end with it.
    """

    name = "master_node"

    def __init__(
        self,
        transport: Transport,
        addresses: tuple[Address, ...],
        store: FileStore,
        policy: Scheduler,
        settings: Settings | None = None,
        observe: Callable[[Sequence[ev.Event]], None] | None = None,
        plugins: Mapping[str, str] | None = None,
        old_jobs: OldJobs | None = None,
        memory: SharedMemory | None = None,
        journal: Journal | None = None,
        beat: float = BEAT,
    ) -> None:
        self._policy, self._settings = policy, settings
        self.cluster = Cluster(policy, settings)
        self.journal = journal
        self.beat = beat
        #: Seconds between this process's clock and the cluster's, which goes on over restarts.
        self._ahead = 0.0
        self.plugins = dict(plugins or {})
        self.store = store
        self.store_fault = ""
        #: Why the store takes no new programs, "" if it does.
        self.store_full = ""
        self.watchers = Watchers()
        self.showings = Showings(self)
        self.gatherings = Gatherings(self)
        self.memory = MemoryDesk(self, memory)
        self.desks: dict[NodeName, NodeDesk] = {}
        self._addresses = addresses
        self._observers = Observers(observe) if observe else None
        self._batch: list[ev.Event] = []
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        #: Jobs that were forgotten here and are being removed from the store.
        self.clearing: dict[ProcessId, asyncio.Task[None]] = {}
        self._server = Server(
            transport,
            Hello("master_node", version=__version__),
            {**node_operations(self), **client_operations(self), **old_operations(self, old_jobs or OldJobs())},
            on_close=self._peer_closed,
        )

    async def start(self) -> tuple[Address, ...]:
        """Serve; returns the addresses.

        Raises:
            AddressInUse: an address cannot be bound.
            BadConf: the journal's folder cannot be used, or a newer release wrote there.
            DiskError: the journal cannot be read or written.
        """
        try:
            if self.journal is not None:
                await self._begin_where_the_last_ended(self.journal)
            bound = await self._server.open(self._addresses)
        except BaseException:
            if self.journal is not None:
                await self.journal.close()
            raise
        if self._observers:
            self._observers.start()
        self.spawn(self._ticks())
        self.spawn(self._watch_store())
        return bound

    async def _begin_where_the_last_ended(self, journal: Journal) -> None:
        """Take over what an earlier master wrote down; nodes and clients come by themselves."""
        found = await asyncio.to_thread(journal.open)
        for damage in found.damage:
            log.log(logging.WARNING if damage.torn else logging.ERROR, "the journal: %s", damage)
        for fault in found.faults[:MOST_FAULTS]:
            log.error("the journal: %s", fault)
        self.cluster = Cluster(self._policy, self._settings, found.state)
        away = max(clock.wall() - found.wall, 0.0) if found.wall else 0.0
        self._ahead = found.state.recorded + away - clock.now()
        journal.start(lambda: self.cluster.state)
        if found.next > 1:
            jobs, going = len(found.state.jobs), sum(not job.ended for job in found.state.jobs.values())
            for job in found.state.jobs.values():
                if job.spec.shown:
                    self.showings.begin(job)
            log.info("the journal in %s holds %d jobs, %d of them not ended", journal.folder, jobs, going)
            self.flush(ev.MasterStarted(clock.wall()))

    def now(self) -> float:
        """The cluster's clock: seconds that only grow, over restarts of the master too."""
        return clock.now() + self._ahead

    def check_room(self) -> None:
        """Whether a new job can be taken.

        Raises:
            StoreFull: neither the disk of the master nor that of the store may be full.
        """
        if self.journal_fault:
            raise StoreFull(f"The master takes no new jobs: {self.journal_fault}")
        if self.store_full:
            raise StoreFull(f"The master takes no new jobs: {self.store_full}")

    @property
    def damaged(self) -> Mapping[str, str]:
        """Jobs that lost something because the journal was damaged, and what."""
        return {} if self.journal is None else self.journal.touched

    @property
    def journal_fault(self) -> str:
        """What keeps the master from writing down what happens, a sentence; "" if nothing does."""
        if self.journal is None or not self.journal.fault:
            return ""
        return (
            f"The master cannot write to its folder {self.journal.folder} (MASTER_PATH): {self.journal.fault}. Nothing "
            "new starts until it can; make room there, and it goes on by itself."
        )

    async def settled(self) -> None:
        """Wait until all that happened so far is written down: what is acknowledged has to survive."""
        if self.journal is not None:
            await self.journal.settled()

    async def written(self) -> None:
        """As :meth:`settled`, for what is told and not acknowledged: not for ever while the disk is full or slow."""
        if self.journal is not None and not self.journal.fault:
            with contextlib.suppress(asyncio.TimeoutError):
                await within(WRITTEN, self.journal.settled())

    async def close(self) -> None:
        """Stop serving. Parts run on; another master goes on where this one ended, if it wrote that down."""
        await self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.memory.close()
        if self._observers:
            await asyncio.to_thread(self._observers.close)
        if self.journal is not None:
            await self.journal.close()

    # --- events in ----------------------------------------------------------------------------------

    def apply(self, *events: ev.Event) -> None:
        """Note *events*; they are handled together at the end of this turn of the loop."""
        self._batch.extend(events)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self, *events: ev.Event) -> None:
        """Handle *events*, and those noted before them, now."""
        self._scheduled = False
        self._batch.extend(events)
        if not self._batch:
            return
        batch, self._batch = tuple(self._batch), []
        commands: tuple[Command, ...] = ()
        try:
            commands = self.cluster.handle(*batch, now=self.now())
        finally:  # what has changed is written down, whatever a bug did to the rest
            if self.journal is not None and self.cluster.record is not None:
                changed = (each.process_id for each in commands if isinstance(each, JobChanged))
                self.journal.append(self.cluster.record, changed)
        for fault in self.cluster.faults:
            log.error("%s", fault)
        self.cluster.faults.clear()
        if self.journal is None:
            self._carry_out(commands)
        elif commands:
            self.journal.after(lambda: self._carry_out(commands))
        if self._observers:
            self._observers.put(batch)

    async def _ticks(self) -> None:
        while True:
            try:
                self.flush(ev.Tick(clock.wall()))
            except Exception:  # a bug that one batch of events meets must not stop the clock of all others
                log.exception("a tick failed")
            await asyncio.sleep(TICK)

    async def _watch_store(self) -> None:
        """Know whether the store has room for programs of new jobs."""
        while True:
            await asyncio.sleep(STORE_LOOK)
            try:
                self.store_full = (await self.store.status()).full
            except DiscomputifyError as error:  # one that is away is noticed where it is needed
                log.debug("the store was not asked for its room: %s", error)

    # --- commands out -------------------------------------------------------------------------------

    def _carry_out(self, commands: tuple[Command, ...]) -> None:
        work: dict[NodeName, list[StartPart | StopAttempt | DropJob]] = defaultdict(list)
        for command in commands:
            if isinstance(command, StartPart) and command.attempt not in self.cluster.state.attempts:
                continue  # while it was being written down, its node came back without it, and gave it back
            if isinstance(command, (StartPart, StopAttempt, DropJob)):
                work[command.node].append(command)
            elif isinstance(command, JobChanged):
                self.watchers.wake(command.process_id)
            elif isinstance(command, CheckTree):
                self.spawn(self._check_tree(command))
            elif isinstance(command, GatherInputs):
                self.gatherings.begin(command.spec)
            elif isinstance(command, ClearStore):
                self.clear_store(command.process_id)
            elif isinstance(command, (TellMemory, ClearMemory)):
                self.memory.carry_out(command)
        for node, orders in work.items():
            desk = self.desks.get(node)
            if desk is not None:  # a node that is away gets its orders when it comes back
                for message in work_for(desk, orders):
                    desk.outbox.put_nowait(message)

    async def send_out(self, desk: NodeDesk) -> None:
        """Push work to a node, in order, until its connection goes."""
        while True:
            work = await desk.outbox.get()
            try:
                await desk.peer.push("node.work", to_plain(work))
            except ChannelClosed:
                return  # _peer_closed tells the cluster
            except OurBug as bug:
                log.exception("work for %s cannot be sent", desk.peer.channel.address)
                self._not_sent(desk, work, str(bug))

    def _not_sent(self, desk: NodeDesk, work: Work, why: str) -> None:
        """Parts that never reached their node have failed there; nobody waits for them."""
        name = next((name for name, each in self.desks.items() if each is desk), None)
        for spec in work.jobs:
            desk.known.pop(spec.process_id, None)
        if name is not None:
            reason = f"could not be sent to its node: {why}"
            ends = (Outcome(start.attempt, End.BROKEN, reason=reason) for start in work.start)
            self.flush(*(ev.AttemptEnded(name, end, clock.wall()) for end in ends))

    async def _check_tree(self, command: CheckTree) -> None:
        while True:
            fault, final = await self._tree_fault(command)
            self.store_fault = "" if final else fault
            self.flush(ev.TreeChecked(command.process_id, command.key, fault, final, clock.wall()))
            job = self.cluster.state.jobs.get(command.process_id)
            if final or job is None or job.ended or job.spec.key != command.key:
                return
            await asyncio.sleep(STORE_AGAIN)

    async def _tree_fault(self, command: CheckTree) -> tuple[str, bool]:
        """What is wrong with a job's tree in the store ("": nothing), and whether asking again is useless."""
        try:
            await self.store.manifest(command.process_id, check_digest(command.tree))
        except NoSuchTree:
            return "the store does not hold the program's files; submit again", True
        except (StoreError, BadInput) as error:  # BadInput: the job names what cannot be a tree
            return f"the store cannot give the program's files: {error}", True
        except DiscomputifyError as error:
            return f"waiting for the store: {error}", False
        return "", True

    def clear_store(self, process_id: ProcessId) -> None:
        """Begin to remove from the store what it holds of a job that is not known here; see ``clearing``."""
        self.clearing[process_id] = self.spawn(self._clear_store(process_id))

    async def _clear_store(self, process_id: ProcessId) -> None:
        try:
            await self.showings.end(process_id)  # what it commits after the clearing would stay for ever
            await self.gatherings.end(process_id)
            while True:
                try:
                    await self.store.clear(process_id)
                    self.apply(ev.StoreCleared(process_id))
                    return
                except DiscomputifyError as error:
                    log.warning("clearing '%s' in the store has to wait: %s", process_id, error)
                await asyncio.sleep(STORE_AGAIN)
                if process_id in self.cluster.state.jobs:
                    self.apply(ev.StoreCleared(process_id))
                    return  # a new job has the id by now; its upload replaced the trees
        finally:
            if self.clearing.get(process_id) is asyncio.current_task():
                del self.clearing[process_id]

    # --- peers --------------------------------------------------------------------------------------

    def _peer_closed(self, peer: Peer) -> None:
        for name, desk in list(self.desks.items()):
            if desk.peer is peer:
                del self.desks[name]
                if desk.sender:
                    desk.sender.cancel()
                self.apply(ev.NodeCut(name, desk.session, peer.reason))

    def refused(self, hello: Hello, address: str, reason: str) -> None:
        """The transport refused an authenticated peer; a computing node among them is shown in ``nodes``."""
        if hello.role == "computing_node":
            self.apply(ev.NodeRefused(hello.name or address, address, reason, clock.wall()))

    def spawn(self, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run *coroutine* as a task of this master, ended with it."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the master ended by a bug: %s", error, exc_info=error)
