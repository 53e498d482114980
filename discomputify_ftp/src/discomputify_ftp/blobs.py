"""The blobs on the store's disk: put in verified, read, examined, removed. Blocking: runs in threads.

Not here: what refers to a blob (refs.py), blobs that are still arriving (arrivals.py).
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from discomputify_core.errors import BlobDamaged, BlobMissing
from discomputify_core.model.files import Digest
from discomputify_ftp import layout
from discomputify_ftp.disk import (
    BLOB_MODE,
    WHOSE,
    copy_new,
    digest_file,
    disk_error,
    naming,
    read_at,
    remove,
    replace,
    token,
    write_new,
)
from discomputify_ftp.hashing import digest_of
from discomputify_ftp.lost import Lost

log = logging.getLogger("discomputify.ftp")

#: A file left over in incoming/ may be resumed for this many seconds.
RESUMABLE = 3 * 24 * 3600.0
#: Seconds that a damaged blob is kept aside, for whoever wants to know what happened to the disk.
KEPT_ASIDE = 7 * 24 * 3600.0


class Blobs:
    """The folder FTP_BASE_PATH, as far as blobs go."""

    def __init__(self, base: Path) -> None:
        self.base = base
        #: How many there are.
        self.count = 0
        self._counting = threading.Lock()
        self._examining = threading.Lock()
        #: Those that came since :meth:`open`; None: that is too long ago to be of interest.
        self.fresh: set[str] | None = set()
        #: Those that were found damaged or gone and have not come again.
        self.lost = Lost()

    def open(self) -> None:
        """Make the folders, look whether they can be written, and remove what a crash left.

        Raises:
            DiskError: they cannot be used.
        """
        with naming(self.base):
            self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
            inside = (layout.BLOBS, f"{layout.BLOBS}/{layout.ALGORITHM}", layout.JOBS, layout.INCOMING, layout.DAMAGED)
            for name in inside:
                (self.base / name).mkdir(mode=0o700, exist_ok=True)
            self.sweep_incoming(everything_new=True)
            trial = self.new_path()
            write_new(trial, b"discomputify")
            remove(trial)
            self.count = sum(1 for folder in self.folders() for _ in self.inside(folder))
            aside = sorted(path.name[: layout.HEX] for path in self._aside())
            self.lost.add(digest for digest in map(_digest, aside) if not self.path(digest).exists())

    def path(self, digest: str) -> Path:
        """Where *digest* is, if it is held."""
        return self.base / layout.blob_file(digest)

    def new_path(self) -> Path:
        """A fresh name in incoming/."""
        return self.base / layout.new_file(token())

    def has(self, digest: str, size: int) -> bool:
        """Whether a blob of that digest and size is held. One of another size is examined."""
        path = self.path(digest)
        try:
            held = path.stat().st_size
        except FileNotFoundError:
            return False
        if held != size:
            # A machine that lost its power may leave files short. Or the size asked for is wrong.
            self.examine(digest)
            return False
        return True

    def touch(self, digest: str) -> None:
        """Make the blob young, so that it also outlives a restart of this service by an hour."""
        with suppress(OSError):
            os.utime(self.path(digest))

    def add(self, digest: str, data: bytes | bytearray | memoryview) -> None:
        """Keep *data* as the blob *digest*.

        Raises:
            BlobDamaged: it has another digest.
            DiskError: it cannot be written.
        """
        actual = digest_of(data)
        if actual != digest:
            raise wrong_bytes(digest, actual)
        if self.has(digest, len(data)):
            return
        new = self.new_path()
        with naming(new, WHOSE):
            write_new(new, data, BLOB_MODE)
        self.adopt(digest, new)

    def add_copy(self, digest: str, source: Path) -> bool:
        """Keep a copy of *source* as the blob *digest*; returns False if it has another digest (it is changing).

        Raises:
            OSError: it cannot be read, or the copy cannot be written.
            DiskError: the copy cannot be renamed.
        """
        new = self.new_path()
        if copy_new(source, new, BLOB_MODE) != digest:
            remove(new)
            return False
        self.adopt(digest, new)
        return True

    def adopt(self, digest: str, new: Path) -> None:
        """Make the verified file *new* the blob *digest*.

        Raises:
            DiskError: it cannot be renamed; it is removed then.
        """
        target = self.path(digest)
        fresh = not target.exists()
        try:
            with naming(target, WHOSE):
                replace(new, target)
        except BaseException:
            remove(new)
            raise
        self.lost.discard(digest)
        if fresh:
            self._counted(1)
            young = self.fresh
            if young is not None:
                young.add(digest)

    def read(self, digest: str, offset: int, length: int) -> bytes:
        """Bytes of a blob; fewer than *length* only at its end.

        Raises:
            BlobMissing: it is not held.
        """
        path = self.path(digest)
        try:
            return read_at(path, offset, length)
        except FileNotFoundError:
            raise missing([digest]) from None
        except OSError as error:
            raise disk_error(error, path, WHOSE) from error

    def read_whole(self, digest: str, size: int) -> bytes:
        """All *size* bytes of a blob.

        Raises:
            BlobMissing: no blob of that digest and size is held.
        """
        data = self.read(digest, 0, size + 1)
        if len(data) != size:
            self.examine(digest)
            raise missing([digest])
        return data

    def read_verified(self, digest: str, size: int) -> bytes:
        """As :meth:`read_whole`, with the digest checked.

        Raises:
            BlobMissing: it is not held.
            BlobDamaged: the bytes are not the right ones; the blob has been put aside.
        """
        data = self.read_whole(digest, size)
        actual = digest_of(data)
        if actual != digest:
            self.examine(digest)
            raise wrong_bytes(digest, actual)
        return data

    def examine(self, digest: str) -> bool:
        """Read a whole blob again; put it aside if its bytes are not the right ones. Returns whether that was so."""
        path = self.path(digest)
        aside = self.base / layout.damaged_file(digest, token())
        # One at a time: of two that look at one blob, the second would put aside what was brought again meanwhile.
        with self._examining:
            try:
                if digest_file(path) == digest:
                    return False
                path.replace(aside)
            except FileNotFoundError:
                return False
            except OSError as error:
                raise disk_error(error, path, WHOSE) from error
        self.lost.add([digest])
        self._counted(-1)
        with suppress(OSError):
            os.utime(aside)  # how long it is kept is counted from now
        log.error("blob %s was damaged on disk: put aside as %s; uploading it again mends the store", digest, aside)
        return True

    def remove(self, digest: str) -> bool:
        """Remove a blob; returns whether it is gone and was there."""
        gone = remove(self.path(digest))
        if gone:
            self._counted(-1)
        return gone

    def age(self, digest: str) -> float:
        """Seconds since a blob was put or last promised; 0 if it is not held."""
        try:
            return time.time() - self.path(digest).stat().st_mtime
        except OSError:
            return 0.0

    def folders(self) -> list[Path]:
        """The folders that hold the blobs, some hundreds."""
        return sorted(path for path in (self.base / layout.BLOBS / layout.ALGORITHM).iterdir() if path.is_dir())

    def inside(self, folder: Path) -> Iterator[Digest]:
        """The digests of the blobs in one of the :meth:`folders`."""
        for path in folder.iterdir():
            if len(path.name) == layout.HEX:  # what else lies there is not ours
                yield _digest(path.name)

    def sweep_aside(self) -> None:
        """Remove damaged blobs that were put aside long ago."""
        for path in self._aside():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > KEPT_ASIDE:
                    remove(path)

    def _aside(self) -> Iterator[Path]:
        return (path for path in (self.base / layout.DAMAGED).iterdir() if len(path.name) > layout.HEX)

    def sweep_incoming(self, everything_new: bool = False) -> None:
        """Remove what nobody will resume: old ``.part`` files, and all ``.new`` ones if *everything_new*."""
        for path in (self.base / layout.INCOMING).iterdir():
            with suppress(OSError):
                old = time.time() - path.stat().st_mtime > RESUMABLE
                if not (old or (everything_new and path.suffix == layout.NEW)):
                    continue
                if path.is_dir():  # put there to be removed
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    remove(path)

    def _counted(self, change: int) -> None:
        with self._counting:
            self.count += change


def _digest(digits: str) -> Digest:
    return Digest(f"{layout.ALGORITHM}:{digits}")


def wrong_bytes(digest: str, actual: str) -> BlobDamaged:
    """The error for bytes that should have had *digest*."""
    return BlobDamaged(f"The bytes for {digest} have the digest {actual}.", digest=digest, actual=actual)


def missing(digests: list[str]) -> BlobMissing:
    """The error for blobs that are not held. Only the first ones are listed: an answer's head is bounded."""
    few = digests[:5000]
    return BlobMissing(
        f"The store does not hold {len(digests)} of the blobs it was asked for, such as {digests[0]}.",
        digests=few,
        count=len(digests),
    )
