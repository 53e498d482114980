"""Small pieces for using local disks: errors in words, one owner per folder, copies that share blocks if they can."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from discomputify_core.errors import BadConf, DiskError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "this account may not write there",
    errno.EPERM: "this account may not do that there",
}
#: Bytes read or written at a time.
CHUNK = 1024 * 1024


def disk_error(error: OSError, path: Path) -> DiskError:
    """*error*, met at *path*, as an error that says what to do."""
    why = _WORDS.get(error.errno or 0, error.strerror or str(error))
    return DiskError(
        f"{path} on this node cannot be used: {why}. Make room there, or point WORK_PATH and CACHE_PATH of its "
        "conf to a folder of a local disk.",
        path=str(path),
    )


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a DiskError that names the file at fault, or else *path*."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, Path(os.fsdecode(error.filename)) if error.filename else path) from error


class FolderLock:
    """Keeps a folder for one process; released by the system when that process ends, however it does."""

    def __init__(self, folder: Path, key: str) -> None:
        """*key*: the conf's key that names the folder, for the error."""
        self._path = folder / "lock"
        self._key = key
        self._file: int | None = None

    def take(self) -> None:
        """Take it, making the folder (for this account only) if need be.

        Raises:
            BadConf: another process has it.
            DiskError: the folder cannot be used.
        """
        with naming(self._path.parent):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(file)
        except OSError as error:
            os.close(file)
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise disk_error(error, self._path) from error
            raise BadConf(
                f"The folder {self._path.parent} is in use by another computing node of this machine. "
                f"Start this one with another --name, or with another {self._key} in its conf.",
                problems=[f"{self._key}: {self._path.parent} is in use by another computing node"],
                path=str(self._path.parent),
            ) from error
        self._file = file

    def release(self) -> None:
        """Give it back. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lock(file: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def copy_file(source: Path, target: Path, mode: int) -> None:
    """Copy the bytes of *source* to the new file *target* with permissions *mode*.

    Where the file system can, the two share their blocks until one is written (Linux: copy_file_range clones).

    Raises:
        OSError: as it comes; then there is no *target*, unless it was there before.
    """
    flags = getattr(os, "O_BINARY", 0)
    come_from = os.open(source, os.O_RDONLY | flags)
    try:
        go_to = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, mode)
        try:
            if not _copied_by_system(come_from, go_to):
                _copy_through_memory(come_from, go_to)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        finally:
            os.close(go_to)
    finally:
        os.close(come_from)


def _copied_by_system(come_from: int, go_to: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        while os.copy_file_range(come_from, go_to, 1 << 30):
            pass
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
            return False  # not between these two file systems; what was copied so far stays, offsets are moved
        raise
    return True


def _copy_through_memory(come_from: int, go_to: int) -> None:
    while data := os.read(come_from, CHUNK):
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(go_to, rest) :]
