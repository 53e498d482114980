"""One log line for a peer that was turned away, at most a few for each address in a while.

Not here: what is wrong with the peer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger("discomputify.tcp")

#: Lines for each peer address and second, and addresses remembered within that.
LINES = 3
ADDRESSES = 1000


class Complaints:
    """Says what was wrong with peers.

    Args:
        clock: seconds that only grow.
        lines: at most so many for each address within *span* seconds.
    """

    def __init__(self, clock: Callable[[], float], *, lines: int = LINES, span: float = 1.0) -> None:
        self._clock = clock
        self._lines = lines
        self._span = span
        # Address -> when its span began, and lines since; in the order of these beginnings.
        self._said: dict[str, tuple[float, int]] = {}
        self._unsaid = 0

    def say(self, host: str, line: str) -> None:
        """Log *line*, unless *host* had its lines for now; what is left out is counted in a later line."""
        now = self._clock()
        self._forget(now - self._span)
        since, said = self._said.get(host, (now, 0))
        if said >= self._lines or (not said and len(self._said) >= ADDRESSES):
            self._unsaid += 1
            return
        self._said[host] = since, said + 1
        more, self._unsaid = self._unsaid, 0
        log.warning("%s%s", line, f" ({more} more such lines were left out before this one)" if more else "")

    def _forget(self, before: float) -> None:
        while self._said:
            oldest, (since, _) = next(iter(self._said.items()))
            if since > before:
                return
            del self._said[oldest]
