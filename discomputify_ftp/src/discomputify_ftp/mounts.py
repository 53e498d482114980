"""Which kind of file system a folder is on, and what is wrong with keeping a store there. Linux only; "" elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_FUSE = frozenset({"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone"})
_NETWORK = _FUSE | {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"}


def kind_of(path: str, mounts: str) -> str:
    """The file system that *path* (absolute, without links) is on, given the text of the mount table."""
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        # The table writes blanks and backslashes of names as octal numbers.
        point = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        below = point.rstrip("/") + "/"
        # Of several mounts at one place, the last one is on top.
        if len(point) >= len(best) and (path == point or path.startswith(below)):
            best, kind = point, fields[2]
    return kind


def warning_for(kind: str) -> str:
    """What is wrong with keeping a store on a file system of *kind*; "" if nothing."""
    if kind in _MEMORY:
        return f"{kind}: lives in memory, so everything in the store is gone after a reboot"
    if kind in _NETWORK:
        return f"{kind}: a network file system, slower than a local disk and gone when its server is"
    return ""


def warning_at(folder: Path) -> str:
    """What is wrong with keeping a store in *folder*; "" if nothing, or where the system does not say."""
    if not sys.platform.startswith("linux"):
        return ""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    return warning_for(kind_of(str(folder.resolve()), mounts))
