"""Folders to the store and back: the one module to import for that.

Reading a folder is in tree_scan.py, writing one in tree_download.py, what is left out in ignore.py; here is what
happens between a folder that has been read and a store. Never here: which store it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import attrs

from discomputify_core.edge.ignore import JOB_MARK, Ignored
from discomputify_core.edge.tree_download import download
from discomputify_core.edge.tree_hash import LocalFile
from discomputify_core.edge.tree_scan import Scan, check_folders, check_program, collect, local_file, pick, scan
from discomputify_core.errors import BlobDamaged, BlobMissing, FileChanged
from discomputify_core.interfaces.files import Blob, FileStore, Moved
from discomputify_core.model.files import Digest, Entry
from discomputify_core.model.ids import ProcessId

__all__ = [
    "JOB_MARK",
    "Ignored",
    "LocalFile",
    "Plan",
    "Scan",
    "Uploaded",
    "check_folders",
    "check_program",
    "collect",
    "download",
    "local_file",
    "pick",
    "plan",
    "scan",
    "upload",
]

#: How many changed files an error names.
SHOWN = 10


@attrs.frozen
class Uploaded:
    """A tree that is in the store now, and what that took."""

    #: Of the tree's manifest.
    digest: Digest
    files: int
    bytes: int
    blobs_sent: int
    bytes_sent: int


@attrs.frozen
class Plan:
    """What an upload would do. A file whose bytes are in another new file too is new; its bytes travel once."""

    new: tuple[Entry, ...]
    known: tuple[Entry, ...]
    ignored: tuple[Ignored, ...]
    #: Bytes that would travel.
    new_bytes: int
    known_bytes: int


async def upload(
    scanned: Scan, store: FileStore, process_id: ProcessId, tree: str = "program", moved: Moved | None = None
) -> Uploaded:
    """Bring what was scanned into the store, sending only what it lacks, as *tree* of the job.

    Raises:
        FileChanged: files are not what they were when scanned (``fields["paths"]``). There is no tree then.
        DiskError, Unreachable, BlobMissing: as :meth:`FileStore.put` and :meth:`FileStore.commit`.
    """
    blobs = scanned.blobs
    missing = set(await store.missing(process_id, [(blob.digest, blob.size) for blob in blobs]))
    to_send = [blob for blob in blobs if blob.digest in missing]
    await _put(scanned, store, process_id, to_send, moved)
    await _check_unchanged(scanned)
    try:
        digest = await store.commit(process_id, tree, scanned.manifest)
    except BlobMissing as error:
        # Somebody removed blobs that the store had promised to keep: a restart of an hour ago, a damaged disk.
        lost = set(error.fields.get("digests", ()))
        again = [blob for blob in blobs if blob.digest in lost]
        if not again:
            raise
        to_send += again
        await _put(scanned, store, process_id, again, moved)
        digest = await store.commit(process_id, tree, scanned.manifest)
    size = scanned.manifest.size
    return Uploaded(digest, len(scanned.files), size, len(to_send), sum(blob.size for blob in to_send))


async def plan(scanned: Scan, store: FileStore | None, process_id: ProcessId) -> Plan:
    """What :func:`upload` would do; without a store everything is new. Raises as :meth:`FileStore.missing`."""
    blobs = {file.digest: file.size for file in scanned.files}
    missing = set(blobs) if store is None else set(await store.missing(process_id, list(blobs.items())))
    new = tuple(entry for entry in scanned.manifest.files if entry.digest in missing)
    known = tuple(entry for entry in scanned.manifest.files if entry.digest not in missing)
    travels = sum(size for digest, size in blobs.items() if digest in missing)
    return Plan(new, known, scanned.ignored, travels, sum(entry.size for entry in known))


async def _put(
    scanned: Scan, store: FileStore, process_id: ProcessId, blobs: Sequence[Blob], moved: Moved | None
) -> None:
    try:
        await store.put(process_id, blobs, moved)
    except BlobDamaged as error:
        digest = error.fields.get("digest")
        paths = [file.path for file in scanned.files if file.digest == digest]
        if not paths:
            raise
        raise _changed(paths) from error


async def _check_unchanged(scanned: Scan) -> None:
    changed = await asyncio.to_thread(lambda: [file.path for file in scanned.files if file.changed()])
    if changed:
        raise _changed(changed)


def _changed(paths: Iterable[str]) -> FileChanged:
    changed = list(paths)
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return FileChanged(
        f"Changed while being uploaded: {', '.join(changed[:SHOWN])}{more}. "
        "Nothing was submitted; try again when nothing writes there.",
        path=changed[0],
        paths=changed,
    )
