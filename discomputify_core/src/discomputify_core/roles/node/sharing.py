"""Large blobs from other computing nodes, and to them, so that the store's link is not the limit.

Only where SHARE in the conf says so: nodes need no open port otherwise. The store says who has what; bytes are believed
by their digest alone, and whatever goes wrong, the store has them. Not here: which blobs are needed (cache.py), who is
sent to whom (the store).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from discomputify_core.edge import clock
from discomputify_core.edge.calls import Link, Peer
from discomputify_core.edge.connect import Connection
from discomputify_core.edge.serving import Server
from discomputify_core.errors import BadConf, BlobMissing, DiscomputifyError
from discomputify_core.interfaces.calls import Asked, Operation, Reply
from discomputify_core.interfaces.files import Blob, FileStore, Hasher, Moved
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.conf import Conf
from discomputify_core.model.files import check_digest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.message import MAX_BODY
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.disk import naming

log = logging.getLogger("discomputify.node")

#: Blobs from this many bytes on are shared: smaller ones travel many at a time, from the store.
LARGE = 1024 * 1024
#: Blobs fetched at once, and pieces of one under way at once.
AT_ONCE, WINDOW = 2, 4
#: Sources that are tried for one blob before the store is.
TRIES = 3
#: Seconds to reach a node, for a piece, and for which busy sources are waited for before the store is asked.
REACH, PIECE, PATIENCE = 2.0, 30.0, 60.0
#: Pieces that are read for others at once.
READERS = 4
#: Addresses at which nobody can be reached from another machine.
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - these are refused here
OPERATION = "node.piece"


@attrs.frozen
class Piece:
    """The data of the request for a piece of a blob."""

    digest: str
    size: int = attrs.field(validator=attrs.validators.ge(0))
    offset: int = attrs.field(validator=attrs.validators.ge(0))
    length: int = attrs.field(validator=[attrs.validators.ge(0), attrs.validators.le(MAX_BODY)])


def address_of(conf: Conf) -> Address:
    """Where this node shares its blobs.

    Raises:
        BadConf: the conf does not say it.
    """
    if not conf.comp_node or conf.comp_node in ANYWHERE:
        raise BadConf(
            "SHARE is on, but COMP_NODE does not say at which address this computing node can be reached by others. "
            "Set COMP_NODE to this machine's address, or SHARE to false."
        )
    return Address(conf.comp_node, conf.computing_port)


class NotThere(DiscomputifyError):
    """A blob did not come from another node; the store has it."""


class Sharing:
    """One node's side of it: serves what its cache holds, and fetches from others.

    Args:
        connection: this node's ways to the cluster.
        cache: what it serves.
        hasher: makes hashers of the store's algorithm.
    """

    def __init__(self, connection: Connection, cache: BlobCache, hasher: Callable[[], Hasher]) -> None:
        self._connection = connection
        self._cache = cache
        self._hasher = hasher
        self._chunk = min(int(connection.conf.recv_chunk_size), MAX_BODY)
        self._address = address_of(connection.conf)
        self._reading = asyncio.Semaphore(READERS)
        self._server = Server(connection.transport, connection.hello, {OPERATION: Operation(self._piece)})
        #: Bytes that came from other nodes, and went to them.
        self.taken = self.given = 0

    async def open(self) -> None:
        """Serve others from now on.

        Raises:
            AddressInUse: something else listens at COMP_NODE:COMPUTING_PORT.
        """
        await self._server.open((self._address,))

    async def close(self) -> None:
        """Serve nobody any more."""
        await self._server.close()

    # --- to others ------------------------------------------------------------------------------------

    async def _piece(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, Piece)
        async with self._reading:
            data = await asyncio.to_thread(self._read, about)
        self.given += len(data)
        return Reply(None, data)

    def _read(self, about: Piece) -> bytes:
        digest, owner = check_digest(about.digest), object()
        try:
            lent = self._cache.lend(owner, self._hasher, [digest])
            blob = next((blob for blobs in lent.values() for blob in blobs if blob.size == about.size), None)
            if blob is None:
                raise BlobMissing(f"This node has the blob {digest} no more.", digests=[digest])
            with naming(blob.path), blob.path.open("rb") as file:
                file.seek(about.offset)
                return file.read(about.length)
        finally:
            self._cache.unpin(owner)

    # --- from others ----------------------------------------------------------------------------------

    async def fetch(
        self, store: FileStore, process_id: ProcessId, blobs: Sequence[Blob], moved: Moved | None
    ) -> list[Blob]:
        """Fetch large ones of *blobs* from other nodes; returns those that the store is to be asked for.

        Files appear complete and verified or not at all, as from the store.

        Raises:
            DiskError: a file cannot be written.
        """
        rest = [blob for blob in blobs if blob.size < LARGE]
        waiting = deque(blob for blob in blobs if blob.size >= LARGE)

        async def work() -> None:
            while waiting:
                blob = waiting.popleft()
                if not await self._from_others(store, process_id, blob, moved):
                    rest.append(blob)

        working = [asyncio.ensure_future(work()) for _ in range(min(AT_ONCE, len(waiting)))]
        try:
            await asyncio.gather(*working)
        finally:
            await _ended(working)
        return rest

    async def have(self, store: FileStore, process_id: ProcessId, blobs: Sequence[Blob]) -> None:
        """Tell the store that this node shares *blobs* now, which it has just got."""
        large = [blob.digest for blob in blobs if blob.size >= LARGE]
        try:
            for first in range(0, len(large), 1000):
                await store.shares(process_id, large[first : first + 1000], str(self._address))
        except DiscomputifyError as error:  # others fetch them elsewhere
            log.debug("the store was not told what this node shares: %s", error)

    async def _from_others(self, store: FileStore, process_id: ProcessId, blob: Blob, moved: Moved | None) -> bool:
        failed, tries, until = "", 0, clock.now() + PATIENCE
        while tries < TRIES:
            try:
                source = await store.source(process_id, blob.digest, blob.size, str(self._address), failed)
            except DiscomputifyError as error:
                log.debug("the store does not say who shares %s: %s", blob.digest, error)
                return False
            if source.wait > 0:
                if clock.now() > until:
                    return False
                await asyncio.sleep(clock.jittered(min(source.wait, PATIENCE)))
                continue
            if not source.address:
                return False
            try:
                await self._fetch(_address(source.address), blob, moved)
            except NotThere as error:
                log.info("%s did not come from the node at %s: %s", blob.digest, source.address, error)
                failed, tries = source.address, tries + 1
            else:
                log.info("%s came from the node at %s", blob.digest, source.address)
                return True
        return False

    async def _fetch(self, address: Address, blob: Blob, moved: Moved | None) -> None:
        link = Link(self._connection.transport, address, "computing_node", self._connection.hello)
        new = blob.path.parent / f".{clock.token()}.new"
        hasher, arrived = self._hasher(), 0
        under_way: deque[asyncio.Task[Reply]] = deque()
        starts = iter(range(0, blob.size, self._chunk))
        try:
            peer = await _reached(link)
            with naming(new):
                file = await asyncio.to_thread(new.open, "xb")
            with file:
                while True:
                    while len(under_way) < WINDOW and (start := next(starts, None)) is not None:
                        piece = Piece(blob.digest, blob.size, start, min(self._chunk, blob.size - start))
                        under_way.append(asyncio.ensure_future(_ask(peer, piece)))
                    if not under_way:
                        break
                    body = (await under_way.popleft()).body
                    await asyncio.to_thread(_write, file, new, body, hasher)
                    arrived += len(body)
            if arrived != blob.size or hasher.digest() != blob.digest:
                raise NotThere(f"it gave other bytes than those of {blob.digest}")
            with naming(blob.path):
                new.replace(blob.path)
            self.taken += arrived
            if moved:
                moved(arrived)
        finally:
            await _ended(under_way)
            await link.close()
            new.unlink(missing_ok=True)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise NotThere(f"{text!r} is no address")
    return Address(host.strip("[]"), int(port))


async def _reached(link: Link) -> Peer:
    try:
        return await link.connect(REACH)
    except DiscomputifyError as error:
        raise NotThere(str(error)) from error


async def _ask(peer: Peer, piece: Piece) -> Reply:
    # Over this one connection: a node that went away is not waited for.
    try:
        return await peer.call(OPERATION, to_plain(piece), timeout=PIECE)
    except DiscomputifyError as error:
        raise NotThere(str(error)) from error


def _write(file: BinaryIO, path: Path, data: bytes | bytearray | memoryview, hasher: Hasher) -> None:
    hasher.update(data)
    with naming(path):
        file.write(data)


async def _ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel *tasks* and wait until they are over; what they failed with was told already, or is of no interest."""
    each = list(tasks)
    for task in each:
        task.cancel()
    await asyncio.gather(*each, return_exceptions=True)
