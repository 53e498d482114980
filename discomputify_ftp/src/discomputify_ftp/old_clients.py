"""The operations of old clients (CYPHER/1) on files, as one table, and how what they wrote becomes a tree of a job.

Here: which request means what, and the answer to one that is refused. Not here: what a request says (old_requests.py),
files (old_files.py), what is shown (old_views.py), the wire format (the transport's).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

import attrs

from discomputify_core.errors import BadInput, DiscomputifyError, DiskError, FileChanged, OurBug, Refused, StoreFull
from discomputify_core.interfaces.calls import Asked, Reply
from discomputify_core.interfaces.files import SHOWN, UPLOADED
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.conf import Conf
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.old_clients import MISSED, OLD_CLIENT, OldAnswer, OldRequest
from discomputify_ftp import wire
from discomputify_ftp.blobs import Blobs
from discomputify_ftp.disk import WHOSE, hash_file, naming
from discomputify_ftp.keeper import Keeper
from discomputify_ftp.old_files import OldFiles
from discomputify_ftp.old_requests import (
    ALL,
    Chunk,
    asked_job,
    clean_path,
    read_chunk,
    read_offset,
    shown_name,
    top_of,
)
from discomputify_ftp.old_tree import Kind, gone
from discomputify_ftp.old_views import Everything, Manifests, ShownTree, View
from discomputify_ftp.refs import Ref
from discomputify_ftp.room import Room

log = logging.getLogger("discomputify.ftp")

T = TypeVar("T")

DONE, NONE, DO_NOT_EXIST = "DONE", "NONE", "DO NOT EXIST"
#: Seconds between two lines in the log about writes that failed: an old client goes on with the next chunk at once.
BETWEEN_WARNINGS = 60.0


class InThread(Protocol):
    """Runs a blocking function in a thread of the service."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """What *work* returns."""


@attrs.frozen
class _Known:
    """An operation: what does it, and the DATA of the answer where it is refused."""

    handler: Callable[[OldRequest], Awaitable[OldAnswer]]
    refused: Callable[[OldRequest], Any]


class OldClients:
    """Serves old clients.

    Args:
        trees: held while trees of jobs are looked up or change, as by everybody else in the service.
    """

    def __init__(
        self, conf: Conf, room: Room, blobs: Blobs, keeper: Keeper, trees: asyncio.Lock, in_thread: InThread
    ) -> None:
        self._conf = conf
        self._room = room
        self._blobs = blobs
        self._keeper = keeper
        self._trees = trees
        self._in_thread = in_thread
        self._files = OldFiles(blobs)
        self._manifests = Manifests(keeper)
        self._warned_at = -BETWEEN_WARNINGS
        self._table: Mapping[str, _Known] = {
            "READ": _Known(self._read, lambda _: NONE),
            "WRITE": _Known(self._write, lambda _: NONE),
            "LISTITEMS": _Known(self._list_items, lambda _: None),
            "DELETE": _Known(self._delete, lambda _: DO_NOT_EXIST),
            "GET_FILE_NAMES": _Known(self._get_file_names, partial(_no_names, "FILES")),
            "GET_DIR_NAMES": _Known(self._get_dir_names, partial(_no_names, "DIRECTORIES")),
            MISSED: _Known(self._missed, lambda _: NONE),
        }

    async def answer(self, asked: Asked) -> Reply:
        """Answer a request of an old client.

        Raises:
            Refused: the peer is not an old client.
            BadInput: there is no such operation.
        """
        if asked.peer.role != OLD_CLIENT:
            raise Refused(f"Only old clients (CYPHER/1) may ask this, and {asked.address} is none.")
        request = from_plain(asked.data, OldRequest)
        known = self._table.get(request.operation)
        if known is None:
            names = ", ".join(name for name in self._table if name != MISSED)
            raise BadInput(f"{request.operation[:40]!r} is no operation of files. Those are {names}.")
        try:
            answer = await known.handler(request)
        except OurBug:
            raise
        except DiscomputifyError as error:
            self._say(asked.address, request, error)
            answer = OldAnswer(known.refused(request), {"ERROR": str(error)})
        return Reply(to_plain(answer))

    def _say(self, address: str, request: OldRequest, error: DiscomputifyError) -> None:
        # Old clients do not tell their users about a chunk that was refused: the log is where it can be found.
        now = time.monotonic()
        level = logging.DEBUG
        worth = request.operation == "WRITE" or isinstance(error, (DiskError, StoreFull))
        if worth and now - self._warned_at >= BETWEEN_WARNINGS:
            self._warned_at, level = now, logging.WARNING
        log.log(level, "%s: %s was refused: %s", address, request.operation, error)

    # --- operations -------------------------------------------------------------------------------

    async def _read(self, request: OldRequest) -> OldAnswer:
        path, offset = clean_path(request.path), read_offset(request)
        view = await self._view(path)
        return await self._in_thread(lambda: self._read_in(view, path, offset))

    def _read_in(self, view: View, path: str, offset: int | None) -> OldAnswer:
        kind = view.kind(path)
        if kind is Kind.FOLDER:
            return OldAnswer(view.files(path))
        if kind is not Kind.FILE:
            raise gone(path)
        if offset is None:
            return OldAnswer([path])
        data, size = view.read(path, offset, self._conf.transmission_chunk_size)
        return OldAnswer(data.hex(), {"FILESIZE": size, "DOWNLOADED": min(offset + len(data), size)})

    async def _write(self, request: OldRequest) -> OldAnswer:
        path = clean_path(request.path)
        if await self._shown(path) is not None:
            raise BadInput(f"{top_of(path)!r} holds outputs of a job, which are read and deleted, but not written.")
        await self._in_thread(lambda: self._write_chunk(path, read_chunk(request)))
        return OldAnswer(DONE)

    def _write_chunk(self, path: str, chunk: Chunk) -> None:
        try:
            self._room.check(len(chunk.data), reserve=False)
        except StoreFull:
            self._files.miss(path, chunk)
            raise
        self._files.write(path, chunk)

    async def _missed(self, request: OldRequest) -> OldAnswer:
        match request.data:
            case ["WRITE", data]:
                chunk = read_chunk(attrs.evolve(request, data=data))
                await self._in_thread(lambda: self._files.miss(clean_path(request.path), chunk))
        return OldAnswer(NONE)

    async def _list_items(self, request: OldRequest) -> OldAnswer:
        path = clean_path(request.path)
        view = await self._view(path)
        return await self._in_thread(lambda: _names_in(view, path))

    async def _delete(self, request: OldRequest) -> OldAnswer:
        path = clean_path(request.path)
        if path == ALL:
            raise BadInput("Everything at once cannot be deleted. Delete one folder after the other.")
        deleted = False
        about = shown_name(top_of(path))
        if about is not None:
            async with self._trees:
                if await self._in_thread(lambda: self._keeper.shown(top_of(path))) is not None:
                    if path != top_of(path):
                        raise BadInput(f"{top_of(path)!r} holds outputs of a job, which are deleted all at once.")
                    deleted = await self._in_thread(lambda: self._keeper.remove(about.process_id, SHOWN + path))
        if not await self._in_thread(lambda: self._files.remove(path)) and not deleted:
            raise gone(path)
        return OldAnswer(DONE)

    async def _get_file_names(self, request: OldRequest) -> OldAnswer:
        job = asked_job(request)
        hidden = (self._conf.input_path, self._conf.output_path)
        names = await self._in_thread(lambda: self._written_in(job))
        return OldAnswer({**request.data, "FILES": [name for name in names if name not in hidden]})

    def _written_in(self, folder: str) -> list[str]:
        tree = self._files.tree
        return tree.names(folder) if tree.kind(folder) is Kind.FOLDER else []

    async def _get_dir_names(self, request: OldRequest) -> OldAnswer:
        job = asked_job(request)
        async with self._trees:
            shown = await self._in_thread(lambda: self._keeper.shown_of(job))
        written = await self._in_thread(lambda: self._written_tops(f"{job}_"))
        names = list(shown) + [name for name in written if name not in shown]
        return OldAnswer({**request.data, "DIRECTORIES": names})

    def _written_tops(self, start: str) -> list[str]:
        tree = self._files.tree
        return [name for name in tree.names(ALL) if name.startswith(start) and tree.kind(name) is Kind.FOLDER]

    # --- what they see ----------------------------------------------------------------------------

    async def _shown(self, path: str) -> Ref | None:
        top = top_of(path)
        if shown_name(top) is None:
            return None
        async with self._trees:
            return await self._in_thread(lambda: self._keeper.shown(top))

    async def _view(self, path: str) -> View:
        if path == ALL:
            async with self._trees:
                refs = await self._in_thread(self._keeper.all_shown)
            return Everything(self._files.tree, {name: self._tree(name, ref) for name, ref in refs.items()})
        ref = await self._shown(path)
        return self._files.tree if ref is None else self._tree(top_of(path), ref)

    def _tree(self, name: str, ref: Ref) -> ShownTree:
        return ShownTree(name, ref, self._manifests, self._blobs)

    # --- what they wrote --------------------------------------------------------------------------

    async def gather(self, asked: Asked) -> Reply:
        """Make what was written for a job its tree :data:`UPLOADED`. What was written stays.

        Raises:
            NoSuchTree: nothing was.
            BadInput: a file is incomplete, or changes meanwhile; names it.
        """
        job = from_plain(asked.data, wire.AboutTree).process_id
        paths = await self._in_thread(lambda: self._files.complete(job))
        # File by file, so that a big program does not keep a thread of the service, nor its closing, waiting.
        entries = [await self._in_thread(partial(self._keep, job, path)) for path in paths]
        about, ready = await self._in_thread(lambda: self._keep_manifest(job, entries))
        async with self._trees:
            await self._in_thread(lambda: self._keeper.commit(about, ready))
        log.debug("%s: %d files of old clients are the tree %r of %s", asked.address, len(paths), UPLOADED, job)
        return Reply(to_plain(wire.Found(about.digest)))

    def _keep(self, job: ProcessId, path: str) -> Entry:
        place = self._files.tree.place(path)
        with naming(place, WHOSE):
            try:
                hasher, size = hash_file(place)
                digest = hasher.digest()
                # First promised, then looked for: see Pins.guarded.
                self._keeper.promise(job, [digest])
                kept = self._blobs.has(digest, size) or self._blobs.add_copy(digest, place)
            except FileNotFoundError:
                kept = False
        if not kept:
            raise FileChanged(
                f"{path!r} is being changed or deleted. Start the job once its upload has ended.", path=path
            )
        return Entry(path.partition("/")[2], size, digest)

    def _keep_manifest(self, job: ProcessId, entries: list[Entry]) -> tuple[wire.AboutTree, Manifest]:
        packed, digest = wire.packed_digest(Manifest(entries))
        about = wire.AboutTree(job, UPLOADED, digest, len(packed))
        return about, self._keeper.receive_manifest(about, memoryview(packed))

    async def clear(self, process_id: str) -> None:
        """Remove what was written for a job."""
        await self._in_thread(lambda: self._files.clear(process_id))

    async def tidy(self) -> None:
        """Remove what has been incomplete for long."""
        for part in await self._in_thread(self._files.forget_old):
            log.warning("%s since more than a day: removed", part)


def _names_in(view: View, path: str) -> OldAnswer:
    kind = view.kind(path)
    if kind is Kind.FILE:
        raise BadInput(f"{path!r} is a file; only a folder has names in it.")
    if kind is not Kind.FOLDER:
        raise gone(path)
    return OldAnswer(view.names(path))


def _no_names(key: str, request: OldRequest) -> Any:
    """The answer to a query that is refused: no names, in the shape that its asker takes apart."""
    return {**request.data, key: []} if isinstance(request.data, Mapping) else NONE
