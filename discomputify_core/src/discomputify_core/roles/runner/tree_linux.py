"""Processes of attempts on Linux, read from /proc, exact because this process adopts every orphan below it.

A descendant is below its part's main process while that lives, whatever session it is in. When a parent dies the
kernel hands its children to the nearest living *subreaper* above, which is the runner. So: direct children of the
runner that are no main processes are orphans, and without orphans nothing is left over. That look costs
microseconds. Not here: psutil, which costs milliseconds to import.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from discomputify_core.roles.runner.tree import ATTEMPT_MARK, Claim, Tree, Usage

_PR_SET_CHILD_SUBREAPER = 36
#: Programs that fork faster than we look, again and again, are seen alive after a few looks.
_LOOKS = 50
#: Fields of /proc/PID/stat behind the name: CPU time of the process and of children it waited for; pages in memory.
_TIMES, _RESIDENT = slice(11, 15), 21


def become_subreaper() -> bool:
    """Make this process adopt orphans below it. Whether that worked, and their list can be read."""
    if not sys.platform.startswith("linux"):
        return False
    pid = os.getpid()
    if not Path(f"/proc/{pid}/task/{pid}/children").exists():
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


class _Stat(NamedTuple):
    """Some fields of /proc/PID/stat; ``born`` counts clock ticks since boot."""

    zombie: bool
    group: int
    session: int
    born: int


def _read(path: str) -> bytes:
    """The file, empty when its process is gone or not ours to read. Plain calls: this is on every part's way."""
    pieces: list[bytes] = []
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            while piece := os.read(file, 65536):
                pieces.append(piece)
        finally:
            os.close(file)
    except OSError:
        return b""
    return b"".join(pieces)


def _stat(pid: int) -> _Stat | None:
    """None when the process is gone."""
    # The name in parentheses may itself hold blanks and parentheses.
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if len(fields) < 20:
        return None
    # The first thread may end long before the others; then the process looks like a zombie and is none.
    zombie = fields[0] in (b"Z", b"X") and len(_tasks(pid)) <= 1
    return _Stat(zombie, int(fields[2]), int(fields[3]), int(fields[19]))


def _living(pid: int) -> bool:
    stat = _stat(pid)
    return stat is not None and not stat.zombie


def _tasks(pid: int) -> list[str]:
    try:
        with os.scandir(f"/proc/{pid}/task") as entries:
            return [entry.name for entry in entries]
    except OSError:
        return []


def children(pid: int) -> list[int]:
    """Direct children of *pid*, of all its threads, zombies included."""
    return [int(child) for task in _tasks(pid) for child in _read(f"/proc/{pid}/task/{task}/children").split()]


def descendants(pid: int) -> set[int]:
    """Everything below *pid* that is no zombie; a snapshot, taken while it may change."""
    found: set[int] = set()
    todo = children(pid)
    while todo:
        child = todo.pop()
        if child not in found:
            found.add(child)
            todo += children(child)
    return {child for child in found if _living(child)}


def my_children() -> dict[int, _Stat]:
    """Living direct children of this process. An empty answer is certain.

    A child that dies between the look at the list and the look at itself may have handed us its own children
    after the first: so the list is read again until no zombie in it is new. Only we reap them.
    """
    me = os.getpid()
    living: dict[int, _Stat] = {}
    dead: set[int] = set()
    for _ in range(_LOOKS):
        before = len(dead)
        living.clear()
        for child in children(me):
            stat = None if child in dead else _stat(child)
            if stat is None or stat.zombie:
                dead.add(child)
            else:
                living[child] = stat
        if len(dead) == before:
            break
    return living


def everything_below_me() -> set[int]:
    """Living descendants of this process. An empty answer is certain."""
    mine = my_children()
    return mine.keys() | {pid for child in mine for pid in descendants(child)}


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to *pids* and to their process groups, which never reach beyond one attempt.

    A group is reached at once, so that processes that keep forking cannot run away from it.
    """
    mine = os.getpgrp()
    groups: set[int] = set()
    for pid in pids:
        stat = _stat(pid)
        if stat is None:
            continue
        if stat.group in (0, mine):
            _kill(os.kill, pid, number)
        elif stat.group not in groups:
            groups.add(stat.group)
            _kill(os.killpg, stat.group, number)


def _kill(how: object, pid: int, number: signal.Signals) -> None:
    """Also when it is gone meanwhile, or changed its user and may not be touched."""
    assert callable(how)
    try:
        how(pid, number)
    except (ProcessLookupError, PermissionError):
        return


class LinuxTree(Tree):
    """See the module. The process that uses it must be a subreaper with one thread."""

    def born(self, pid: int) -> float:
        """See :meth:`Tree.born`. Known until the process is reaped, and only its parent does that."""
        stat = _stat(pid)
        return stat.born if stat else 0.0

    def belonging(self, claim: Claim, others: Collection[Claim]) -> set[int]:
        """See :meth:`Tree.belonging`."""
        found: set[int] = set()
        mains = {other.pid for other in others if other.alive}
        for child, stat in my_children().items():
            if child in mains:
                continue
            if (child == claim.pid and claim.alive) or _orphan_of(child, stat, claim, others):
                found |= {child} | descendants(child)
        return found

    def everything(self, claims: Iterable[Claim]) -> set[int]:
        """See :meth:`Tree.everything`."""
        return everything_below_me()

    def send(self, pids: Iterable[int], number: signal.Signals) -> None:
        """See :meth:`Tree.send`."""
        send(pids, number)

    def below(self, claim: Claim) -> set[int]:
        """See :meth:`Tree.below`."""
        return {claim.pid} | descendants(claim.pid)

    def usage(self, pids: Iterable[int]) -> Usage:
        """See :meth:`Tree.usage`."""
        ticks = pages = 0
        for pid in pids:
            fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
            if len(fields) > _RESIDENT:
                ticks += sum(map(int, fields[_TIMES]))
                pages += int(fields[_RESIDENT])
        return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))

    def memory_together(self, pids: Iterable[int]) -> int:
        """See :meth:`Tree.memory_together`: the proportional share of each process."""
        return sum(_proportional(pid) for pid in pids)


def _proportional(pid: int) -> int:
    """Bytes of memory of *pid*, each page divided by how many processes have it; all of it where that is not told."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0


def _orphan_of(orphan: int, stat: _Stat, claim: Claim, others: Collection[Claim]) -> bool:
    """Whether *orphan* is *claim*'s: by session, by environment, or because nobody else can have started it."""
    if stat.session == claim.pid:
        return True
    if any(stat.session == other.pid for other in others):
        return False
    attempt = _attempt_in_environment(orphan)
    if attempt:
        return all(attempt != other.attempt for other in others)
    return all(other.born > stat.born for other in others)


def _attempt_in_environment(pid: int) -> str:
    mark = f"{ATTEMPT_MARK}=".encode()
    for item in _read(f"/proc/{pid}/environ").split(b"\0"):
        if item.startswith(mark):
            return os.fsdecode(item[len(mark) :])
    return ""
