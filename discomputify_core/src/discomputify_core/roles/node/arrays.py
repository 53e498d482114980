"""Large values of shared memory, as files of this node: lent to other nodes, and borrowed from them.

Here: how they come from and go to other nodes, by way of the store. Not here: which files there are, and how long they
stay (arrays_kept.py), the commands that mention them (memory.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from discomputify_core.edge import clock, trees
from discomputify_core.edge.deadline import within
from discomputify_core.errors import BlobDamaged, BlobMissing, DiscomputifyError, DiskError, MemoryLost, Unreachable
from discomputify_core.interfaces.files import Blob, FileStore
from discomputify_core.model.files import check_digest
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.memory import Scope
from discomputify_core.model.message import ArrayKept, ArrayWanted
from discomputify_core.roles.node.arrays_kept import KeptArray, KeptArrays, Meta

log = logging.getLogger("discomputify.node")

#: Seconds for the store to give or take an array.
TRANSFER = 600.0
#: How often an array that the store has lost again is asked for.
TRIES = 3

Ask = Callable[[ArrayWanted], Awaitable[ArrayKept]]


class ArrayGone(Exception):
    """No node keeps an array any more. The message ends a sentence: "was kept by ..."."""


class Arrays(KeptArrays):
    """One per session of a node; for its event loop.

    Args:
        node: its name, as values say it.
        work: its work folder.
        store: takes and gives arrays.
        limit: bytes that one job may keep here.
        ask: asks the master for an array of another node.
    """

    def __init__(self, node: NodeName, work: Path, store: FileStore, limit: int, ask: Ask) -> None:
        super().__init__(node, work, limit)
        self._store = store
        self._ask = ask
        #: Those that tell other nodes what they need not keep.
        self._words: set[asyncio.Task[None]] = set()

    def freed(self, scope: Scope, meta: Meta) -> None:
        """The entry that referred to a value was replaced or removed: its files are not needed any more."""
        array_id, node = str(meta.get("id")), str(meta.get("node"))
        self._soon_gone(scope, array_id)
        if node != self.node:
            word = self._spawn(self._dropped_there(ArrayWanted(node, scope.process_id, array_id, drop=True)))
            self._words.add(word)
            word.add_done_callback(self._words.discard)

    async def _dropped_there(self, wanted: ArrayWanted) -> None:
        try:
            await self._ask(wanted)
        except DiscomputifyError as error:  # it goes with its job
            log.debug("the node %s was not told to drop an array: %s", wanted.node, error)

    # --- values that are read -----------------------------------------------------------------------

    async def path(self, scope: Scope, meta: Meta) -> Path:
        """Where the file of a large value is, fetched from the node that keeps it if need be.

        Raises:
            ArrayGone: nobody keeps it.
            MemoryFull: there is no room for it here.
            Unreachable, DiscomputifyError: it cannot be had now.
        """
        array = self._find(scope, str(meta.get("id")))
        if array is None or array.new:
            array = await self._fetched(scope, meta)
        array.used_at = clock.now()
        return array.path

    async def _fetched(self, scope: Scope, meta: Meta) -> KeptArray:
        array_id, node, size = str(meta.get("id")), str(meta.get("node")), meta.get("size")
        if node == self.node or type(size) is not int or size < 1:
            raise ArrayGone("which does not keep it any more")
        job = self._job(scope)
        task = job.fetching.get(array_id)
        if task is None:  # concurrent askers share it, also when the first one gives up
            wanted = ArrayWanted(node, scope.process_id, array_id)
            task = job.fetching[array_id] = self._spawn(self._fetch(scope, wanted, size))
            task.add_done_callback(lambda done: job.fetching.pop(array_id, None))
        await asyncio.wait([task])
        if task.cancelled():
            raise Unreachable("The array was given up while it was fetched: its job or its node ends.")
        return task.result()

    async def _fetch(self, scope: Scope, wanted: ArrayWanted, size: int) -> KeptArray:
        array = await self._made(scope, wanted.array, size, home=False)
        array.new = True
        try:
            await self._fill(array, wanted)
        except BaseException:
            self._remove(scope, array.id)
            raise
        array.new = False
        return array

    async def _fill(self, array: KeptArray, wanted: ArrayWanted) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                kept = await self._ask(wanted)
                if kept.size != array.size:
                    raise ArrayGone("which keeps another one under its name")
                return await self._got(wanted.process_id, Blob(check_digest(kept.digest), array.size, array.path))
            except MemoryLost as lost:
                raise ArrayGone(str(lost.fields.get("why") or "which is not connected any more")) from lost
            except (BlobMissing, BlobDamaged) as error:
                if not tries_left:
                    raise ArrayGone(f"and cannot be had from there: {error}") from error
        raise AssertionError("unreachable")

    async def _got(self, process_id: ProcessId, blob: Blob) -> None:
        try:
            await within(TRANSFER, self._store.get(process_id, [blob]))
        except DiskError as error:
            raise self._unusable(await self._opened(), error) from error
        except asyncio.TimeoutError:
            raise Unreachable(f"An array did not arrive from the store within {TRANSFER:.0f} s.") from None
        blob.path.chmod(0o400)

    # --- what other nodes ask for -------------------------------------------------------------------

    async def share(self, wanted: ArrayWanted) -> ArrayKept:
        """Bring an array into the store for another node; or drop it.

        Raises:
            MemoryLost: it is not kept here.
            StoreError, DiskError, Unreachable: the store does not take it.
        """
        found = self._find_any(wanted.process_id, wanted.array)
        if wanted.drop:
            if found is not None:
                self._soon_gone(found[0], wanted.array)
            return ArrayKept()
        if found is None or found[1].new:
            raise MemoryLost(
                f"The computing node '{self.node}' does not keep that array of '{wanted.process_id}' any more.",
                why="which does not keep it any more (it was started again, or has made room: see SHARED_ARRAYS_LIMIT)",
            )
        array = found[1]
        array.users += 1
        try:
            digest = await self._digest(array)
            blob = Blob(check_digest(digest), array.size, array.path)
            await within(TRANSFER, self._store.put(wanted.process_id, [blob]))
        except asyncio.TimeoutError:
            raise Unreachable(f"The store did not take an array within {TRANSFER:.0f} s.") from None
        finally:
            array.users -= 1
            array.used_at = clock.now()
            if array.doomed and not array.users:
                self._unlink(array)
        return ArrayKept(digest, array.size)

    async def _digest(self, array: KeptArray) -> str:
        """Its digest, computed once: what was put does not change any more."""
        if array.digest is None or (array.digest.done() and (array.digest.cancelled() or array.digest.exception())):
            array.digest = self._spawn(asyncio.to_thread(self._digest_of, array.path))
        return await asyncio.shield(array.digest)

    def _digest_of(self, path: Path) -> str:
        return str(trees.local_file(path, "array", self._store.hasher).blob.digest)

    async def close(self) -> None:
        """Remove everything. Idempotent."""
        self._closed = True
        for word in self._words:
            word.cancel()
        await super().close()
