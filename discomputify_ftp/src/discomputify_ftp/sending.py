"""Blobs from local files to the store: many small ones per message, big ones in chunks that resume.

Here: what :meth:`FtpStore.put` does. Not here: the service's side (keeper.py, arrivals.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from discomputify_core.errors import BlobDamaged
from discomputify_core.interfaces.files import Blob, Moved
from discomputify_core.model.codec import from_plain
from discomputify_core.model.files import Digest
from discomputify_core.model.ids import ProcessId
from discomputify_ftp import wire
from discomputify_ftp.chunks import SMALL, batches, chunks
from discomputify_ftp.disk import digest_file, disk_error, read_at
from discomputify_ftp.lanes import SLOWEST, WIDTH, WINDOW, Lanes
from discomputify_ftp.together import together

#: Big blobs sent at once.
BIG_AT_ONCE = 2

#: (offset, length) -> those bytes.
Source = Callable[[int, int], bytes]


class Sender:
    """Sends blobs of one job."""

    def __init__(self, lanes: Lanes, process_id: ProcessId, moved: Moved | None) -> None:
        self._lanes = lanes
        self._process_id = process_id
        self._moved = moved

    async def send(self, blobs: Iterable[Blob]) -> None:
        """Send *blobs*, each digest once. Raises as :meth:`FileStore.put`."""
        work = list(blobs)
        small = batches((blob for blob in work if blob.size <= SMALL), lambda blob: blob.size, self._lanes.sending)
        big = (partial(self._send_file, blob) for blob in work if blob.size > SMALL)
        await together((partial(self._send_small, batch) for batch in small), WIDTH // 2)
        await together(big, BIG_AT_ONCE)

    async def send_bytes(self, digest: Digest, data: bytes) -> None:
        """Send *data* as a blob, in chunks. Raises as :meth:`FileStore.put`."""
        await self._send_chunks(digest, len(data), lambda offset, length: data[offset : offset + length])

    async def _send_small(self, batch: Sequence[Blob]) -> None:
        about = wire.AboutBlobs(self._process_id, tuple((blob.digest, blob.size) for blob in batch))
        async with self._lanes.lane():
            body = await asyncio.to_thread(_read_whole, batch)
            try:
                await self._lanes.send(wire.PUT, about, body)
            except BlobDamaged as error:
                raise _changed(error, batch) from error
        self._count(len(body))

    async def _send_file(self, blob: Blob) -> None:
        source = partial(_read_part, blob)
        try:
            await self._send_chunks(blob.digest, blob.size, source)
        except BlobDamaged as error:
            # Another sender may have spoilt what we continued. If our file is right, the second try starts afresh.
            if not await asyncio.to_thread(_intact, blob):
                raise _changed(error, [blob]) from error
            await self._send_chunks(blob.digest, blob.size, source)

    async def _send_chunks(self, digest: Digest, size: int, source: Source) -> None:
        about = wire.AboutChunk(self._process_id, digest, size)
        far = await self._lanes.ask(wire.FAR, about, wire.Held, extra=size / SLOWEST)
        held = far.held

        async def send(offset: int, length: int) -> None:
            nonlocal held
            if offset + length <= held:
                return  # somebody else sends the same blob and was quicker
            async with self._lanes.lane():
                data = await asyncio.to_thread(source, offset, length)
                reply = await self._lanes.send(
                    wire.APPEND, wire.AboutChunk(self._process_id, digest, size, offset), data
                )
            held = max(held, from_plain(reply, wire.Held).held)
            self._count(length)

        pieces = chunks(far.held, size, self._lanes.sending)
        await together((partial(send, offset, length) for offset, length in pieces), WINDOW)

    def _count(self, size: int) -> None:
        if self._moved:
            self._moved(size)


def _read_part(blob: Blob, offset: int, length: int) -> bytes:
    last = offset + length == blob.size
    try:
        # One byte more at the end, to notice a file that grew.
        data = read_at(blob.path, offset, length + last)
    except FileNotFoundError as error:
        raise _gone(blob) from error
    except OSError as error:
        raise disk_error(error, blob.path) from error
    if len(data) != length:
        raise BlobDamaged(
            f"{blob.path} has not the {blob.size:,} bytes any more that it had: it changed.",
            digest=blob.digest,
            path=str(blob.path),
        )
    return data


def _read_whole(batch: Sequence[Blob]) -> bytes:
    return b"".join(_read_part(blob, 0, blob.size) for blob in batch)


def _intact(blob: Blob) -> bool:
    try:
        return digest_file(blob.path) == blob.digest
    except FileNotFoundError:
        return False
    except OSError as error:
        raise disk_error(error, blob.path) from error


def _gone(blob: Blob) -> BlobDamaged:
    return BlobDamaged(f"{blob.path} is gone.", digest=blob.digest, path=str(blob.path))


def _changed(error: BlobDamaged, blobs: Sequence[Blob]) -> BlobDamaged:
    """*error* of the store with the local file named."""
    for blob in blobs:
        if blob.digest == error.fields.get("digest") and "path" not in error.fields:
            text = f"{blob.path} does not hold the bytes it held before: it changed."
            return BlobDamaged(text, **{**error.fields, "path": str(blob.path)})
    return error
