"""Where a node keeps files of large shared values: in memory if it can, else on its disk. Blocks: for threads.

Here: the folder of one session of a node, and the files in it. Not here: which files there are, whose they are and how
long they stay (arrays_kept.py).
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from discomputify_core.edge import places
from discomputify_core.errors import DiscomputifyError
from discomputify_core.roles.node.disk import FolderLock, naming
from discomputify_core.roles.node.removing import remove_tree

#: A folder that is memory, on Linux.
IN_MEMORY = Path("/dev/shm")  # noqa: S108  # folders in it are made with random names, for this account alone
#: How names of sessions' folders begin.
PREFIX = "discomputify-arrays-"
#: Bytes that have to be free in memory for it to be used: containers often have a tiny one.
LEAST_ROOM = 1024 * 1024 * 1024
#: Most characters of a job's name in the name of its folder, which a random text follows.
MAX_JOB = 100


class ArraysFolder:
    """The folder of one session of a node, this account's alone.

    Args:
        folder: it exists, and no other process uses it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._lock = FolderLock(folder, "WORK_PATH")

    @classmethod
    def made(cls, work: Path, limit: int) -> ArraysFolder:
        """A new folder: in memory where there is some, else below *work*.

        Args:
            work: the node's own folder, on a disk.
            limit: bytes that a job may have there.

        Raises:
            DiskError: it cannot be made.
        """
        base = IN_MEMORY if _fits(IN_MEMORY, limit) else work
        with naming(base):
            made = cls(Path(tempfile.mkdtemp(prefix=PREFIX, dir=base)))
        made._lock.take()
        return made

    @property
    def free(self) -> int:
        """Bytes that are free where it is."""
        return shutil.disk_usage(self.path).free

    def job(self, process_id: str, token: str) -> Path:
        """A new folder for a job.

        Raises:
            OSError: it cannot be made.
        """
        folder = self.path / f"{process_id[:MAX_JOB]}-{token}"
        folder.mkdir(mode=0o700)
        return folder

    def reserve(self, path: Path, size: int) -> None:
        """Make a file of *size* bytes for which there is room for sure, where the system can tell; or none.

        Raises:
            OSError: there is no room (ENOSPC), or the file cannot be made.
        """
        if self.free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            if sys.platform == "linux":
                os.posix_fallocate(file, 0, size)
            else:
                os.truncate(file, size)
        except BaseException:
            os.close(file)
            path.unlink()
            raise
        os.close(file)

    def remove(self) -> None:
        """Remove it, with all that is in it."""
        self._lock.release()  # first: Windows removes no open file
        remove_tree(self.path)


def complete(path: Path, size: int) -> bool:
    """Whether *path* is still the plain file of *size* bytes that was reserved; from now on it is read only.

    Raises:
        OSError: it is gone.
    """
    facts = path.lstat()
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != size:
        return False
    path.chmod(0o400)
    return True


def remove_file(path: Path) -> None:
    """Remove a file; one that a program on Windows has mapped stays until the folder is removed."""
    try:
        if os.name == "nt":
            path.chmod(stat.S_IWRITE)
        path.unlink()
    except OSError:
        return


def sweep() -> None:
    """Remove what nodes left in memory that were killed. What they left on a disk goes with their work folders."""
    if sys.platform != "linux" or not IN_MEMORY.is_dir():
        return
    for left in IN_MEMORY.glob(PREFIX + "*"):
        try:
            if left.lstat().st_uid != os.getuid() or not (left / "lock").is_file():
                continue  # another account's, or being made just now
        except OSError:
            continue
        lock = FolderLock(left, "WORK_PATH")
        try:
            lock.take()
        except DiscomputifyError:  # its node is alive
            continue
        try:
            remove_tree(left)
        finally:
            lock.release()


def _fits(folder: Path, limit: int) -> bool:
    if sys.platform != "linux" or not os.access(folder, os.W_OK | os.X_OK):
        return False
    try:
        found = places.disk(folder)
    except DiscomputifyError:
        return False
    return found.memory and found.free >= min(limit, LEAST_ROOM)
