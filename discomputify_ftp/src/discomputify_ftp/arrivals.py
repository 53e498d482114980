"""Big blobs that arrive in chunks: in order, each byte once, resumed after a cut connection or a restart.

A blob grows in ``incoming/``, its length being how far it has come; it is hashed as it grows and becomes a blob
when whole and right. Chunks may arrive in any order and more than once: one that is early waits for those before
it, what is already there is not written again. Several senders of one blob help each other.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import attrs

from discomputify_core.errors import DiscomputifyError, PeerBroke
from discomputify_ftp import layout
from discomputify_ftp.blobs import Blobs, wrong_bytes
from discomputify_ftp.disk import BLOB_MODE, WHOSE, disk_error, hash_file, naming, remove, write_at
from discomputify_ftp.hashing import Blake3Hasher
from discomputify_ftp.room import Room

T = TypeVar("T")
#: Runs a blocking function in a thread of the service.
InThread = Callable[[Callable[[], T]], Awaitable[T]]

#: Seconds that an early chunk waits for any progress of those before it.
PATIENCE = 30.0
#: Seconds after which an arrival that nobody continues is forgotten (its file stays).
IDLE = 600.0


@attrs.define(eq=False)
class _Arrival:
    """A blob that grows. ``lock`` guards file, hasher and ``held``; the rest belongs to the event loop."""

    digest: str
    size: int
    path: Path
    loop: asyncio.AbstractEventLoop
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    hasher: Blake3Hasher = attrs.field(factory=Blake3Hasher)
    #: -1 until somebody has looked.
    held: int = -1
    failure: DiscomputifyError | None = None
    moved: asyncio.Event = attrs.field(factory=asyncio.Event)
    users: int = 0
    used_at: float = 0.0

    @property
    def over(self) -> bool:
        """Whether it failed or became a blob; nobody touches its file any more then."""
        return self.failure is not None or self.held >= self.size

    def wake(self) -> None:
        before, self.moved = self.moved, asyncio.Event()
        before.set()


class Arrivals:
    """All blobs that are arriving. *reserve* says that the sender may use the store's reserve."""

    def __init__(self, blobs: Blobs, room: Room, in_thread: InThread[int]) -> None:
        self._blobs = blobs
        self._room = room
        self._in_thread = in_thread
        self._arriving: dict[tuple[str, int], _Arrival] = {}

    async def far(self, digest: str, size: int, reserve: bool = True) -> int:
        """How many bytes of a blob have arrived; *size* if it is held.

        Raises:
            StoreFull: the rest will not fit on the disk.
        """
        held = await self._use(digest, size, self._load)
        if held < size:
            await self._in_thread(lambda: self._check_room(size - held, reserve))
        return held

    async def append(
        self, digest: str, size: int, offset: int, data: bytes | bytearray | memoryview, reserve: bool = True
    ) -> int:
        """Add a chunk; returns how far the blob has arrived, *size* once it is held.

        Raises:
            BlobDamaged: that was the last chunk, and the whole has another digest. It is thrown away.
            StoreFull, DiskError: it cannot be written. It is thrown away, so that the disk is not kept full.
            PeerBroke: the chunks before this one do not come, or it lies outside the blob.
        """
        if not data or offset + len(data) > size:
            raise PeerBroke(f"A chunk of {digest} lies outside the blob's {size} bytes.", clause="store.append")
        return await self._use(digest, size, lambda arrival: self._write(arrival, offset, data, reserve), offset)

    async def _use(self, digest: str, size: int, action: Callable[[_Arrival], int], offset: int = 0) -> int:
        arrival = self._arriving.get((digest, size))
        if arrival is None:
            if await self._in_thread(lambda: size if self._blobs.has(digest, size) else 0):
                return size
            path = self._blobs.base / layout.part_file(digest, size)
            fresh = _Arrival(digest, size, path, asyncio.get_running_loop())
            arrival = self._arriving.setdefault((digest, size), fresh)
        arrival.users += 1
        try:
            if arrival.held < 0:
                await self._in_thread(lambda: self._load(arrival))
            await self._in_turn(arrival, offset)
            return await self._in_thread(lambda: action(arrival))
        finally:
            arrival.users -= 1
            arrival.used_at = time.monotonic()
            # A thread may still write for a request that was given up: then forget_idle() has another look.
            nothing = not arrival.users and arrival.held <= 0 and not arrival.lock.locked()
            if (arrival.over or nothing) and self._arriving.get((digest, size)) is arrival:
                del self._arriving[digest, size]

    async def _in_turn(self, arrival: _Arrival, offset: int) -> None:
        while arrival.held < offset and not arrival.over:
            moved = arrival.moved
            try:
                await asyncio.wait_for(moved.wait(), PATIENCE)
            except asyncio.TimeoutError:
                raise PeerBroke(
                    f"A chunk of {arrival.digest} at {offset} came, but nothing after {arrival.held} before it.",
                    clause="store.append",
                ) from None

    def _load(self, arrival: _Arrival) -> int:
        """Look how far the blob came before this service started."""
        if arrival.held >= 0:
            return arrival.held
        with arrival.lock:
            if arrival.failure is not None:
                raise arrival.failure
            if arrival.held < 0:
                try:
                    arrival.hasher, held = hash_file(arrival.path, arrival.size)
                except FileNotFoundError:
                    held = 0
                except OSError as error:
                    raise disk_error(error, arrival.path, WHOSE) from error
                if held == arrival.size:
                    self._finish(arrival)
                arrival.held = held
            return arrival.held

    def _write(self, arrival: _Arrival, offset: int, data: bytes | bytearray | memoryview, reserve: bool) -> int:
        # All in one go under the lock, in the thread: a request that is cancelled meanwhile leaves nothing half done.
        try:
            with arrival.lock:
                if arrival.failure is not None:
                    raise arrival.failure
                fresh = memoryview(data)[arrival.held - offset :]
                if len(fresh):
                    self._grow(arrival, fresh, reserve)
                return arrival.held
        finally:
            arrival.loop.call_soon_threadsafe(arrival.wake)

    def _grow(self, arrival: _Arrival, fresh: memoryview, reserve: bool) -> None:
        try:
            self._room.check(len(fresh), reserve)
            with naming(arrival.path, WHOSE):
                write_at(arrival.path, arrival.held, fresh, create=True)
        except DiscomputifyError as error:
            remove(arrival.path)
            arrival.failure = error
            raise
        arrival.hasher.update(fresh)
        if arrival.held + len(fresh) == arrival.size:
            self._finish(arrival)
        arrival.held += len(fresh)

    def _finish(self, arrival: _Arrival) -> None:
        actual = arrival.hasher.digest()
        try:
            if actual != arrival.digest:
                remove(arrival.path)
                raise wrong_bytes(arrival.digest, actual)
            try:
                arrival.path.chmod(BLOB_MODE)
            except OSError as error:
                raise disk_error(error, arrival.path, WHOSE) from error
            self._blobs.adopt(arrival.digest, arrival.path)
        except DiscomputifyError as error:
            arrival.failure = error
            raise

    def _check_room(self, wanted: int, reserve: bool) -> int:
        """*wanted*, if so many bytes fit.

        Raises:
            StoreFull: they do not.
        """
        self._room.check(wanted, reserve)
        return wanted

    def forget_idle(self) -> None:
        """Free the memory of arrivals that nobody continues."""
        now = time.monotonic()
        for key, arrival in list(self._arriving.items()):
            if not arrival.users and not arrival.lock.locked() and now - arrival.used_at > IDLE:
                del self._arriving[key]
