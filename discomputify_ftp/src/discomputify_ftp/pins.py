"""Which blobs a job has been promised for a while: what it uploads now, before a tree refers to it.

In memory; after a restart the ages of the files stand in for it (blobs.py). Safe to use from several threads:
whoever pins first and looks for the blob then cannot lose it to somebody who removes it (:meth:`guarded`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

#: Seconds that a pin lasts.
LASTS = 3600.0


class Pins:
    """Pinned blobs by job."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, dict[str, float]] = {}

    def pin(self, process_id: str, digests: Iterable[str]) -> None:
        """Keep *digests* for an hour from now, for a job."""
        with self._lock:
            until = self._clock() + LASTS
            mine = self._until.setdefault(process_id, {})
            for digest in digests:
                mine[digest] = until

    def drop(self, process_id: str) -> list[str]:
        """The job needs nothing any more; returns what it had pinned."""
        with self._lock:
            return list(self._until.pop(process_id, ()))

    def forget_old(self) -> None:
        """Free the memory of pins that have run out."""
        with self._lock:
            now = self._clock()
            for process_id, mine in list(self._until.items()):
                alive = {digest: until for digest, until in mine.items() if until > now}
                if alive:
                    self._until[process_id] = alive
                else:
                    del self._until[process_id]

    def guarded(self, digest: str, action: Callable[[], bool]) -> bool:
        """Do *action* unless *digest* is pinned, so that no pin comes in between; returns whether it was done."""
        with self._lock:
            now = self._clock()
            if any(mine.get(digest, 0.0) > now for mine in self._until.values()):
                return False
            return action()
