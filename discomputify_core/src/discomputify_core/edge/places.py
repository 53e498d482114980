"""Folders and the disks under them: where a node keeps things, what kind of disk that is, how full it is.

Here: facts about disks, and the default folders. Not here: what is kept in them (roles).
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import attrs

from discomputify_core.edge.machine import host_name, user_name
from discomputify_core.errors import DiskError

#: File systems that are somewhere else: slow, and not this machine's alone.
NETWORK = frozenset(("9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs")).union(
    ("lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs", "virtiofs", "webdav"),
    ("fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.s3fs", "fuse.sshfs"),
)
MEMORY = frozenset(("ramfs", "tmpfs"))


@attrs.frozen
class Disk:
    """The disk under a folder."""

    #: Kind of file system ("ext4", "nfs4", "tmpfs"…), "" where the system does not say.
    kind: str
    #: Where it is mounted.
    mount: str
    #: Bytes.
    free: int
    total: int

    @property
    def network(self) -> bool:
        """Whether it is a network file system."""
        return self.kind in NETWORK

    @property
    def memory(self) -> bool:
        """Whether it is memory: gone after a restart of the machine."""
        return self.kind in MEMORY


def disk(path: Path) -> Disk:
    """The disk that *path* is on, or would be once it is made.

    Raises:
        DiskError: it cannot be looked at.
    """
    there = existing(path)
    kind, mount = _mounted(there)
    try:
        usage = shutil.disk_usage(there)
    except OSError as error:
        raise DiskError(f"{there} cannot be looked at: {error.strerror or error}.", path=str(there)) from error
    return Disk(kind, mount, usage.free, usage.total)


def existing(path: Path) -> Path:
    """*path*, or the nearest folder above it that exists."""
    path = path.absolute()
    for each in (path, *path.parents):
        if os.path.exists(each):  # noqa: PTH110  # Path.exists raises where a folder may not be entered, before 3.12
            return each
    return Path(path.anchor)


def _mounted(path: Path) -> tuple[str, str]:
    real = path.resolve()
    if sys.platform == "linux":
        try:
            lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError:
            return "", ""
        return mounted(real, [mount for line in lines if (mount := parse_mount(line))])
    import psutil  # some commands never ask for it

    return mounted(real, [(part.mountpoint, part.fstype.lower()) for part in psutil.disk_partitions(all=True)])


def parse_mount(line: str) -> tuple[str, str] | None:
    """Mount point and kind in a line of ``/proc/mounts``, where blanks are written as octal numbers."""
    words = line.split(" ")
    if len(words) < 3:
        return None
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), words[1]), words[2]


def mounted(path: Path, mounts: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Kind and mount point of the file system that *path* is on: the deepest, and of those the last mounted."""
    best: tuple[str, str] = ("", "")
    depth = -1
    for point, kind in mounts:
        if path.is_relative_to(point) and len(Path(point).parts) >= depth:
            best, depth = (kind, point), len(Path(point).parts)
    return best


def default_folder(name: str) -> Path:
    """The folder *name* ("work", "cache", "master") of this user on this host, on a local disk where there is one.

    Below the user's cache folder ("master": that for lasting state); where that is a network file system, below the
    system's folder for temporary files.
    """
    import platformdirs  # some commands never ask for it

    host = re.sub(r"[^A-Za-z0-9._-]", "_", host_name())
    below = platformdirs.user_state_path if name == "master" else platformdirs.user_cache_path
    usual = below("discomputify", appauthor=False) / host / name
    if not _remote(usual):
        return usual
    user = re.sub(r"[^A-Za-z0-9._-]", "_", user_name())
    for base in (Path("/var/tmp"), Path(tempfile.gettempdir())):  # noqa: S108  # made_default_folder makes it private
        folder = base / f"discomputify-{user}" / host / name
        if base.is_dir() and not _remote(folder):
            return folder
    return usual


def _remote(folder: Path) -> bool:
    return _mounted(existing(folder))[0] in NETWORK


def default_cache_limit(folder: Path) -> int:
    """Bytes that a cache in *folder* may hold where CACHE_LIMIT is absent: a tenth of its disk.

    Raises:
        DiskError: the disk cannot be looked at.
    """
    return disk(folder).total // 10


def private_folder(folder: Path) -> Path:
    """*folder*, made if it is missing, for this user alone.

    Raises:
        DiskError: it cannot be made, or belongs to another user, who could then read or change what is put there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.name == "posix":
            _check_owner(folder)
            folder.chmod(0o700)
    except OSError as error:
        raise DiskError(f"The folder {folder} cannot be used: {error.strerror or error}.", path=str(folder)) from error
    return folder


def made_default_folder(name: str) -> Path:
    """:func:`default_folder`, made for this user alone.

    Raises:
        DiskError: as :func:`private_folder`, also for the folder above that all of ours are in.
    """
    folder = default_folder(name)
    private_folder(folder.parent.parent)  # first: whoever owns it could exchange what is below
    return private_folder(folder)


def _check_owner(folder: Path) -> None:
    facts = folder.lstat()
    if stat.S_ISLNK(facts.st_mode) and facts.st_uid != os.getuid():
        raise DiskError(
            f"{folder} is a link that another user made; remove it or use another folder.", path=str(folder)
        )
    if folder.stat().st_uid != os.getuid():
        raise DiskError(f"The folder {folder} belongs to another user; use another folder.", path=str(folder))
