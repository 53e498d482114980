"""Blobs from the store to local files: many small ones per message, big ones in chunks, each verified.

A file appears under its name when its bytes are known to be right; until then it has a hidden name beside it.
Here: what :meth:`FtpStore.get` does. Not here: the service's side (keeper.py).
"""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import attrs

from discomputify_core.errors import BlobDamaged
from discomputify_core.interfaces.files import Blob, Moved
from discomputify_core.model.files import Digest
from discomputify_core.model.ids import ProcessId
from discomputify_ftp import wire
from discomputify_ftp.chunks import SMALL, batches, chunks
from discomputify_ftp.disk import disk_error, naming, remove, token, write_at, write_new
from discomputify_ftp.hashing import Blake3Hasher, digest_of
from discomputify_ftp.lanes import SLOWEST, WIDTH, WINDOW, Body, Lanes
from discomputify_ftp.together import end, together

#: Big blobs fetched at once.
BIG_AT_ONCE = 2


@attrs.frozen
class Wanted:
    """A blob and all the local files that shall hold it."""

    digest: Digest
    size: int
    paths: tuple[Path, ...]


class Fetcher:
    """Fetches blobs for one job."""

    def __init__(self, lanes: Lanes, process_id: ProcessId, moved: Moved | None) -> None:
        self._lanes = lanes
        self._process_id = process_id
        self._moved = moved

    async def fetch(self, blobs: Iterable[Blob]) -> None:
        """Fetch *blobs*. Raises as :meth:`FileStore.get`."""
        wanted = _grouped(blobs)
        small = batches((each for each in wanted if each.size <= SMALL), lambda each: each.size, self._lanes.fetching)
        big = (partial(self._fetch_file, each) for each in wanted if each.size > SMALL)
        await together((partial(self._fetch_small, batch) for batch in small), WIDTH // 2)
        await together(big, BIG_AT_ONCE)

    async def fetch_bytes(self, digest: Digest, size: int) -> bytes:
        """A blob in memory, not verified. Raises as :meth:`FileStore.get`."""
        pieces = []
        for offset, length in chunks(0, size, self._lanes.fetching):
            pieces.append(bytes(await self._read(digest, size, offset, length)))
        return b"".join(pieces)

    async def _fetch_small(self, batch: Sequence[Wanted]) -> None:
        body = await self._small(batch)
        damaged = await asyncio.to_thread(_save_small, batch, body)
        self._count(len(body))
        for each in damaged:
            await self._examine(each.digest, each.size)
            body = await self._small([each])
            if await asyncio.to_thread(_save_small, [each], body):
                raise _damaged(each.digest)
            self._count(len(body))

    async def _small(self, batch: Sequence[Wanted]) -> Body:
        about = wire.AboutBlobs(self._process_id, tuple((each.digest, each.size) for each in batch))
        async with self._lanes.lane():
            return await self._lanes.fetch(wire.FETCH, about, sum(each.size for each in batch))

    async def _fetch_file(self, wanted: Wanted) -> None:
        if await self._fetch_chunks(wanted):
            return
        await self._examine(wanted.digest, wanted.size)
        if not await self._fetch_chunks(wanted):
            raise _damaged(wanted.digest)

    async def _fetch_chunks(self, wanted: Wanted) -> bool:
        """Fetch a big blob into all its files; False, and no file, if the bytes are not the right ones."""
        new = _beside(wanted.paths[0])
        hasher = Blake3Hasher()
        reading: deque[asyncio.Task[Body]] = deque()
        offset = 0
        try:
            for start, length in chunks(0, wanted.size, self._lanes.fetching):
                read = self._read(wanted.digest, wanted.size, start, length)
                reading.append(asyncio.ensure_future(read))
                if len(reading) >= WINDOW:
                    offset += await self._save(new, hasher, offset, await reading.popleft())
            while reading:
                offset += await self._save(new, hasher, offset, await reading.popleft())
            if offset != wanted.size or hasher.digest() != wanted.digest:
                return False
            await asyncio.to_thread(_place, new, wanted.paths)
            return True
        finally:
            await end(reading)
            remove(new)

    async def _save(self, new: Path, hasher: Blake3Hasher, offset: int, data: Body) -> int:
        await asyncio.to_thread(_write_and_hash, new, hasher, offset, data)
        self._count(len(data))
        return len(data)

    async def _read(self, digest: Digest, size: int, offset: int, length: int) -> Body:
        about = wire.AboutChunk(self._process_id, digest, size, offset, length)
        async with self._lanes.lane():
            return await self._lanes.fetch(wire.READ, about, length)

    async def _examine(self, digest: Digest, size: int) -> None:
        """Have the store look at a blob that arrived damaged.

        Raises:
            BlobDamaged: it is damaged there.
        """
        about = wire.AboutChunk(self._process_id, digest, size)
        answer = await self._lanes.ask(wire.DAMAGED, about, wire.Examined, extra=size / SLOWEST)
        if answer.damaged:
            raise _damaged(digest)

    def _count(self, size: int) -> None:
        if self._moved:
            self._moved(size)


def _grouped(blobs: Iterable[Blob]) -> list[Wanted]:
    places: dict[tuple[Digest, int], list[Path]] = {}
    for blob in blobs:
        places.setdefault((blob.digest, blob.size), []).append(blob.path)
    return [Wanted(digest, size, tuple(paths)) for (digest, size), paths in places.items()]


def _save_small(batch: Sequence[Wanted], body: Body) -> list[Wanted]:
    """Write those whose bytes are right to all their files; returns the others."""
    damaged = []
    data = memoryview(body)
    start = 0
    for each in batch:
        mine = data[start : start + each.size]
        start += each.size
        if digest_of(mine) != each.digest:
            damaged.append(each)
            continue
        for path in each.paths:
            new = _beside(path)
            with naming(path):
                write_new(new, mine)
            _place(new, (path,))
    return damaged


def _write_and_hash(new: Path, hasher: Blake3Hasher, offset: int, data: Body) -> None:
    with naming(new):
        if offset == 0:
            write_new(new, data)
        else:
            # Not created again: if this call was given up meanwhile, the file is gone and stays so.
            write_at(new, offset, data, create=False)
    hasher.update(data)


def _place(new: Path, paths: Sequence[Path]) -> None:
    """Rename *new* to the first of *paths*, copying it to the others before."""
    for path in paths[1:]:
        copy = _beside(path)
        with naming(path):
            try:
                shutil.copyfile(new, copy)
                copy.replace(path)
            except OSError:
                remove(copy)
                raise
    try:
        new.replace(paths[0])
    except OSError as error:
        remove(new)
        raise disk_error(error, paths[0]) from error


def _beside(path: Path) -> Path:
    return path.parent / f".{token()}.new"


def _damaged(digest: str) -> BlobDamaged:
    return BlobDamaged(
        f"The store's bytes of {digest} are damaged. Upload the files they come from again: that mends the store.",
        digest=digest,
    )
