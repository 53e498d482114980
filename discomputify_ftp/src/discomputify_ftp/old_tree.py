"""The files that old clients (CYPHER/1) wrote completely: plain files in plain folders. Blocking: runs in threads.

Paths come from :func:`~discomputify_ftp.old_requests.clean_path`. Links and devices, which only somebody else can have
put here, are neither followed nor shown. Where the file system takes ``A`` and ``a`` for one name, they are one file
here too. Not here: incomplete files (old_parts.py), who may change what when (old_files.py).
"""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from discomputify_core.errors import BadInput
from discomputify_ftp.disk import WHOSE, append, naming, read_sized

#: Nobody else may read what is written.
FILE_MODE, FOLDER_MODE = 0o600, 0o700


class Kind(enum.Enum):
    """What is at a path."""

    NOTHING = "nothing"
    FILE = "a file"
    FOLDER = "a folder"
    #: Never followed, opened or shown.
    FOREIGN = "a link or a device"


class OldTree:
    """The folder of those files."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def place(self, path: str) -> Path:
        """Where *path* is on disk."""
        return self._root / path

    def kind(self, path: str) -> Kind:
        """What is at *path*.

        Raises:
            DiskError: the disk cannot be read.
        """
        if not path:
            return Kind.FOLDER
        return next((kind for at, kind in self._way_to(path) if at == path), Kind.NOTHING)

    def check_file(self, path: str) -> None:
        """Refuse *path* where no file can be.

        Raises:
            BadInput: it is a folder, or a folder above it is a file; names which.
            DiskError: the disk cannot be read.
        """
        for at, kind in self._way_to(path):
            if kind not in ((Kind.FILE, Kind.NOTHING) if at == path else (Kind.FOLDER, Kind.NOTHING)):
                wanted = "a file" if at == path else "a folder"
                raise BadInput(f"{path!r} cannot be written: {at!r} is {kind.value} and not {wanted}. Delete it first.")

    def _way_to(self, path: str) -> Iterator[tuple[str, Kind]]:
        names = path.split("/")
        place = self._root
        for depth, name in enumerate(names, 1):
            place /= name
            kind = _kind_at(place)
            yield "/".join(names[:depth]), kind
            if kind is not Kind.FOLDER:
                return

    def names(self, path: str) -> list[str]:
        """The names in the folder *path*, sorted; none if it is not there any more.

        Raises:
            DiskError: the disk cannot be read.
        """
        return sorted(entry.name for entry, _ in self._entries(path))

    def files(self, path: str) -> list[str]:
        """The paths of all files in and below the folder *path*, sorted.

        Raises:
            DiskError: the disk cannot be read.
        """
        found: list[str] = []
        left = [path]
        while left:
            folder = left.pop()
            for entry, kind in self._entries(folder):
                at = f"{folder}/{entry.name}" if folder else entry.name
                (left if kind is Kind.FOLDER else found).append(at)
        return sorted(found)

    def _entries(self, path: str) -> list[tuple[os.DirEntry[str], Kind]]:
        place = self.place(path)
        found: list[tuple[os.DirEntry[str], Kind]] = []
        with naming(place, WHOSE), suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found.append((entry, Kind.FOLDER))
                elif entry.is_file(follow_symlinks=False):
                    found.append((entry, Kind.FILE))
        return found

    def read(self, path: str, offset: int, length: int) -> tuple[bytes, int]:
        """Up to *length* bytes of the file *path* from *offset* on, and how many bytes it has in all.

        Raises:
            BadInput: it is not there any more.
            DiskError: the disk cannot be read.
        """
        place = self.place(path)
        with naming(place, WHOSE):
            try:
                return read_sized(place, offset, length)
            except FileNotFoundError:
                raise gone(path) from None

    def adopt(self, new: Path, path: str) -> None:
        """Make the complete file *new* the file *path*, over what was there.

        Raises:
            DiskError: it cannot be renamed; what was there is there.
        """
        with naming(self.place(path), WHOSE):
            self._make_folders(path)
            new.replace(self.place(path))

    def append(self, path: str, data: bytes) -> None:
        """Add *data* to the file *path*, made if need be.

        Raises:
            DiskError: it cannot be written; the file is what it was before.
        """
        with naming(self.place(path), WHOSE):
            self._make_folders(path)
            append(self.place(path), data, FILE_MODE)

    def _make_folders(self, path: str) -> None:
        for place in (self._root.parent, self._root):
            place.mkdir(mode=FOLDER_MODE, exist_ok=True)
        for name in path.split("/")[:-1]:
            place /= name
            # One by one: the folders that mkdir(parents=True) makes on the way would be open to others.
            place.mkdir(mode=FOLDER_MODE, exist_ok=True)


def gone(path: str) -> BadInput:
    """The error for a path that nothing is at."""
    return BadInput(f"There is no file or folder {path!r}.")


def _kind_at(place: Path) -> Kind:
    with naming(place, WHOSE):
        try:
            mode = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return Kind.NOTHING
    if stat.S_ISDIR(mode):
        return Kind.FOLDER
    return Kind.FILE if stat.S_ISREG(mode) else Kind.FOREIGN
