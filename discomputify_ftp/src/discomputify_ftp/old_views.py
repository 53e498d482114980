"""What old clients (CYPHER/1) see: files that were written, and trees of jobs shown as folders. Blocking.

Here: three trees that are asked the same questions; a path's first component chooses one. Not here: changes
(old_files.py).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

from discomputify_core.errors import BlobDamaged
from discomputify_core.model.files import Entry
from discomputify_ftp.blobs import Blobs, missing
from discomputify_ftp.keeper import Keeper
from discomputify_ftp.old_requests import top_of
from discomputify_ftp.old_tree import Kind, OldTree, gone
from discomputify_ftp.refs import Ref

#: Entries of manifests that are kept unpacked, so that not each chunk of a file reads its manifest again.
KEPT_ENTRIES = 50_000


class View(Protocol):
    """A tree of files. Paths are those of the whole namespace."""

    def kind(self, path: str) -> Kind:
        """What is at *path*."""

    def names(self, path: str) -> list[str]:
        """The names in the folder *path*, sorted."""

    def files(self, path: str) -> list[str]:
        """The paths of all files in and below the folder *path*, sorted."""

    def read(self, path: str, offset: int, length: int) -> tuple[bytes, int]:
        """Up to *length* bytes of the file *path* from *offset* on, and its size."""


class Manifests:
    """Manifests by digest, as maps from path to entry: the ones used last, in memory."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._kept: OrderedDict[str, dict[str, Entry]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, ref: Ref) -> dict[str, Entry]:
        """The manifest of a tree.

        Raises:
            BlobDamaged, BlobMissing: it is damaged or gone.
        """
        with self._lock:
            entries = self._kept.get(ref.digest)
        if entries is None:
            entries = {entry.path: entry for entry in self._keeper.unpacked(ref).entries}
        with self._lock:
            self._kept[ref.digest] = entries
            self._kept.move_to_end(ref.digest)
            while len(self._kept) > 1 and sum(len(each) + 1 for each in self._kept.values()) > KEPT_ENTRIES:
                self._kept.popitem(last=False)
        return entries


class ShownTree:
    """A tree of a job as the top folder *name*."""

    def __init__(self, name: str, ref: Ref, manifests: Manifests, blobs: Blobs) -> None:
        self._start = name + "/"
        self._ref = ref
        self._manifests = manifests
        self._blobs = blobs

    def kind(self, path: str) -> Kind:
        """See :meth:`View.kind`."""
        inside = self._inside(path)
        entries = self._manifests.of(self._ref)
        entry = entries.get(inside)
        if entry is not None:
            return Kind.FOLDER if entry.folder else Kind.FILE
        if not inside or any(each.startswith(inside + "/") for each in entries):
            return Kind.FOLDER
        return Kind.NOTHING

    def names(self, path: str) -> list[str]:
        """See :meth:`View.names`."""
        return sorted({top_of(below) for below in self._below(path)})

    def files(self, path: str) -> list[str]:
        """See :meth:`View.files`."""
        return sorted(f"{path}/{below}" for below, entry in self._below(path).items() if not entry.folder)

    def read(self, path: str, offset: int, length: int) -> tuple[bytes, int]:
        """See :meth:`View.read`.

        Raises:
            BlobMissing, BlobDamaged: its bytes are gone, or not what they were.
        """
        entry = self._manifests.of(self._ref).get(self._inside(path))
        if entry is None or entry.folder:
            raise gone(path)
        if not self._blobs.has(entry.digest, entry.size):
            raise missing([entry.digest])
        if offset == 0 and self._blobs.examine(entry.digest):  # these clients cannot tell by themselves
            raise BlobDamaged(f"The store's bytes of {path} are damaged.", digest=entry.digest)
        length = min(length, entry.size - offset)
        return self._blobs.read(entry.digest, offset, length) if length > 0 else b"", entry.size

    def _inside(self, path: str) -> str:
        return path[len(self._start) :]

    def _below(self, path: str) -> dict[str, Entry]:
        inside = self._inside(path)
        start = inside + "/" if inside else ""
        entries = self._manifests.of(self._ref)
        return {each[len(start) :]: entry for each, entry in entries.items() if each.startswith(start)}


class Everything:
    """The whole namespace. A tree that is shown hides what was written under its name."""

    def __init__(self, written: OldTree, shown: Mapping[str, ShownTree]) -> None:
        self._written = written
        self._shown = shown

    def kind(self, path: str) -> Kind:
        """See :meth:`View.kind`."""
        return Kind.FOLDER

    def names(self, path: str) -> list[str]:
        """See :meth:`View.names`."""
        return sorted({*self._written.names(path), *self._shown})

    def files(self, path: str) -> list[str]:
        """See :meth:`View.files`."""
        found = [each for each in self._written.files(path) if top_of(each) not in self._shown]
        for name, tree in self._shown.items():
            found += tree.files(name)
        return sorted(found)

    def read(self, path: str, offset: int, length: int) -> tuple[bytes, int]:
        """See :meth:`View.read`: there is no such file."""
        raise gone(path)
