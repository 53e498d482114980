"""A file store inside one process: blobs in a dictionary, digests by hashlib.

It keeps every promise of interfaces/files.py, with real local files on the client's side. Nothing survives the process.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import msgpack

from discomputify_core.errors import BlobDamaged, BlobMissing, DiskError, NoSuchTree, StoreFull
from discomputify_core.interfaces.calls import Caller
from discomputify_core.interfaces.files import Blob, FileStore, Hasher, Moved, StoreStatus
from discomputify_core.model.conf import Conf
from discomputify_core.model.files import Digest, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_testkit.fakes.options import MemoryOptions

#: Bytes moved between two looks at the other tasks.
CHUNK = 256 * 1024


class Blake2bHasher:
    """BLAKE2b with 32 bytes, from the standard library."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=32)

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Add *data*."""
        self._hash.update(data)

    def digest(self) -> Digest:
        """``blake2b:…`` of all data so far."""
        return Digest(f"blake2b:{self._hash.hexdigest()}")


def digest_of(data: bytes | bytearray) -> Digest:
    """The digest of *data*."""
    hasher = Blake2bHasher()
    hasher.update(data)
    return hasher.digest()


@attrs.frozen
class Tree:
    """A committed tree: the digest of its manifest, which is a blob too, and the blobs it needs."""

    digest: Digest
    needs: frozenset[Digest]


@attrs.define
class MemoryContents:
    """What a store holds; shared by all clients of it."""

    blobs: dict[Digest, bytes] = attrs.field(factory=dict)
    #: Beginnings of blobs whose transfer was cut.
    partial: dict[Digest, bytearray] = attrs.field(factory=dict)
    #: By job and name.
    trees: dict[ProcessId, dict[str, Tree]] = attrs.field(factory=dict)
    #: By job: blobs that it was told are held, or sent.
    pinned: dict[ProcessId, set[Digest]] = attrs.field(factory=dict)
    #: Blobs that were damaged, and removed because of that.
    lost: set[Digest] = attrs.field(factory=set)
    #: Why no uploads are taken; "" if they are. For tests to set.
    full: str = ""

    def holds(self, digest: Digest, size: int) -> bool:
        """Whether the blob is here."""
        return digest in self.blobs and len(self.blobs[digest]) == size

    def pin(self, process_id: ProcessId, digest: Digest) -> None:
        """Keep the blob for the job until it is cleared."""
        self.pinned.setdefault(process_id, set()).add(digest)

    def used(self) -> set[Digest]:
        """The blobs that some job needs."""
        found = set().union(*self.pinned.values())
        for trees in self.trees.values():
            for tree in trees.values():
                found |= tree.needs | {tree.digest}
        return found


#: By space.
_contents: dict[str, MemoryContents] = {}


class MemoryStore(FileStore):
    """See the module. All clients of one space, or given one *contents*, share what is held.

    One that is a *node*'s may bring blobs though the contents are said to be full.
    """

    name = "memory"
    options = MemoryOptions

    def __init__(
        self,
        conf: Conf,
        options: Any = None,
        query: Caller | None = None,
        files: Caller | None = None,
        *,
        contents: MemoryContents | None = None,
        node: bool = False,
    ) -> None:
        name = (options or MemoryOptions()).space
        self._node = node
        self.contents = _contents.setdefault(name, MemoryContents()) if contents is None else contents

    @classmethod
    def hasher(cls) -> Hasher:
        """See :meth:`FileStore.hasher`."""
        return Blake2bHasher()

    async def missing(self, process_id: ProcessId, blobs: Sequence[tuple[Digest, int]]) -> list[Digest]:
        """See :meth:`FileStore.missing`."""
        lacking: dict[Digest, None] = {}
        for digest, size in blobs:
            if self.contents.holds(digest, size):
                self.contents.pin(process_id, digest)
            else:
                lacking[digest] = None
        return list(lacking)

    async def put(self, process_id: ProcessId, blobs: Sequence[Blob], moved: Moved | None = None) -> None:
        """See :meth:`FileStore.put`."""
        for blob in blobs:
            if not self.contents.holds(blob.digest, blob.size) and blob.digest not in self.contents.lost:
                self._check_room()
            resumed = blob.digest in self.contents.partial
            # A cut transfer may have left the beginning of a file that has changed since: then from the start.
            if not await self._sent(blob, moved) and not (resumed and await self._sent(blob, moved)):
                raise BlobDamaged(
                    f"{blob.path} does not have the bytes of {blob.digest}: it changed.", digest=blob.digest
                )
            self.contents.pin(process_id, blob.digest)

    async def _sent(self, blob: Blob, moved: Moved | None) -> bool:
        """Whether the blob is held and right after sending what is not here yet."""
        while not self.contents.holds(blob.digest, blob.size):
            begun = self.contents.partial.setdefault(blob.digest, bytearray())
            data = _read(blob.path, len(begun), CHUNK)
            begun += data
            if moved and data:
                moved(len(data))
            if len(data) < CHUNK or len(begun) > blob.size:
                del self.contents.partial[blob.digest]
                if len(begun) != blob.size or digest_of(begun) != blob.digest:
                    return False
                self.contents.blobs[blob.digest] = bytes(begun)
            await asyncio.sleep(0)
        self.contents.lost.discard(blob.digest)
        return True

    def _check_room(self) -> None:
        if self.contents.full and not self._node:
            raise StoreFull(self.contents.full)

    async def commit(self, process_id: ProcessId, tree: str, manifest: Manifest) -> Digest:
        """See :meth:`FileStore.commit`."""
        wanted = {Digest(entry.digest): entry.size for entry in manifest.files}
        lacking = [digest for digest, size in wanted.items() if not self.contents.holds(digest, size)]
        lacking += [Digest(e.digest) for e in manifest.files if e.size != wanted[Digest(e.digest)]]
        if lacking:
            raise BlobMissing(f"The store lacks {len(lacking)} files of '{tree}'.", digests=lacking)
        self._check_room()
        data: bytes = msgpack.packb(manifest.to_rows())
        digest = digest_of(data)
        self.contents.blobs[digest] = data
        self.contents.lost.discard(digest)
        self.contents.trees.setdefault(process_id, {})[tree] = Tree(digest, frozenset(wanted))
        return digest

    async def manifest(self, process_id: ProcessId, digest: Digest) -> Manifest:
        """See :meth:`FileStore.manifest`."""
        if all(tree.digest != digest for tree in self.contents.trees.get(process_id, {}).values()):
            raise NoSuchTree(f"The job '{process_id}' has no tree {digest}.", digest=digest)
        return Manifest.from_rows(msgpack.unpackb(self._verified(digest)))

    async def find(self, process_id: ProcessId, tree: str) -> Digest:
        """See :meth:`FileStore.find`."""
        found = self.contents.trees.get(process_id, {}).get(tree)
        if found is None:
            raise NoSuchTree(f"The job '{process_id}' has no tree '{tree}'.", tree=tree)
        return found.digest

    def _verified(self, digest: Digest) -> bytes:
        data = self.contents.blobs.get(digest)
        if data is None:
            raise BlobMissing(f"The store does not hold {digest}.", digests=[digest])
        if digest_of(data) != digest:
            del self.contents.blobs[digest]
            self.contents.lost.add(digest)
            raise BlobDamaged(f"What the store holds as {digest} is damaged.", digest=digest)
        return data

    async def get(self, process_id: ProcessId, blobs: Sequence[Blob], moved: Moved | None = None) -> None:
        """See :meth:`FileStore.get`."""
        for blob in blobs:
            data = self._verified(blob.digest)
            _write(blob.path, data)
            if moved:
                moved(len(data))
            await asyncio.sleep(0)

    async def clear(self, process_id: ProcessId) -> None:
        """See :meth:`FileStore.clear`."""
        self.contents.trees.pop(process_id, None)
        self.contents.pinned.pop(process_id, None)
        self._sweep()

    def _sweep(self) -> None:
        used = self.contents.used()
        self.contents.lost &= used
        for digest in [digest for digest in self.contents.blobs if digest not in used]:
            del self.contents.blobs[digest]

    async def drop(self, process_id: ProcessId, trees: Sequence[str]) -> bool:
        """See :meth:`FileStore.drop`."""
        for name in trees:
            self.contents.trees.get(process_id, {}).pop(name, None)
        self._sweep()
        return True

    async def usage(self, process_id: ProcessId) -> int:
        """See :meth:`FileStore.usage`."""
        trees = self.contents.trees.get(process_id, {}).values()
        return sum(len(self.contents.blobs.get(each, b"")) for each in set().union(*(tree.needs for tree in trees)))

    async def wanted(self) -> list[Digest]:
        """See :meth:`FileStore.wanted`."""
        return sorted(self.contents.lost)

    async def status(self) -> StoreStatus:
        """See :meth:`FileStore.status`."""
        size = sum(len(data) for data in self.contents.blobs.values())
        return StoreStatus(
            version="memory",
            place="memory of this process",
            free=2**30,
            total=2**30 + size,
            blobs=len(self.contents.blobs),
            warning="memory: gone when this process ends",
            full=self.contents.full,
        )


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise DiskError(f"{path} cannot be read: {error}.", path=str(path)) from error


def _write(path: Path, data: bytes) -> None:
    """Put *data* at *path*: all of it or, where that fails, nothing."""
    begun = path.with_name(f".{path.name}.part")
    try:
        begun.write_bytes(data)
        begun.replace(path)
    except OSError as error:
        begun.unlink(missing_ok=True)
        raise DiskError(f"{path} cannot be written: {error}.", path=str(path)) from error
