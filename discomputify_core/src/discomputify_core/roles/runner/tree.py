"""Which processes belong to an attempt, and how they are ended: the promise, and the two ways of keeping it.

:class:`Tree` has an implementation for Linux (runner_tree_linux.py: exact, because the runner adopts every
orphan) and one for everything else (runner_tree_scan.py). Not here: when to look or to end (runner_part.py).
"""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from typing import NamedTuple

#: Environment variables that mark a part's processes.
ATTEMPT_MARK = "DISCOMPUTIFY_ATTEMPT_ID"
RUNNER_MARK = "DISCOMPUTIFY_RUNNER"

SIGTERM = signal.SIGTERM
#: Windows has only one way to end a process, and calls it SIGTERM.
SIGKILL: signal.Signals = getattr(signal, "SIGKILL", signal.SIGTERM)


class Claim:
    """What is known of one attempt's processes.

    Args:
        attempt: the attempt's id, which is in its environment.
        pid: its main process, which leads its session.
        born: when that started, in the tree's own unit (:meth:`Tree.born`).
    """

    def __init__(self, attempt: str, pid: int, born: float) -> None:
        self.attempt = attempt
        self.pid = pid
        self.born = born
        #: Whether the main process has not been reaped yet.
        self.alive = True


class Usage(NamedTuple):
    """What processes have used: seconds of CPU time, with those of children that they waited for; bytes of memory."""

    cpu_seconds: float = 0.0
    memory: int = 0


class Tree(ABC):
    """Finds and ends processes of attempts."""

    @abstractmethod
    def born(self, pid: int) -> float:
        """When process *pid* started; for comparing only."""

    @abstractmethod
    def belonging(self, claim: Claim, others: Collection[Claim]) -> set[int]:
        """Living processes of the attempt *claim*, its main one included.

        A process that shows no sign of its attempt belongs to *claim* once none of *others*, the
        attempts that run besides it, can have started it.
        """

    @abstractmethod
    def everything(self, claims: Iterable[Claim]) -> set[int]:
        """Living processes of all attempts."""

    @abstractmethod
    def send(self, pids: Iterable[int], number: signal.Signals) -> None:
        """Send a signal to *pids*, which :meth:`belonging` or :meth:`everything` found. Dead ones are ignored."""

    @abstractmethod
    def below(self, claim: Claim) -> set[int]:
        """The main process of *claim* and those below it: quicker than :meth:`belonging`, and without orphans."""

    @abstractmethod
    def usage(self, pids: Iterable[int]) -> Usage:
        """What *pids* use now; memory that they share counts for each of them."""

    def memory_together(self, pids: Iterable[int]) -> int:
        """Bytes of memory that *pids* use, what they share counting once, where the system says so. May take long."""
        return self.usage(pids).memory
