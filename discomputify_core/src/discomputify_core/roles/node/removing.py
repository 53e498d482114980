"""Removing a tree that a program may have made hard to remove. Never follows a link out of it."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

#: How often permissions are mended and the rest is removed again. A program that still writes there is left alone.
TRIES = 3


def remove_tree(folder: Path) -> bool:
    """Remove *folder* with all that is in it; True if it is gone (or never was). Blocks."""
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return True
        _open_up(folder)
    return False


def _open_up(folder: Path) -> None:
    """Let this account list, enter and change all folders of the tree, as far as they are its own."""
    pending = [folder]
    while pending:
        place = pending.pop()
        try:
            if stat.S_ISDIR(place.lstat().st_mode):
                place.chmod(0o700)
                pending.extend(place.iterdir())
            elif os.name == "nt":
                place.chmod(stat.S_IWRITE)  # Windows deletes no read-only file
        except OSError:
            continue  # not ours: rmtree says no again, and the caller is told
