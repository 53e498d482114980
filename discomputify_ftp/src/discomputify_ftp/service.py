"""The role ``ftp_node``: the store's operations, each checked, run in threads, and answered.

Here: what may be asked and in which order things happen. Not here: files (blobs.py, refs.py, arrivals.py), old
clients' operations (old_clients.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from discomputify_core.errors import DiscomputifyError, Refused
from discomputify_core.interfaces.calls import Asked, Operation, Operations, Reply
from discomputify_core.interfaces.role import ServiceRole
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.conf import Conf
from discomputify_core.model.old_clients import OLD_REQUEST
from discomputify_ftp import layout, wire
from discomputify_ftp.arrivals import Arrivals
from discomputify_ftp.blobs import Blobs
from discomputify_ftp.disk import naming
from discomputify_ftp.folder_lock import FolderLock
from discomputify_ftp.keeper import Keeper
from discomputify_ftp.old_clients import OldClients
from discomputify_ftp.room import MAY_USE_RESERVE, Room
from discomputify_ftp.sources import Sources

log = logging.getLogger("discomputify.ftp")

T = TypeVar("T")

#: Seconds between two rounds of tidying up.
ROUND = 1800.0
#: Seconds that closing waits for files being written.
LAST_WRITES = 10.0


class FtpNode(ServiceRole):
    """Serves the store and its queries from one process, at FTP_NODE and QUERY_NODE."""

    name: ClassVar[str] = "ftp_node"

    def __init__(self, conf: Conf, options: Any = None) -> None:
        self._conf = conf
        self._base = Path(conf.ftp_base_path)
        self._lock = FolderLock(self._base / layout.LOCK)
        self._threads: ThreadPoolExecutor | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._blobs = Blobs(self._base)
        room = Room(self._base, conf.reserve)
        self._keeper = Keeper(self._blobs, room)
        self._arrivals = Arrivals(self._blobs, room, self._in_thread)
        #: Held while trees change: what a commit has checked is still there when its tree appears.
        self._trees = asyncio.Lock()
        self._sources = Sources()
        self._old = OldClients(conf, room, self._blobs, self._keeper, self._trees, self._in_thread)

    def addresses(self) -> tuple[Address, ...]:
        """FTP_NODE, then QUERY_NODE."""
        conf = self._conf
        return (
            Address(conf.ftp_node, conf.ftp_port),
            Address(conf.query_node_or_default, conf.query_port),
        )

    async def open(self) -> None:
        """See :meth:`ServiceRole.open`."""
        with naming(self._base):
            self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock.acquire()
        self._threads = ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 2), thread_name_prefix="discomputify-ftp")
        try:
            await self._in_thread(self._blobs.open)
        except BaseException:
            # Also when cancelled: the lock is not kept by a service that does not run.
            await self.close()
            raise
        self._tidying = asyncio.get_running_loop().create_task(self._tidy())

    def operations(self) -> Operations:
        """See :meth:`ServiceRole.operations`. Most can be done twice without harm, and so need no memory of answers."""
        return {
            wire.MISSING: Operation(self._missing),
            wire.PUT: Operation(self._put),
            wire.FAR: Operation(self._far),
            wire.APPEND: Operation(self._append),
            wire.COMMIT: Operation(self._commit, changes=True),
            wire.MANIFEST: Operation(self._manifest),
            wire.FIND: Operation(self._find),
            wire.GATHER: Operation(self._old.gather, changes=True),
            wire.FETCH: Operation(self._fetch),
            wire.READ: Operation(self._read),
            wire.DAMAGED: Operation(self._damaged),
            wire.CLEAR: Operation(self._clear, changes=True),
            wire.DROP: Operation(self._drop, changes=True),
            wire.USAGE: Operation(self._usage),
            wire.WANTED: Operation(self._wanted),
            wire.SOURCE: Operation(self._source),
            wire.SHARES: Operation(self._shares),
            wire.STATUS: Operation(self._status),
            # The transport hands a request of an old client on once, however often it arrives.
            OLD_REQUEST: Operation(self._old.answer),
        }

    async def close(self) -> None:
        """See :meth:`ServiceRole.close`."""
        if self._tidying:
            self._tidying.cancel()
            await asyncio.wait([self._tidying], timeout=LAST_WRITES)
            self._tidying = None
        if self._threads:
            threads, self._threads = self._threads, None
            threads.shutdown(wait=False, cancel_futures=True)
            await asyncio.wait([asyncio.ensure_future(asyncio.to_thread(threads.shutdown))], timeout=LAST_WRITES)
        self._lock.release()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._threads is None:
            raise DiscomputifyError("The store is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(ROUND)
            try:
                await self.tidy()
            except (DiscomputifyError, OSError) as error:
                log.warning("tidying the store up failed, and is tried again later: %s", error)

    async def tidy(self) -> int:
        """One round of tidying up; returns how many blobs that no tree uses were removed."""
        self._arrivals.forget_idle()
        async with self._trees:
            await self._in_thread(self._keeper.count_uses)
        removed = 0
        # Folder by folder, so that neither those who ask nor closing wait for all of it.
        for folder in await self._in_thread(self._keeper.sweep_rubbish):
            removed += await self._in_thread(partial(self._keeper.sweep, folder))
        await self._old.tidy()
        return removed

    # --- operations -------------------------------------------------------------------------------

    async def _missing(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutBlobs)
        missing = await self._in_thread(lambda: self._keeper.missing(about, _may_use_reserve(asked)))
        return Reply(to_plain(wire.Missing(tuple(missing))))

    async def _put(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutBlobs)
        wire.check_body(asked.body, about)
        await self._in_thread(lambda: self._keeper.put(about, memoryview(asked.body), _may_use_reserve(asked)))
        return Reply()

    async def _far(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutChunk)
        reserve = self._promised(asked, about)
        return Reply(to_plain(wire.Held(await self._arrivals.far(about.digest, about.size, reserve))))

    async def _append(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutChunk)
        reserve = self._promised(asked, about)
        held = await self._arrivals.append(about.digest, about.size, about.offset, asked.body, reserve)
        return Reply(to_plain(wire.Held(held)))

    def _promised(self, asked: Asked, about: wire.AboutChunk) -> bool:
        """Keep a blob that is arriving; returns whether it may use the reserve."""
        reserve = _may_use_reserve(asked)
        self._keeper.promise(about.process_id, [about.digest], reserve)
        return reserve or self._keeper.mends(about.digest)

    async def _commit(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutTree)
        reserve = _may_use_reserve(asked)
        ready = await self._in_thread(lambda: self._keeper.receive_manifest(about, memoryview(asked.body), reserve))
        async with self._trees:
            await self._in_thread(lambda: self._keeper.commit(about, ready))
        log.debug("%s: the tree %r of %s is %s", asked.address, about.tree, about.process_id, about.digest)
        return Reply()

    async def _manifest(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutTree)
        async with self._trees:
            size = await self._in_thread(lambda: self._keeper.manifest_size(about))
        data = await self._in_thread(lambda: self._keeper.manifest(about.digest, size))
        return Reply(to_plain(wire.Size(size)), data)

    async def _find(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutTree)
        async with self._trees:
            digest = await self._in_thread(lambda: self._keeper.find(about))
        return Reply(to_plain(wire.Found(digest)))

    async def _fetch(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutBlobs)
        return Reply(None, await self._in_thread(lambda: self._keeper.fetch(about)))

    async def _read(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutChunk)
        return Reply(None, await self._in_thread(lambda: self._keeper.read(about)))

    async def _damaged(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutChunk)
        log.warning("%s says that blob %s arrived damaged: reading it again", asked.address, about.digest)
        damaged = await self._in_thread(lambda: self._blobs.examine(about.digest))
        return Reply(to_plain(wire.Examined(damaged)))

    async def _clear(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutTree)
        async with self._trees:
            removed = await self._in_thread(lambda: self._keeper.clear(about.process_id))
        await self._old.clear(about.process_id)
        log.debug("%s: cleared %s, %d blobs removed", asked.address, about.process_id, removed)
        return Reply()

    async def _drop(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutTrees)
        for tree in about.trees:
            async with self._trees:
                await self._in_thread(partial(self._keeper.remove, about.process_id, tree))
        return Reply()

    async def _usage(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutTree)
        async with self._trees:
            trees = await self._in_thread(lambda: self._keeper.trees(about.process_id))
        return Reply(to_plain(wire.Used(await self._in_thread(lambda: self._keeper.usage(about.process_id, trees)))))

    async def _wanted(self, asked: Asked) -> Reply:
        return Reply(to_plain(wire.Wanted(tuple(await self._in_thread(self._keeper.wanted)))))

    async def _source(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.AboutSource)
        _only_nodes(asked)
        now = asyncio.get_running_loop().time()
        return Reply(to_plain(self._sources.source(about.digest, about.size, about.address, about.failed, now)))

    async def _shares(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, wire.Shared)
        _only_nodes(asked)
        for digest in about.digests[: wire.MOST_SHARED]:
            self._sources.shares(digest, about.address, asyncio.get_running_loop().time())
        return Reply(to_plain(wire.Noted()))

    async def _status(self, asked: Asked) -> Reply:
        return Reply(to_plain(await self._in_thread(self._keeper.status)))


def _only_nodes(asked: Asked) -> None:
    """Refuse whoever cannot share blobs.

    Raises:
        Refused: it is no computing node.
    """
    if asked.peer.role != "computing_node":
        raise Refused(f"Only computing nodes share blobs; {asked.address} is none.")


def _may_use_reserve(asked: Asked) -> bool:
    return asked.peer.role in MAY_USE_RESERVE
