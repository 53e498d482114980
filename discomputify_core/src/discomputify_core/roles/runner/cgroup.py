"""Memory limits that the kernel itself keeps, where this process may make control groups (version 2, Linux).

That is so in a container that gives its control group to us, and in a systemd unit with ``Delegate=yes`` in which the
node is alone. Elsewhere the runner looks by itself every now and then (part.py). Everything here may be refused by the
system at any time: then there is no group, and looking does. Not here: what follows when a limit is reached.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
#: The control group that the node's own processes move into, since one with processes cannot share out memory.
LEAF = "discomputify-node"
#: systemd marks what it gives away with this attribute.
DELEGATED = "user.delegate"


class Group:
    """One attempt's control group, made with the limit *memory* in bytes.

    Raises:
        OSError: the system does not allow it.
    """

    def __init__(self, folder: Path, memory: int) -> None:
        self._folder = folder
        folder.mkdir()
        try:
            _write(folder / "memory.max", str(memory))
            # All processes of the part end together, as they do when it is stopped.
            _write(folder / "memory.oom.group", "1")
            if (folder / "memory.swap.max").exists():  # there is none without swap accounting
                _write(folder / "memory.swap.max", "0")
        except OSError:
            self.remove()
            raise

    def add(self, pid: int) -> None:
        """Put a process, and all that it starts from now on, into the group.

        Raises:
            OSError: the system does not allow it.
        """
        _write(self._folder / "cgroup.procs", str(pid))

    @property
    def overrun(self) -> bool:
        """Whether the kernel ended a process of it for its memory."""
        return _number(self._folder / "memory.events", "oom_kill") > 0

    @property
    def peak(self) -> int:
        """The most bytes it used; 0 where the kernel does not say."""
        return _number(self._folder / "memory.peak")

    @property
    def cpu_seconds(self) -> float:
        """Seconds of CPU time of all processes that were in it."""
        return _number(self._folder / "cpu.stat", "usage_usec") / 1e6

    def remove(self) -> None:
        """Remove it; what cannot be removed (a process that cannot be ended) stays."""
        with suppress(OSError):
            self._folder.rmdir()


class Groups:
    """Makes groups below *folder*."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, attempt: str, memory: int) -> Group | None:
        """A group for *attempt*; None where the system refuses."""
        name = "discomputify-" + re.sub(r"[^A-Za-z0-9_.-]", "_", attempt)[:200]
        with suppress(OSError):
            (self._folder / name).rmdir()  # of a runner that was killed
        try:
            return Group(self._folder / name, memory)
        except OSError:
            return None


def find(ours: Collection[int], cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> Groups | None:
    """Where this process may make groups with a memory limit; None where it may not.

    Args:
        ours: the node, its runner and keeper, which may have to move into a group of their own.
        cgroups: where control groups are mounted.
        own: which one this process is in.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
        inside = next((line[3:] for line in lines if line.startswith("0::")), "")
        folder = cgroups / inside.lstrip("/")
        if not inside or ".." in folder.parts:
            return None
        if folder.name == LEAF:  # an earlier runner of this node moved it here
            folder = folder.parent
        if "memory" not in _words(folder / "cgroup.controllers") or not os.access(folder, os.W_OK):
            return None
        if "memory" in _words(folder / "cgroup.subtree_control") or _taken_over(folder, ours):
            return Groups(folder)
    except (OSError, ValueError):  # no such files: another version, another system
        return None
    return None


def _taken_over(folder: Path, ours: Collection[int]) -> bool:
    """Whether memory may be shared out below *folder* now: it was given to us, and nobody else is in it.

    Raises:
        OSError: the system does not allow it.
    """
    inside = {int(word) for word in _words(folder / "cgroup.procs")}
    if not inside <= set(ours) or not _delegated(folder):
        return False
    leaf = folder / LEAF
    leaf.mkdir(exist_ok=True)
    for pid in inside:
        _write(leaf / "cgroup.procs", str(pid))
    _write(folder / "cgroup.subtree_control", "+memory")
    return True


def _delegated(folder: Path) -> bool:
    getxattr = getattr(os, "getxattr", None)  # Linux only
    try:
        return getxattr is not None and getxattr(folder, DELEGATED) == b"1"
    except OSError:
        return False


def _words(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split()


def _number(path: Path, name: str = "") -> int:
    """The number in a file, or of the line *name* in it; 0 where there is none."""
    try:
        words = _words(path)
        return int(words[words.index(name) + 1] if name else words[0])
    except (OSError, ValueError, IndexError):
        return 0


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
