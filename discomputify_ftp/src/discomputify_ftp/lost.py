"""Blobs that were found damaged or gone though trees need them: what the store would like to be brought again.

In memory, bounded; after a restart the folder of damaged blobs and the next reader bring it back. Safe to use from
several threads. Not here: how damage is found (blobs.py), who needs what (refs.py).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

#: Most that are remembered, the latest ones.
MOST = 1000


class Lost:
    """Digests of lost blobs, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._digests: dict[str, None] = {}

    def add(self, digests: Iterable[str]) -> None:
        """These are lost."""
        with self._lock:
            for digest in digests:
                self._digests.pop(digest, None)
                self._digests[digest] = None
            while len(self._digests) > MOST:
                del self._digests[next(iter(self._digests))]

    def discard(self, digest: str) -> None:
        """It is here again, or nobody needs it. No error if it was not lost."""
        with self._lock:
            self._digests.pop(digest, None)

    def all(self) -> list[str]:
        """All of them."""
        with self._lock:
            return list(self._digests)

    def __contains__(self, digest: object) -> bool:
        with self._lock:
            return digest in self._digests
