"""Small disks of a test's own: to be filled, emptied, and written on by nobody."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MIB = 1024 * 1024
#: Bytes of each small disk.
SIZE = 16 * MIB


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A small file system at *folder*, gone afterwards whatever still uses it."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", ",".join((f"size={SIZE}", *options)), "tmpfs", str(folder)]
    if not sys.platform.startswith("linux") or subprocess.run(mount, capture_output=True, timeout=20).returncode:
        pytest.skip("only who may mount file systems can test disks that are really full or read-only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=20)


def free(folder: Path) -> int:
    """Bytes that are free on the disk of *folder*."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


@contextlib.contextmanager
def filled(folder: Path, leave: int) -> Iterator[None]:
    """Leaves at most *leave* bytes on the disk of *folder*."""
    filler = folder / "filler"
    filler.write_bytes(bytes(max(free(folder) - leave, 0)))
    try:
        yield
    finally:
        filler.unlink()
