"""One attempt's limits of time and memory inside the runner process, and what it was seen to use.

Here: when a limit is reached. Not here: how an attempt is ended then (part.py), limits that the kernel keeps
(cgroup.py). A part without limits costs nothing here: nobody wakes up for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from discomputify_core.roles.runner.cgroup import Group, Groups
from discomputify_core.roles.runner.loop import Loop, Timer
from discomputify_core.roles.runner.tree import Claim, Tree, Usage

#: Seconds between two looks at the memory of a part that has a limit.
LOOK_SECONDS = 0.5
#: Of so many looks one is for all its processes, the others for those below its main one, which are found quicker.
LOOKS_WITHOUT_ORPHANS = 10
#: Counting what processes share may take seconds, in which the runner does nothing else: it pauses so many times that.
PATIENCE = 10.0
#: Seconds between the request to end and the kill: for one that took too long, as for one that is stopped.
GRACE_SECONDS = 2.0


class Limits(NamedTuple):
    """Seconds from the program's start on, and bytes of memory of all its processes; 0: no limit."""

    seconds: float = 0.0
    memory: int = 0


class Guard:
    """Watches one attempt.

    Args:
        loop, tree: of the runner.
        claim: the attempt.
        limits: its limits.
        mine: gives all its processes.
        on_over: called when a limit is reached, with the grace in seconds that it has to end.
    """

    def __init__(
        self,
        loop: Loop,
        tree: Tree,
        claim: Claim,
        limits: Limits,
        mine: Callable[[], Collection[int]],
        on_over: Callable[[float], None],
    ) -> None:
        self._loop = loop
        self._tree = tree
        self._claim = claim
        self._limits = limits
        self._mine = mine
        self._on_over = on_over
        self._too_long_timer: Timer | None = None
        self._look_timer: Timer | None = None
        self._looks = 0
        self._group: Group | None = None
        self._watching = True
        #: The limit that was reached: "time", "memory", or "".
        self.limit = ""
        #: Bytes of memory that were over the limit; 0 where the kernel ended it.
        self.over = 0
        #: The most that was seen.
        self.seen = Usage()

    def start(self, groups: Groups | None) -> None:
        """Begin to watch; to be called right after the program was started."""
        if self._limits.seconds:
            self._too_long_timer = self._loop.after(self._limits.seconds, self._too_long)
        if self._limits.memory and not self._kernel_watches(groups):
            self._look_timer = self._loop.after(LOOK_SECONDS, self._look_again)

    def look(self, pids: Collection[int]) -> Usage:
        """See what *pids*, all processes that are left, use; remembers the most of each."""
        usage = self._tree.usage(pids)
        self._remember(usage)
        return usage

    def main_ended(self) -> None:
        """The program has ended: limits do not count any more."""
        self._stop_watching()
        if self._group is not None and self._group.overrun and not self.limit:
            self.limit = "memory"

    def close(self) -> None:
        """No process of it is left."""
        self._stop_watching()
        if self._group is not None:
            self._remember(Usage(self._group.cpu_seconds, self._group.peak))
            self._group.remove()
            self._group = None

    def _kernel_watches(self, groups: Groups | None) -> bool:
        group = groups.make(self._claim.attempt, self._limits.memory) if groups is not None else None
        if group is None:
            return False
        try:
            group.add(self._claim.pid)
        except OSError:
            group.remove()
            return False
        self._group = group
        return True

    def _too_long(self) -> None:
        self._reached("time", GRACE_SECONDS)

    def _look_again(self) -> None:
        self._looks += 1
        whole = self._looks % LOOKS_WITHOUT_ORPHANS == 0
        pids = self._mine() if whole else self._tree.below(self._claim)
        used, pause = self._tree.usage(pids), LOOK_SECONDS
        if used.memory > self._limits.memory:  # pages that they share were counted more than once
            began = time.monotonic()
            used = used._replace(memory=self._tree.memory_together(pids))
            pause = max(pause, PATIENCE * (time.monotonic() - began))
        self._remember(used)
        if used.memory > self._limits.memory:
            self.over = used.memory
            self._reached("memory", 0.0)  # it may take all the machine's memory meanwhile
        else:
            self._look_timer = self._loop.after(pause, self._look_again)

    def _reached(self, limit: str, grace: float) -> None:
        if self._watching:
            self._stop_watching()
            self.limit = limit
            self._on_over(grace)

    def _stop_watching(self) -> None:
        self._watching = False
        for timer in (self._too_long_timer, self._look_timer):
            if timer is not None:
                timer.cancel()

    def _remember(self, used: Usage) -> None:
        self.seen = Usage(max(self.seen.cpu_seconds, used.cpu_seconds), max(self.seen.memory, used.memory))
