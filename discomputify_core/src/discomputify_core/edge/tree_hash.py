"""Digests of the files of a tree, and whether a file is still what it was. Blocking: runs in threads.

Not here: which files (tree_walk.py), stores (trees.py).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Union

import attrs

from discomputify_core.edge.tree_walk import Found
from discomputify_core.errors import BadInput, BadPath, FileChanged
from discomputify_core.interfaces.files import Blob, Hasher
from discomputify_core.model.files import Digest, Entry

MakeHasher = Callable[[], Hasher]

BLOCK = 1024 * 1024
#: How often a file that changes while it is read is read again.
TRIES = 3
#: Files per turn of a thread.
GROUP = 32
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


@attrs.frozen
class LocalFile:
    """A file of a tree as it was when it was read."""

    path: str
    local: Path
    digest: Digest
    size: int
    executable: bool
    mtime_ns: int

    @property
    def entry(self) -> Entry:
        """Its line in a manifest."""
        return Entry(self.path, self.size, self.digest, self.executable)

    @property
    def blob(self) -> Blob:
        """Its bytes, for a store."""
        return Blob(self.digest, self.size, self.local)

    def changed(self) -> bool:
        """Whether the file looks different now."""
        try:
            facts = self.local.stat()
        except OSError:
            return True
        return (facts.st_size, facts.st_mtime_ns) != (self.size, self.mtime_ns)


Hashed = Union[LocalFile, BadInput]


def hash_files(found: Sequence[Found], hasher: MakeHasher) -> list[Hashed]:
    """Read all of *found*, several at once; a file that cannot be read, or does not hold still, gives its problem."""
    groups = [found[start : start + GROUP] for start in range(0, len(found), GROUP)]
    workers = min(len(groups), os.cpu_count() or 1, 4)
    if workers < 2:
        return [each for group in groups for each in _hash_group(group, hasher)]
    with ThreadPoolExecutor(workers, thread_name_prefix="discomputify-hash") as pool:
        return [each for hashed in pool.map(lambda group: _hash_group(group, hasher), groups) for each in hashed]


def hash_file(found: Found, hasher: MakeHasher) -> LocalFile:
    """Read one file.

    Raises:
        BadInput: it cannot be read.
        BadPath: it is not a file any more.
        FileChanged: it changes while it is read, again and again.
    """
    for _ in range(TRIES):
        try:
            file = _read_once(found, hasher)
        except OSError as error:
            raise BadInput(f"{found.local} cannot be read: {error.strerror}.", path=found.path) from error
        if file is not None:
            return file
    raise FileChanged(f"{found.local} changes while it is being read.", path=found.path)


def _hash_group(group: Sequence[Found], hasher: MakeHasher) -> list[Hashed]:
    return list(_each(group, hasher))


def _each(group: Sequence[Found], hasher: MakeHasher) -> Iterator[Hashed]:
    for found in group:
        try:
            yield hash_file(found, hasher)
        except BadInput as problem:
            yield problem


def _read_once(found: Found, hasher: MakeHasher) -> LocalFile | None:
    # Not blocking: a named pipe that took the file's place would hold us up for ever.
    with os.fdopen(os.open(found.local, _FLAGS), "rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise BadPath(f"{found.local} is not a file any more.", path=found.path)
        state = hasher()
        block = memoryview(bytearray(min(BLOCK, before.st_size + 1)))
        size = 0
        # A file that grows as fast as it is read would never end.
        while size <= before.st_size and (count := file.readinto(block)):
            state.update(block[:count])
            size += count
        after = os.fstat(file.fileno())
    if size != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        return None
    executable = os.name == "posix" and bool(before.st_mode & stat.S_IXUSR)
    return LocalFile(found.path, found.local, state.digest(), size, executable, before.st_mtime_ns)
