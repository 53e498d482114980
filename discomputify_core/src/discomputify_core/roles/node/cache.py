"""The computing node's blob cache: files of jobs, fetched once, verified, placed into many work folders.

A blob is used only while its file looks exactly as it did when its bytes were verified (size, mtime, ctime, inode).
If not, it is hashed again, and fetched again where the bytes differ. So nothing that a program does to a file that
it shares with the cache goes unnoticed.

Here: fetching, waiting, placing. Not here: what is evicted (cache_index.py), the files' layout (cache_disk.py).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from discomputify_core.edge import clock
from discomputify_core.errors import BlobDamaged, BlobMissing, DiscomputifyError, DiskError
from discomputify_core.interfaces.files import Blob, FileStore, Hasher, Moved
from discomputify_core.model.files import Digest, Entry
from discomputify_core.model.ids import ProcessId
from discomputify_core.roles.node.cache_disk import CacheDisk
from discomputify_core.roles.node.cache_index import BlobKey, CacheIndex, Held, Mark
from discomputify_core.roles.node.disk import FolderLock, copy_file, naming
from discomputify_core.roles.node.others import Others

#: How often blobs that change or vanish meanwhile are fetched again before giving up.
TRIES = 3
#: Seconds between two savings of the index while the node runs.
SAVE_GAP = 10.0
#: Links that a file cannot have here, or not one more: a copy does.
_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS)

logger = logging.getLogger(__name__)


class BlobCache:
    """A folder of verified blobs, for one computing node.

    :meth:`ensure` and :meth:`close` are for the event loop; everything else may be called from any thread, and
    what touches files blocks.

    Args:
        folder: this node's own (CACHE_PATH/NODE), on a local disk.
        limit: bytes it may hold. Pinned blobs are never evicted, so the parts that are just being
            prepared may together exceed it for a while.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        #: Where blobs come from before the store is asked; None: from the store alone.
        self.others: Others | None = None
        self._disk = CacheDisk(folder)
        self._folder_lock = FolderLock(folder, "CACHE_PATH")
        #: Guards the index; never held while bytes are read or written.
        self._lock = threading.Lock()
        self._index = CacheIndex(limit)
        self._fetching: dict[BlobKey, asyncio.Task[None]] = {}
        self._waiters: Counter[asyncio.Task[None]] = Counter()
        self._next_save = 0.0
        self._open = False

    @property
    def limit(self) -> int:
        """Bytes that it may hold."""
        return self._index.limit

    @property
    def used(self) -> int:
        """Bytes that it holds."""
        return self._index.used

    def open(self) -> None:
        """Take the folder and find out what it holds. Blocks.

        Raises:
            BadConf: another node uses the folder.
            DiskError: it cannot be used.
        """
        self._folder_lock.take()
        try:
            saved = self._disk.saved()
            order = {key: number for number, key in enumerate(saved)}
            for key in sorted(self._disk.scan(), key=lambda key: order.get(key, -1)):
                mark = self._disk.mark(key)
                if mark is not None:
                    self._index.add(key, mark.size, mark if saved.get(key) == mark else None)
            self._disk.delete(self._index.evict())
        except BaseException:
            self._folder_lock.release()
            raise
        self._open = True

    async def close(self) -> None:
        """End fetches that are under way, save the index, give the folder back. Idempotent."""
        tasks = set(self._fetching.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=10.0)
        if self._open:  # else the folder was never this node's, and its index may be another's
            self._open = False
            try:
                await asyncio.to_thread(self._save)
            except DiskError as error:
                logger.warning("The cache's index was not saved, so its files will be hashed again: %s", error)
        self._folder_lock.release()

    # --- who needs what -------------------------------------------------------------------------

    def pin(self, owner: object, entries: Iterable[Entry]) -> None:
        """Keep these blobs, held already or to be fetched, until *owner* (an attempt's id) is unpinned."""
        keys = _keys(entries)
        with self._lock:
            self._index.pin(owner, keys)

    def unpin(self, owner: object) -> None:
        """Let go what *owner* pinned; the next :meth:`ensure` may evict it. No error if it pinned nothing."""
        with self._lock:
            self._index.unpin(owner)

    def held(self, process_id: ProcessId) -> int:
        """Bytes held of what parts of that job have used."""
        return self.holdings().get(process_id, 0)

    def holdings(self) -> Mapping[ProcessId, int]:
        """Bytes held by job, for jobs that were not dropped."""
        with self._lock:
            return self._index.held()

    def drop(self, process_id: ProcessId) -> None:
        """A job is over: its blobs stay until their room is needed, but no longer count as its own."""
        with self._lock:
            self._index.drop(process_id)

    # --- having blobs ---------------------------------------------------------------------------

    async def ensure(
        self, store: FileStore, process_id: ProcessId, entries: Sequence[Entry], moved: Moved | None = None
    ) -> None:
        """Have all files of *entries* in the cache, verified; fetches what is missing.

        Several calls that need the same blob share one fetch. Deadlines are those of :meth:`FileStore.get`.
        Pin the entries first if they must still be there afterwards.

        Raises:
            DiskError: they are more than the cache may hold, or its disk fails.
            BlobMissing, BlobDamaged, Unreachable: from the store.
        """
        wanted = _keys(entries)
        self._refuse_too_much(wanted)
        owner = object()
        with self._lock:
            self._index.pin(owner, wanted)
        try:
            await self._have(store, process_id, wanted, moved)
        finally:
            with self._lock:
                self._index.unpin(owner)

    async def _have(
        self, store: FileStore, process_id: ProcessId, wanted: Mapping[BlobKey, int], moved: Moved | None
    ) -> None:
        for _ in range(TRIES):
            lacking = await asyncio.to_thread(self._lacking, store.hasher, wanted)
            if not lacking:
                with self._lock:
                    self._index.use(process_id, wanted)
                return
            mine = {key: wanted[key] for key in lacking if key not in self._fetching}
            others = {self._fetching[key] for key in lacking if key in self._fetching}
            own = self._start_fetch(store, process_id, mine, moved) if mine else None
            await self._wait_for(others | ({own} if own else set()))
            if own is not None and own.cancelled():
                raise DiscomputifyError(f"The cache {self.folder} was closed while files were fetched into it.")
            if own is not None:
                own.result()  # what another call's fetch failed with is that call's; this one tries by itself
        raise BlobDamaged(
            f"{len(lacking)} files of the job '{process_id}' changed in this node's cache {self.folder} each time "
            "they were fetched. Something else writes there; give the node a CACHE_PATH of its own.",
            digest=lacking[0].digest,
        )

    def _refuse_too_much(self, wanted: Mapping[BlobKey, int]) -> None:
        size = sum(wanted.values())
        if size > self.limit:
            raise DiskError(
                f"The part needs {size:,} bytes of files, and the cache {self.folder} of this node may hold "
                f"{self.limit:,} (CACHE_LIMIT in its conf).",
                path=str(self.folder),
            )

    def _start_fetch(
        self, store: FileStore, process_id: ProcessId, keys: Mapping[BlobKey, int], moved: Moved | None
    ) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._fetch(store, process_id, keys, moved))
        for key in keys:
            self._fetching[key] = task

        def over(done: asyncio.Task[None]) -> None:
            for key in keys:
                del self._fetching[key]
            if not done.cancelled():
                done.exception()  # looked at here, since everybody who waited may have been cancelled

        task.add_done_callback(over)
        return task

    async def _wait_for(self, tasks: set[asyncio.Task[None]]) -> None:
        """Wait for fetches; one that nobody waits for any more is given up."""
        self._waiters.update(tasks)
        try:
            await asyncio.wait(tasks)
        finally:
            self._waiters.subtract(tasks)
            for task in tasks:
                if not self._waiters[task]:
                    del self._waiters[task]
                    task.cancel()

    async def _fetch(
        self, store: FileStore, process_id: ProcessId, keys: Mapping[BlobKey, int], moved: Moved | None
    ) -> None:
        size = sum(keys.values())
        with self._lock:
            self._index.reserved += size
        try:
            await asyncio.to_thread(self._make_room, keys)
            for executable in (False, True):
                blobs = [
                    Blob(Digest(key.digest), size, self._disk.path(key))
                    for key, size in keys.items()
                    if key.executable is executable
                ]
                if blobs:
                    await self._get(store, process_id, blobs, moved)
            await asyncio.to_thread(self._adopt, keys)
            if self.others is not None:
                blobs = [Blob(Digest(key.digest), size, self._disk.path(key)) for key, size in keys.items()]
                await self.others.have(store, process_id, blobs)
        except BaseException:
            # Also when cancelled: files that no index knows would never be evicted.
            await asyncio.to_thread(self._disk.delete, keys)
            raise
        finally:
            with self._lock:
                self._index.reserved -= size
        await asyncio.to_thread(self._save_now_and_then)

    async def _get(self, store: FileStore, process_id: ProcessId, blobs: Sequence[Blob], moved: Moved | None) -> None:
        rest = blobs if self.others is None else await self.others.fetch(store, process_id, blobs, moved)
        if rest:
            await store.get(process_id, rest, moved)

    def _make_room(self, keys: Iterable[BlobKey]) -> None:
        self._evict()
        self._disk.make_folders(keys)

    def _evict(self) -> None:
        with self._lock:
            self._disk.delete(self._index.evict())

    def _adopt(self, keys: Mapping[BlobKey, int]) -> None:
        """The store has written and verified these files."""
        for key, size in keys.items():
            mark = self._disk.settle(key)
            if mark is None or mark.size != size:
                raise BlobDamaged(
                    f"The store gave {key.digest}, but {self._disk.path(key)} is not there with {size:,} bytes.",
                    digest=key.digest,
                )
            with self._lock:
                self._index.add(key, size, mark)

    # --- trusting blobs -------------------------------------------------------------------------

    def _lacking(self, hasher: Callable[[], Hasher], wanted: Mapping[BlobKey, int]) -> list[BlobKey]:
        """Those of *wanted* that are not here with the right bytes."""
        self._evict()
        return [key for key, size in wanted.items() if not self._sound(hasher, key, size)]

    def _sound(self, hasher: Callable[[], Hasher], key: BlobKey, size: int) -> bool:
        with self._lock:
            held = self._index.get(key)
            if held is None:
                return False
            if self._intact(key, held):
                return True
        before = self._disk.mark(key)
        if before is not None and before.size == size and self._disk.digest(key, hasher()) == key.digest:
            after = self._disk.settle(key)
            if before.same_content(after):
                with self._lock:
                    held.mark = after
                return True
        logger.warning("%s changed in the cache and is fetched again.", self._disk.path(key))
        with self._lock:
            if self._index.get(key) is held:
                self._index.remove(key)
                self._disk.delete([key])
        return False

    def _intact(self, key: BlobKey, held: Held) -> bool:
        """Whether the file looks as it did when verified. While this node itself changes links, ctime may differ."""
        mark = self._disk.mark(key)
        if mark is None or held.mark is None:
            return False
        return mark == held.mark or (held.changing > 0 and held.mark.same_content(mark))

    # --- giving blobs ---------------------------------------------------------------------------

    def place(self, entry: Entry, target: Path, *, link: bool) -> bool:
        """Put a file that was ensured at the new path *target*, read-only. Blocks.

        Args:
            entry: which file.
            target: where; its folder exists.
            link: try a hard link first. Then the file is the cache's own: only for programs that cannot change it
                by accident (not root).

        Returns:
            Whether it is a hard link.

        Raises:
            BlobMissing: it is not in the cache (any more).
            BlobDamaged: it changed; :meth:`ensure` repairs it.
            DiskError: *target* cannot be written.
        """
        key = BlobKey.of(entry)
        if link:
            with self.changing_links([key], strict=True), naming(target):
                try:
                    os.link(self._disk.path(key), target)
                except OSError as error:
                    if error.errno not in _NO_LINK:
                        raise
                else:
                    return True
        self._copy(key, target)
        return False

    def _copy(self, key: BlobKey, target: Path) -> None:
        with self._lock:
            self._expect(key)
        try:
            with naming(target):
                copy_file(self._disk.path(key), target, 0o555 if key.executable else 0o444)
            with self._lock:
                self._expect(key)  # what was copied is what was verified
        except BlobDamaged:
            target.unlink(missing_ok=True)
            raise

    def _expect(self, key: BlobKey) -> Held:
        held = self._index.get(key)
        if held is None:
            raise BlobMissing(f"The blob {key.digest} is not in the cache {self.folder}.", digests=[key.digest])
        if not self._intact(key, held):
            held.mark = None
            raise BlobDamaged(f"The blob {key.digest} changed in the cache {self.folder}.", digest=key.digest)
        return held

    @contextmanager
    def changing_links(self, keys: Iterable[BlobKey], *, strict: bool = False) -> Iterator[None]:
        """For a block in which this node makes or removes links of these blobs, which moves their ctime.

        Blobs that changed before the block are not whitewashed; with *strict* they raise as in :meth:`place`.
        """
        entered: list[tuple[BlobKey, Held]] = []
        try:
            for key in keys:
                with self._lock:
                    try:
                        held = self._expect(key)
                    except (BlobMissing, BlobDamaged):
                        if strict:
                            raise
                        continue
                    held.changing += 1
                    entered.append((key, held))
            yield
        finally:
            for key, held in entered:
                with self._lock:
                    held.changing -= 1
                    mark = self._disk.mark(key)
                    if not held.changing and held.mark is not None:
                        held.mark = mark if held.mark.same_content(mark) else None

    def lend(
        self, owner: object, hasher: Callable[[], Hasher], digests: Iterable[Digest]
    ) -> dict[ProcessId | None, list[Blob]]:
        """Those of the blobs *digests* that are here, verified, by a job that uses them; pinned by *owner*. Blocks."""
        found: dict[ProcessId | None, list[Blob]] = {}
        for digest in digests:
            for key in (BlobKey(digest, False), BlobKey(digest, True)):
                with self._lock:
                    held = self._index.get(key)
                    if held is not None:
                        self._index.pin(owner, [key])
                if held is not None and self._sound(hasher, key, held.size):
                    job = next(iter(held.jobs), None)
                    found.setdefault(job, []).append(Blob(digest, held.size, self._disk.path(key)))
                    break
        return found

    def make_room(self, size: int) -> int:
        """Delete *size* bytes of blobs that nobody needs just now, or what there is; how many that were. Blocks.

        Raises:
            DiskError: one cannot be deleted.
        """
        with self._lock:
            before = self._index.used
            self._disk.delete(self._index.evict(size))
            return before - self._index.used

    # --- the saved index ------------------------------------------------------------------------

    def _save_now_and_then(self) -> None:
        if clock.now() >= self._next_save:
            self._next_save = clock.now() + SAVE_GAP
            self._save()

    def _save(self) -> None:
        with self._lock:
            rows: list[tuple[BlobKey, Mark]] = [
                (key, held.mark) for key, held in self._index.items() if held.mark is not None and not held.changing
            ]
        self._disk.save(rows)


def _keys(entries: Iterable[Entry]) -> dict[BlobKey, int]:
    return {BlobKey.of(entry): entry.size for entry in entries if not entry.folder}
