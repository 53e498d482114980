"""What is remembered of requests that change something, so that a token which comes again is not done again.

The answer to each is kept while its token is young enough to be taken. What had to be forgotten raises the floor: a
token made at or before it is not taken any more, known or not. So neither a full memory nor a clock that was set back
lets an old token pass for a new one. Not here: requests that are still worked on, waiting for them (the transport's).
"""

from __future__ import annotations

import heapq
from typing import Final

from discomputify_tcp.cypher1.limits import MAX_AGE, MAX_KEPT, MAX_KEPT_BYTES


class Stale:
    """What :meth:`Memory.find` says of a token that may have been forgotten."""


STALE: Final = Stale()


class Memory:
    """Answers by their requests' digests.

    Args:
        most: answers that are kept, and ``most_bytes`` of them; one is kept whatever its size.
    """

    def __init__(self, most: int = MAX_KEPT, most_bytes: int = MAX_KEPT_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._answers: dict[bytes, bytes] = {}
        self._bytes = 0
        # When each was made, oldest first.
        self._ages: list[tuple[int, bytes]] = []
        self._floor = -1

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, digest: bytes, made_at: int, now: float) -> bytes | Stale | None:
        """The answer that was kept for the request *digest*, None if it never came before.

        Args:
            made_at: when its token was made; like *now* in seconds of the epoch.
        """
        while self._ages and self._ages[0][0] + MAX_AGE < now:
            self._forget()
        found = self._answers.get(digest)
        if found is None and made_at <= self._floor:
            return STALE
        return found

    def keep(self, digest: bytes, made_at: int, answer: bytes) -> None:
        """Remember *answer*; older ones go where there are too many."""
        if digest in self._answers:
            return
        self._answers[digest] = answer
        self._bytes += len(answer)
        heapq.heappush(self._ages, (made_at, digest))
        while len(self._ages) > 1 and (len(self._ages) > self._most or self._bytes > self._most_bytes):
            self._forget()

    def _forget(self) -> None:
        made_at, digest = heapq.heappop(self._ages)
        self._bytes -= len(self._answers.pop(digest))
        self._floor = max(self._floor, made_at)
