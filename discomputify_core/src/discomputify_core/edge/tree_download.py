"""A tree of the store as a folder of this machine, which appears whole or not at all."""

from __future__ import annotations

import asyncio
import logging
import shutil
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from discomputify_core.edge import clock
from discomputify_core.errors import BadPath, BlobDamaged, BlobMissing, DiskError
from discomputify_core.interfaces.files import Blob, FileStore, Moved
from discomputify_core.model.files import Digest, Manifest
from discomputify_core.model.ids import ProcessId

log = logging.getLogger("discomputify.store")

#: Seconds for which a blob that the store has lost may be brought by whoever has it: computing nodes look twice a
#: minute. And seconds between two looks whether it was.
MENDING, PAUSE = 45.0, 1.0


async def download(
    store: FileStore, process_id: ProcessId, manifest: Manifest, folder: Path, moved: Moved | None = None
) -> None:
    """Write *manifest*'s tree as *folder*, in place of what is there.

    Everything is fetched into a hidden folder beside it first, then renamed. The folders above are made. What the store
    has lost and wants again is waited for, for a while: somebody may bring it.

    Raises:
        DiskError: the disk is full or may not be written; nothing is left behind.
        BadPath: two names of the tree are one name on this machine.
        StoreError, TheirFault: as :meth:`FileStore.get`.
    """
    new = folder.parent / f".{folder.name[:80]}.{clock.token()}.new"
    try:
        await asyncio.to_thread(_prepare, new, manifest)
        blobs = [Blob(Digest(entry.digest), entry.size, new / entry.path) for entry in manifest.files]
        await _get(store, process_id, blobs, moved)
        await asyncio.to_thread(_finish, new, manifest, folder)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, new, ignore_errors=True))


async def _get(store: FileStore, process_id: ProcessId, blobs: Sequence[Blob], moved: Moved | None) -> None:
    deadline = clock.now() + MENDING
    while True:
        try:
            return await store.get(process_id, blobs, moved)
        except (BlobMissing, BlobDamaged) as error:
            if not await _brought_again(store, error, deadline):
                raise
        # A file that is there is whole; what is lacking is asked for again.
        blobs = await asyncio.to_thread(_lacking, blobs)


def _lacking(blobs: Sequence[Blob]) -> list[Blob]:
    return [blob for blob in blobs if not blob.path.exists()]


async def _brought_again(store: FileStore, error: BlobMissing | BlobDamaged, deadline: float) -> bool:
    """Wait until the store has what it lost; False if it does not look for it, or nobody brings it in time."""
    lacking = {*error.fields.get("digests", ()), error.fields.get("digest")}
    wanted = lacking.intersection(await store.wanted())
    if wanted:
        log.warning("the store has lost %d files and asks computing nodes for them: %s", len(wanted), error)
    asked = bool(wanted)
    while wanted and clock.now() < deadline:
        await asyncio.sleep(clock.jittered(PAUSE))
        wanted = lacking.intersection(await store.wanted())
    return asked and not wanted


def _prepare(new: Path, manifest: Manifest) -> None:
    """Make *new* with all folders of the tree."""
    try:
        new.mkdir(parents=True)
        if new.with_name(new.name.swapcase()).exists():
            _check_case(manifest)
        folders = {new / (entry.path if entry.folder else entry.path.rpartition("/")[0]) for entry in manifest.entries}
        for folder in sorted(folders):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _disk_error(error, new) from error


def _check_case(manifest: Manifest) -> None:
    """Refuse trees with names that this machine cannot tell apart."""
    seen: dict[str, str] = {}
    for entry in manifest.entries:
        folded = unicodedata.normalize("NFC", entry.path).casefold()
        other = seen.setdefault(folded, entry.path)
        if other != entry.path:
            raise BadPath(
                f"{other!r} and {entry.path!r} are one name on this machine, which ignores capitals.",
                path=entry.path,
            )


def _finish(new: Path, manifest: Manifest, folder: Path) -> None:
    """Set modes and rename *new* to *folder*."""
    old = folder.parent / f"{new.name}.old"
    try:
        for entry in manifest.files:
            if entry.executable:
                path = new / entry.path
                mode = path.stat().st_mode
                path.chmod(mode | (mode & 0o444) >> 2)  # whoever may read it may run it
        replaced = _move_away(folder, old)
        try:
            new.rename(folder)
        except OSError:
            if replaced:
                old.rename(folder)
            raise
    except OSError as error:
        raise _disk_error(error, folder) from error
    if replaced:
        _remove(old)


def _move_away(folder: Path, old: Path) -> bool:
    try:
        folder.rename(old)
    except FileNotFoundError:
        return False
    return True


def _remove(old: Path) -> None:
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        with suppress(OSError):
            old.unlink()


def _disk_error(error: OSError, path: Path) -> DiskError:
    return DiskError(
        f"{path} cannot be written: {error.strerror}. Free space there, or choose another folder.", path=str(path)
    )
