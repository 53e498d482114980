"""Which blobs a job has been promised for a while: what it uploads now, before a tree refers to it.

What belongs to one upload is kept until an hour after its last sign of life, however long it takes in all.
In memory; after a restart the ages of the files stand in for it (blobs.py). Safe to use from several threads:
whoever pins first and looks for the blob then cannot lose it to somebody who removes it (:meth:`guarded`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import attrs

#: Seconds that a pin lasts.
LASTS = 3600.0


@attrs.define
class _Mine:
    """The pins of one job."""

    #: When each runs out.
    until: dict[str, float] = attrs.field(factory=dict)
    #: Blobs of its uploads, and when all of those run out.
    upload: set[str] = attrs.field(factory=set)
    upload_until: float = 0.0

    def has(self, digest: str, now: float) -> bool:
        return self.until.get(digest, 0.0) > now or (self.upload_until > now and digest in self.upload)


class Pins:
    """Pinned blobs by job."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[str, _Mine] = {}

    def pin(self, process_id: str, digests: Iterable[str], upload: bool = False) -> None:
        """Keep *digests* for an hour from now, for a job; as part of its *upload*, also what it uploaded before."""
        with self._lock:
            until = self._clock() + LASTS
            mine = self._jobs.setdefault(process_id, _Mine())
            if upload:
                mine.upload.update(digests)
                mine.upload_until = until
                return
            for digest in digests:
                mine.until[digest] = until

    def drop(self, process_id: str) -> list[str]:
        """The job needs nothing any more; returns what it had pinned."""
        with self._lock:
            mine = self._jobs.pop(process_id, _Mine())
            return list({*mine.until, *mine.upload})

    def forget_old(self) -> None:
        """Free the memory of pins that have run out."""
        with self._lock:
            now = self._clock()
            for process_id, mine in list(self._jobs.items()):
                mine.until = {digest: until for digest, until in mine.until.items() if until > now}
                if mine.upload_until <= now:
                    mine.upload = set()
                if not mine.until and not mine.upload:
                    del self._jobs[process_id]

    def guarded(self, digest: str, action: Callable[[], bool]) -> bool:
        """Do *action* unless *digest* is pinned, so that no pin comes in between; returns whether it was done."""
        with self._lock:
            now = self._clock()
            if any(mine.has(digest, now) for mine in self._jobs.values()):
                return False
            return action()
