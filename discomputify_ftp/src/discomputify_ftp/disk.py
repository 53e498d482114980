"""Files of this machine, written so that they appear whole or not at all; errors that name them.

Used by both ends. Here: single files. Not here: what they mean (blobs.py, refs.py, fetching.py).
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from discomputify_core.errors import DiskError, StoreFull
from discomputify_core.model.files import Digest
from discomputify_ftp.hashing import Blake3Hasher

#: Said of paths of the store in errors, since their reader is on another machine.
WHOSE = "(on the store's machine)"
#: Bytes read at once where a whole file is looked at.
BLOCK = 1024 * 1024
#: A blob never changes, so nobody may write it (on Windows that would also forbid removing it).
BLOB_MODE = 0o444 if os.name == "posix" else 0o600

_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG})
_DENIED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_BINARY = getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def disk_error(error: OSError, path: Path | str, whose: str = "") -> DiskError | StoreFull:
    """*error*, met at *path*, for people.

    Args:
        error: what happened.
        path: where.
        whose: on which machine, said of the store's own disk only: that being full is StoreFull.
    """
    reason = error.strerror or str(error)
    where = f"{path} {whose}".rstrip()
    if error.errno in _FULL:
        text = f"No space is left for {where} ({reason}). Free space there and try again."
        if whose:
            return StoreFull(text, path=str(path), errno=error.errno)
    elif error.errno in _DENIED:
        text = f"{where} cannot be written or read ({reason}). Give this account the right to, or use another folder."
    else:
        text = f"{where} cannot be used: {reason}."
    return DiskError(text, path=str(path), errno=error.errno)


@contextmanager
def naming(path: Path | str, whose: str = "") -> Iterator[None]:
    """Turn an OSError inside into the error that :func:`disk_error` gives for *path*."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, path, whose) from error


def token() -> str:
    """A name that nobody else uses."""
    return secrets.token_hex(8)


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of *data* (one call may write less, on a disk that fills up)."""
    left = memoryview(data)
    while len(left):
        left = left[os.write(descriptor, left) :]


def write_new(path: Path, data: bytes | bytearray | memoryview, mode: int = 0o666) -> None:
    """Create *path* with *data*; it is removed again if that fails."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
    try:
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError:
        remove(path)
        raise


def write_at(path: Path, offset: int, data: bytes | bytearray | memoryview, *, create: bool) -> None:
    """Write *data* at *offset* of *path*, which is created if need be and *create*."""
    descriptor = os.open(path, os.O_WRONLY | (os.O_CREAT if create else 0) | _BINARY, 0o600)
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def read_at(path: Path, offset: int, length: int) -> bytes:
    """Up to *length* bytes of *path* from *offset* on; fewer only where the file ends."""
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        data = file.read(length) or b""
        while len(data) < length:
            more = file.read(length - len(data))
            if not more:
                break
            data += more
        return data


def read_sized(path: Path, offset: int, length: int) -> tuple[bytes, int]:
    """As :func:`read_at` for any *offset*, and the size of the whole file. A link at *path* is not followed."""
    descriptor = os.open(path, os.O_RDONLY | _BINARY | _NO_LINK)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if offset >= size:
            return b"", size
        file.seek(offset)
        return file.read(min(length, size - offset)), size


def append(path: Path, data: bytes, mode: int) -> None:
    """Add *data* at the end of *path*, created if need be; if that fails it is as long as before."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _BINARY | _NO_LINK, mode)
    try:
        size = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, data)
        except OSError:
            with suppress(OSError):
                os.truncate(path, size)
            raise
    finally:
        os.close(descriptor)


def copy_new(source: Path, path: Path, mode: int) -> Digest:
    """Create *path* as a copy of *source*, and return the digest of what was copied; removed again if that fails."""
    hasher = Blake3Hasher()
    with source.open("rb", buffering=0) as file:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
        try:
            try:
                while block := file.read(BLOCK):
                    hasher.update(block)
                    write_all(descriptor, block)
            finally:
                os.close(descriptor)
        except OSError:
            remove(path)
            raise
    return hasher.digest()


def hash_file(path: Path, limit: int | None = None) -> tuple[Blake3Hasher, int]:
    """A hasher that has seen *path* (its first *limit* bytes), and how many bytes that were."""
    hasher = Blake3Hasher()
    seen = 0
    block = memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as file:
        while limit is None or seen < limit:
            count = file.readinto(block if limit is None else block[: limit - seen])
            if not count:
                break
            hasher.update(block[:count])
            seen += count
    return hasher, seen


def digest_file(path: Path) -> Digest:
    """The digest of all bytes of *path*."""
    return hash_file(path)[0].digest()


def replace(new: Path, target: Path) -> None:
    """Rename *new* to *target*, over what is there, making the folder above it if need be."""
    try:
        new.replace(target)
    except FileNotFoundError:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.replace(target)


def remove(path: Path) -> bool:
    """Remove the file *path*; returns whether it was there and is gone."""
    with suppress(OSError):
        path.unlink()
        return True
    return False
