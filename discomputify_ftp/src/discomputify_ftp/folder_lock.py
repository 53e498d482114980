"""One service per folder: two would remove each other's blobs."""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path

from discomputify_core.errors import DiskError
from discomputify_ftp.disk import naming

log = logging.getLogger("discomputify.ftp")


class FolderLock:
    """A lock on *path* that the system releases when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            DiskError: another process has it, or the file cannot be opened.
        """
        with naming(self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                os.close(descriptor)
                raise DiskError(
                    f"The store's folder {self._path.parent} is in use by another ftp_node. "
                    "Stop that one, or set another FTP_BASE_PATH.",
                    path=str(self._path.parent),
                ) from error
            # Some network file systems cannot lock. The store works there; only a second one is not noticed.
            log.warning("%s cannot be locked (%s): a second ftp_node there would not be noticed", self._path, error)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
