"""One log line for a peer that was turned away, at most a few for each address and second.

Not here: what is wrong with the peer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger("discomputify.tcp")

#: Lines for each peer address and second, and addresses remembered within a second.
LINES = 3
ADDRESSES = 1000


class Complaints:
    """Says what was wrong with peers.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = 0
        self._said: dict[str, int] = {}
        self._unsaid = 0

    def say(self, host: str, line: str) -> None:
        """Log *line*, unless *host* had its lines for this second; what is left out is counted in a later line."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._said.clear()
        said = self._said.get(host, 0)
        if said >= LINES or (not said and len(self._said) >= ADDRESSES):
            self._unsaid += 1
            return
        self._said[host] = said + 1
        more, self._unsaid = self._unsaid, 0
        log.warning("%s%s", line, f" ({more} more such lines were left out before this one)" if more else "")
