"""The blob cache's files: where each is, how it looks, whether its bytes are right, and the saved index.

All functions block and are meant for threads. Layout below the cache's folder::

    lock                      held by the node that uses the cache
    index                     what was held, and how each file looked, when the index was last saved
    blobs/ALGORITHM/ab/HEX    one blob, read-only; HEX.x its executable twin
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgpack
import psutil

from discomputify_core.edge import clock
from discomputify_core.interfaces.files import Hasher
from discomputify_core.roles.node.cache_index import BlobKey, Mark
from discomputify_core.roles.node.disk import CHUNK, disk_error, naming

_NAME = re.compile(r"([0-9a-f]{32,128})(\.x)?", re.ASCII)
#: Windows can neither delete nor replace a read-only file.
READ_ONLY = sys.platform != "win32"


class CacheDisk:
    """The files below *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs"
        self._index = folder / "index"

    def path(self, key: BlobKey) -> Path:
        """Where the blob is, or would be."""
        algorithm, _, hexadecimal = key.digest.partition(":")
        return self._blobs / algorithm / hexadecimal[:2] / (hexadecimal + (".x" if key.executable else ""))

    def mark(self, key: BlobKey) -> Mark | None:
        """How the blob's file looks now; None if there is no such file.

        Raises:
            DiskError: the system does not say.
        """
        path = self.path(key)
        try:
            info = path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, path) from error
        return Mark(info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)

    def digest(self, key: BlobKey, hasher: Hasher) -> str:
        """The digest of the bytes that are there now, by *hasher*.

        Raises:
            DiskError: they cannot be read.
        """
        path = self.path(key)
        with naming(path), path.open("rb") as file:
            while data := file.read(CHUNK):
                hasher.update(data)
        return hasher.digest()

    def settle(self, key: BlobKey) -> Mark | None:
        """Make a blob's file read-only (and executable, if it is to be); how it looks then.

        Raises:
            DiskError: that cannot be done.
        """
        path = self.path(key)
        with naming(path):
            if READ_ONLY:
                path.chmod(0o555 if key.executable else 0o444)
            return self.mark(key)

    def make_folders(self, keys: Iterable[BlobKey]) -> None:
        """Make the folders of these blobs.

        Raises:
            DiskError: that cannot be done.
        """
        with naming(self._blobs):
            for folder in {self.path(key).parent for key in keys}:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def delete(self, keys: Iterable[BlobKey]) -> None:
        """Delete these blobs; those that are gone already count as deleted.

        Raises:
            DiskError: one cannot be deleted.
        """
        for key in keys:
            path = self.path(key)
            with naming(path):
                path.unlink(missing_ok=True)

    def scan(self) -> Iterator[BlobKey]:
        """All blobs; whatever else lies between them (cut transfers) is deleted.

        Raises:
            DiskError: the folder cannot be used.
        """
        with naming(self._blobs):
            for folder, _, names in os.walk(self._blobs):
                algorithm = Path(folder).parent.name
                for name in names:
                    found = _NAME.fullmatch(name)
                    key = BlobKey(f"{algorithm}:{found[1]}", bool(found[2])) if found else None
                    if key is not None and self.path(key) == Path(folder, name):
                        yield key
                    else:
                        Path(folder, name).unlink(missing_ok=True)

    def save(self, rows: Iterable[tuple[BlobKey, Mark]]) -> None:
        """Save the index: blobs known to be right, least recently used first.

        Raises:
            DiskError: it cannot be written.
        """
        data = msgpack.packb({"boot": _boot(), "rows": [[*key, *mark] for key, mark in rows]})
        part = self._index.with_suffix(f".{clock.token(4)}")
        with naming(self._index):
            try:
                part.write_bytes(data)
                part.replace(self._index)
            finally:
                part.unlink(missing_ok=True)

    def saved(self) -> dict[BlobKey, Mark]:
        """The saved index, in its order; empty if there is none, it is damaged, or the machine was started since.

        After a start of the machine the bytes on disk may be older than what is known of them.
        """
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, msgpack.exceptions.UnpackException):
            data = msgpack.unpackb(self._index.read_bytes())
            if data["boot"] == _boot():
                return {BlobKey(digest, executable): Mark(*mark) for digest, executable, *mark in data["rows"]}
        return {}


def _boot() -> str:
    """Names the current run of the machine: another text after each start of it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(round(psutil.boot_time(), -1))
