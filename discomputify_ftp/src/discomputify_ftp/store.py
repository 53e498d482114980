"""The store plugin ``ftp``, seen from its clients.

Here: the promises of :class:`FileStore`. Not here: how bytes travel (sending.py, fetching.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from discomputify_core.errors import BlobDamaged, BlobMissing, PeerBroke
from discomputify_core.interfaces.calls import Caller
from discomputify_core.interfaces.files import Blob, FileStore, Moved, Source, StoreStatus
from discomputify_core.model.conf import Conf
from discomputify_core.model.files import Digest, Manifest, check_digest
from discomputify_core.model.ids import ProcessId, check_process_id
from discomputify_ftp import wire
from discomputify_ftp.chunks import MOST_NAMES, slices
from discomputify_ftp.fetching import Fetcher
from discomputify_ftp.hashing import Blake3Hasher, digest_of
from discomputify_ftp.lanes import LONG, Lanes
from discomputify_ftp.layout import check_tree
from discomputify_ftp.sending import Sender


class FtpStore(FileStore):
    """The client of an ``ftp_node``."""

    name: ClassVar[str] = "ftp"

    def __init__(self, conf: Conf, options: Any, query: Caller, files: Caller) -> None:
        self._lanes = Lanes(conf, query, files)

    @classmethod
    def hasher(cls) -> Blake3Hasher:
        """A new BLAKE3 hasher."""
        return Blake3Hasher()

    async def missing(self, process_id: ProcessId, blobs: Sequence[tuple[Digest, int]]) -> list[Digest]:
        """See :meth:`FileStore.missing`."""
        check_process_id(process_id)
        once = list(dict.fromkeys((check_digest(digest), size) for digest, size in blobs))
        lacking: dict[Digest, None] = {}
        for some in slices(once):
            answer = await self._lanes.ask(wire.MISSING, wire.AboutBlobs(process_id, tuple(some)), wire.Missing)
            for number in answer.missing:
                if not 0 <= number < len(some):
                    raise PeerBroke("The store lacks a blob that it was not asked about.", clause=wire.MISSING)
                lacking[some[number][0]] = None
        return list(lacking)

    async def put(self, process_id: ProcessId, blobs: Sequence[Blob], moved: Moved | None = None) -> None:
        """See :meth:`FileStore.put`. *moved* counts bytes that travelled: not what was held, nor resumed."""
        lacking = set(await self.missing(process_id, [(blob.digest, blob.size) for blob in blobs]))
        once = {blob.digest: blob for blob in blobs if blob.digest in lacking}
        await Sender(self._lanes, process_id, moved).send(once.values())

    async def commit(self, process_id: ProcessId, tree: str, manifest: Manifest) -> Digest:
        """See :meth:`FileStore.commit`."""
        check_process_id(process_id)
        check_tree(tree)
        packed, digest = await asyncio.to_thread(wire.packed_digest, manifest)
        about = wire.AboutTree(process_id, tree, digest, len(packed))
        body = packed
        if len(packed) > self._lanes.sending:
            await Sender(self._lanes, process_id, None).send_bytes(digest, packed)
            body = b""
        try:
            async with self._lanes.lane():
                await self._lanes.send(wire.COMMIT, about, body, timeout=LONG)
        except BlobMissing as error:
            raise await self._all_missing(process_id, manifest, error) from error
        return digest

    async def _all_missing(self, process_id: ProcessId, manifest: Manifest, error: BlobMissing) -> BlobMissing:
        """*error* with all the digests, where they were too many for one answer."""
        if error.fields.get("count") == len(error.fields.get("digests", ())):
            return error
        lacking = await self.missing(process_id, [(Digest(entry.digest), entry.size) for entry in manifest.files])
        return BlobMissing(str(error), digests=lacking, count=len(lacking))

    async def manifest(self, process_id: ProcessId, digest: Digest) -> Manifest:
        """See :meth:`FileStore.manifest`."""
        check_process_id(process_id)
        about = wire.AboutTree(process_id, digest=check_digest(digest))
        size, data = await self._lanes.manifest(about)
        if not data:
            try:
                data = await Fetcher(self._lanes, process_id, None).fetch_bytes(digest, size)
            except BlobMissing as error:
                raise BlobDamaged(f"The manifest {digest} is lost in the store.", digest=digest) from error
        if digest_of(data) != digest:
            raise BlobDamaged(f"The manifest {digest} did not arrive as it should.", digest=digest)
        return await asyncio.to_thread(wire.unpack, data, digest)

    async def find(self, process_id: ProcessId, tree: str) -> Digest:
        """See :meth:`FileStore.find`."""
        about = wire.AboutTree(check_process_id(process_id), check_tree(tree))
        return check_digest((await self._lanes.ask(wire.FIND, about, wire.Found)).digest)

    async def gather(self, process_id: ProcessId) -> Digest:
        """See :meth:`FileStore.gather`."""
        about = wire.AboutTree(check_process_id(process_id))
        return check_digest((await self._lanes.ask(wire.GATHER, about, wire.Found, extra=LONG)).digest)

    async def get(self, process_id: ProcessId, blobs: Sequence[Blob], moved: Moved | None = None) -> None:
        """See :meth:`FileStore.get`."""
        check_process_id(process_id)
        for blob in blobs:
            check_digest(blob.digest)
        await Fetcher(self._lanes, process_id, moved).fetch(blobs)

    async def clear(self, process_id: ProcessId) -> None:
        """See :meth:`FileStore.clear`."""
        about = wire.AboutTree(check_process_id(process_id))
        async with self._lanes.lane():
            await self._lanes.send(wire.CLEAR, about, b"", timeout=LONG)

    async def drop(self, process_id: ProcessId, trees: Sequence[str]) -> bool:
        """See :meth:`FileStore.drop`."""
        check_process_id(process_id)
        for some in slices([check_tree(tree) for tree in trees], MOST_NAMES):
            async with self._lanes.lane():
                await self._lanes.send(wire.DROP, wire.AboutTrees(process_id, tuple(some)), b"", timeout=LONG)
        return True

    async def usage(self, process_id: ProcessId) -> int:
        """See :meth:`FileStore.usage`."""
        about = wire.AboutTree(check_process_id(process_id))
        return (await self._lanes.ask(wire.USAGE, about, wire.Used)).bytes

    async def wanted(self) -> list[Digest]:
        """See :meth:`FileStore.wanted`."""
        return [check_digest(digest) for digest in (await self._lanes.ask(wire.WANTED, None, wire.Wanted)).digests]

    async def source(self, process_id: ProcessId, digest: Digest, size: int, address: str, failed: str = "") -> Source:
        """See :meth:`FileStore.source`."""
        about = wire.AboutSource(check_process_id(process_id), check_digest(digest), size, address, failed)
        return await self._lanes.ask(wire.SOURCE, about, Source)

    async def shares(self, process_id: ProcessId, digests: Sequence[Digest], address: str) -> bool:
        """See :meth:`FileStore.shares`."""
        about = wire.Shared(check_process_id(process_id), tuple(map(check_digest, digests)), address)
        await self._lanes.ask(wire.SHARES, about, wire.Noted)
        return True

    async def status(self) -> StoreStatus:
        """See :meth:`FileStore.status`."""
        return await self._lanes.ask(wire.STATUS, None, StoreStatus)
