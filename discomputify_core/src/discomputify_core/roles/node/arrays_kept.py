"""Files of large values of shared memory on this node: which there are, whose they are, how long they stay.

Here: room, owners, jobs. Not here: how values come from and go to other nodes (arrays.py), the files themselves
(arrays_folder.py), the commands that mention them (memory.py).

A value is *held* while an entry of the table refers to it, or may. All others are *loose*: contributions to rounds,
results of commands that failed, copies of what other nodes keep. Of these the ones that were not used for longest make
room for new ones. Whoever was just told where a file is has a moment to map it before it can go.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from discomputify_core.edge import clock
from discomputify_core.errors import BadInput, DiskError, MemoryFull, Unreachable
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.memory import Scope
from discomputify_core.roles.node import arrays_folder
from discomputify_core.roles.node.arrays_folder import ArraysFolder
from discomputify_core.roles.node.removing import remove_tree

#: Most files of a job; what they weigh is bounded by the conf.
MAX_FILES = 10_000
#: Seconds in which a program that was told where a file is maps it.
GRACE = 2.0
#: Seconds to wait for room.
PATIENCE = 60.0
#: Seconds for files to be removed when the node stops.
TIDY = 15.0
#: Seconds after which files of a job are dropped that the master has not mentioned since the node lost sight of it.
FORGOTTEN = 6 * 3600.0

T = TypeVar("T")
Meta = Mapping[str, Any]


@attrs.define(eq=False)
class KeptArray:
    """A file. All but ``users`` and ``digest`` is as its job has it."""

    id: str
    path: Path
    size: int
    #: Whether this node is the one that its value names.
    home: bool
    #: Whose it is until it is given to the table, or while its entry is ephemeral.
    owner: AttemptId | None = None
    #: Whether a program may still be writing it.
    new: bool = False
    held: bool = False
    #: Whether the entry that referred to it is gone, and so it is in a moment.
    leaving: bool = False
    #: When somebody was told of it last.
    used_at: float = attrs.field(factory=clock.now)
    #: Who reads it for another node just now; then it is removed once they have.
    users: int = 0
    doomed: bool = False
    digest: asyncio.Task[str] | None = None


@attrs.define(eq=False)
class JobArrays:
    """The files of one generation of a job."""

    scope: Scope
    folder: asyncio.Task[Path]
    arrays: dict[str, KeptArray] = attrs.field(factory=dict)
    used: int = 0
    fetching: dict[str, asyncio.Task[KeptArray]] = attrs.field(factory=dict)
    #: Since when the master has not mentioned it; 0: it has.
    doubted_at: float = 0.0


class KeptArrays:
    """One per session of a node; for its event loop.

    Args:
        node: its name, as values say it.
        work: its work folder.
        limit: bytes that one job may keep here.
    """

    def __init__(self, node: NodeName, work: Path, limit: int) -> None:
        self.node = node
        self._work = work
        self._limit = limit
        self._folder: asyncio.Task[ArraysFolder] | None = None
        self._jobs: dict[Scope, JobArrays] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    # --- files of this node's programs --------------------------------------------------------------

    async def reserve(self, scope: Scope, attempt: AttemptId, size: int) -> tuple[str, Path]:
        """A new file of *size* bytes for a program to write; its id and where it is.

        Raises:
            MemoryFull: there is no room for it.
        """
        array = await self._made(scope, clock.token(16), size, home=True)
        array.owner, array.new = attempt, True
        try:
            await self._reserved(scope, array)
        except BaseException:
            self._remove(scope, array.id)
            raise
        return array.id, array.path

    async def _reserved(self, scope: Scope, array: KeptArray) -> None:
        folder, deadline = await self._opened(), clock.now() + PATIENCE
        while True:
            making = self._spawn(asyncio.to_thread(folder.reserve, array.path, array.size))
            try:
                return await asyncio.shield(making)
            except asyncio.CancelledError:
                await asyncio.wait([making])  # a thread cannot be cancelled: what it makes is removed then
                raise
            except OSError as error:
                full = error.errno == errno.ENOSPC and clock.now() < deadline
                if not full or not await self._evicted(self._jobs.get(scope)):
                    raise self._unusable(folder, error) from error

    def check(self, scope: Scope, meta: Meta) -> None:
        """Look at a large value that a program gives to the table: it is one that was reserved here and is written.

        Raises:
            BadInput: it is not.
        """
        job = self._jobs.get(scope)
        array = job.arrays.get(meta["id"]) if job is not None and meta["node"] == self.node else None
        if array is None or not array.home or array.held or array.leaving:
            raise BadInput("A large value is written to a file that was reserved for it, and is given once.")
        try:
            fits = array.size == meta["size"] and arrays_folder.complete(array.path, array.size)
        except OSError as error:
            raise BadInput(f"The file of a large value is gone: {error.strerror or error}.") from error
        if not fits:
            raise BadInput("The file of a large value is not of the size that was reserved.")
        array.new = False

    def hold(self, scope: Scope, array_id: str, owner: AttemptId | None = None) -> None:
        """An entry refers to it from now on; with *owner*, only until that attempt ends."""
        if (array := self._find(scope, array_id)) is not None:
            array.held, array.owner = True, owner

    def loosen(self, scope: Scope, array_id: str) -> None:
        """No entry refers to it: it may go when room is needed."""
        if (array := self._find(scope, array_id)) is not None:
            array.held, array.owner, array.used_at = False, None, clock.now()

    def _soon_gone(self, scope: Scope, array_id: str) -> None:
        array = self._find(scope, array_id)
        if array is None:
            return
        array.held, array.owner, array.leaving = False, None, True
        left = array.used_at + GRACE - clock.now()
        if left > 0:
            asyncio.get_running_loop().call_later(left, self._soon_gone, scope, array_id)
        else:
            self._remove(scope, array_id)

    # --- room ---------------------------------------------------------------------------------------

    async def _made(self, scope: Scope, array_id: str, size: int, *, home: bool) -> KeptArray:
        """A new file that counts from now on, and does not exist yet."""
        self._forget_doubted()
        await self._room(scope, size)
        job = self._job(scope)
        job.used += size
        # Counted before the next await: whoever comes now sees what is left.
        array = job.arrays[array_id] = KeptArray(array_id, Path(), size, home)
        array.new = True
        try:
            array.path = await asyncio.shield(job.folder) / array_id
        except OSError as error:
            self._remove(scope, array_id)
            raise self._unusable(await self._opened(), error) from error
        except BaseException:
            self._remove(scope, array_id)
            raise
        return array

    async def _room(self, scope: Scope, size: int) -> None:
        deadline = clock.now() + PATIENCE
        while True:
            job = self._job(scope)
            if job.used + size <= self._limit and len(job.arrays) < MAX_FILES:
                return
            if size > self._limit or clock.now() > deadline or not await self._evicted(job):
                raise MemoryFull(
                    f"A value of {size:,} bytes does not fit: large values of the job '{scope.process_id}' take "
                    f"{job.used:,} of {self._limit:,} bytes on the computing node '{self.node}' "
                    f"({len(job.arrays):,} of {MAX_FILES:,} files). Remove what is not needed any more, or raise "
                    "SHARED_ARRAYS_LIMIT in its conf.",
                    limit="SHARED_ARRAYS_LIMIT",
                    size=size,
                )

    async def _evicted(self, job: JobArrays | None) -> bool:
        """Make room by what was not used for longest; whether there was something, or there may be soon."""
        loose = [a for a in job.arrays.values() if not (a.held or a.new or a.users)] if job is not None else []
        if job is None or not loose:
            return False
        oldest = min(loose, key=lambda array: array.used_at)
        left = oldest.used_at + GRACE - clock.now()
        if left > 0:
            await asyncio.sleep(left)  # by then it may have been used again
        else:
            await asyncio.wait([self._remove(job.scope, oldest.id)])
        return True

    def _unusable(self, folder: ArraysFolder, error: OSError | DiskError) -> MemoryFull:
        why = str(error) if isinstance(error, DiskError) else error.strerror or str(error)
        return MemoryFull(
            f"A large value cannot be kept in {folder.path} on the computing node '{self.node}': {why}. Remove what is "
            "not needed any more, or make room there.",
            limit=str(folder.path),
        )

    def _remove(self, scope: Scope, array_id: str) -> asyncio.Future[None]:
        """Forget a file, and remove it as soon as nobody reads it; done once it is gone, or left to its readers."""
        job = self._jobs.get(scope)
        array = job.arrays.pop(array_id, None) if job is not None else None
        if job is None or array is None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        job.used -= array.size
        array.doomed = True
        return self._unlink(array)

    def _unlink(self, array: KeptArray) -> asyncio.Future[None]:
        if array.users or array.path == Path():
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        return self._spawn(asyncio.to_thread(arrays_folder.remove_file, array.path))

    # --- jobs and attempts --------------------------------------------------------------------------

    def ended(self, scope: Scope, attempt: AttemptId) -> None:
        """An attempt is over: what it had not given to the table, or only until now, goes."""
        job = self._jobs.get(scope)
        for array in list(job.arrays.values()) if job is not None else ():
            if array.owner == attempt:
                self._soon_gone(scope, array.id)

    def drop(self, process_id: ProcessId) -> None:
        """A job is over: all its files go."""
        for scope in [scope for scope in self._jobs if scope.process_id == process_id]:
            self._drop(scope)

    def begin(self, scope: Scope) -> None:
        """Parts of a job use *scope*: what earlier generations of it left goes."""
        for other in [other for other in self._jobs if other.process_id == scope.process_id]:
            if other.key != scope.key or other.generation < scope.generation:
                self._drop(other)
        if scope in self._jobs:
            self._jobs[scope].doubted_at = 0.0

    def doubt(self, process_id: ProcessId) -> None:
        """The job may have ended without this node being told; others may still need its files, for a while."""
        for scope, job in self._jobs.items():
            if scope.process_id == process_id:
                job.doubted_at = job.doubted_at or clock.now()

    def _forget_doubted(self) -> None:
        for scope, job in list(self._jobs.items()):
            if job.doubted_at and clock.now() - job.doubted_at > FORGOTTEN:
                self._drop(scope)

    def _drop(self, scope: Scope) -> None:
        job = self._jobs.pop(scope)
        for task in job.fetching.values():
            task.cancel()
        for array in job.arrays.values():
            array.doomed = True
        self._spawn(self._removed(job))

    async def _removed(self, job: JobArrays) -> None:
        await asyncio.wait([job.folder])
        if job.folder.cancelled() or job.folder.exception() is not None:
            return
        await asyncio.to_thread(remove_tree, job.folder.result())

    def _find(self, scope: Scope, array_id: str) -> KeptArray | None:
        job = self._jobs.get(scope)
        return None if job is None else job.arrays.get(array_id)

    def _find_any(self, process_id: ProcessId, array_id: str) -> tuple[Scope, KeptArray] | None:
        for scope, job in self._jobs.items():
            if scope.process_id == process_id and array_id in job.arrays:
                job.doubted_at = 0.0
                return scope, job.arrays[array_id]
        return None

    def _job(self, scope: Scope) -> JobArrays:
        job = self._jobs.get(scope)
        if job is None:
            job = self._jobs[scope] = JobArrays(scope, self._spawn(self._job_folder(scope)))
        job.doubted_at = 0.0
        return job

    async def _job_folder(self, scope: Scope) -> Path:
        folder = await self._opened()
        return await asyncio.to_thread(folder.job, scope.process_id, clock.token(4))

    async def _opened(self) -> ArraysFolder:
        """The folder of this session, made when it is needed first."""
        if self._closed:
            raise Unreachable("This computing node is stopping.")
        if self._folder is None or (self._folder.done() and self._folder.exception() is not None):
            self._folder = self._spawn(asyncio.to_thread(ArraysFolder.made, self._work, self._limit))
        return await asyncio.shield(self._folder)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited for it has it

    async def close(self) -> None:
        """Remove everything. Idempotent."""
        self._closed = True
        for scope in list(self._jobs):
            self._drop(scope)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=TIDY)  # threads cannot be cancelled
        folder, self._folder = self._folder, None
        if folder is not None and folder.done() and folder.exception() is None:
            await asyncio.to_thread(folder.result().remove)
