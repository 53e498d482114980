"""Names in order, kept so only for those who ask. Not here: what is under them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection


class SortedNames:
    """The names of *held*, a live collection that tells of every name that comes to it.

    Nothing is kept before somebody asks. After that a question costs one pass over the names when some have come or
    gone, which is much less than sorting them all, and nothing else when none have.
    """

    def __init__(self, held: Collection[str]) -> None:
        self._held = held
        self._sorted: list[str] | None = None
        self._fresh: dict[str, None] = {}
        self._stale = False

    def came(self, name: str) -> None:
        """*name* is there now and was not before."""
        if self._sorted is not None:
            self._fresh[name] = None
            if len(self._fresh) > len(self._sorted) + 1000:
                self._sorted = None  # nobody has asked for long
                self._fresh.clear()

    def went(self, name: str) -> None:
        """*name* is not there any more."""
        self._fresh.pop(name, None)
        self._stale = True

    def starting(self, prefix: str, most: int) -> tuple[str, ...]:
        """The first *most* names that begin with *prefix*."""
        names = self._in_order()
        start = bisect_left(names, prefix)
        end = start
        while end < len(names) and end - start < most and names[end].startswith(prefix):
            end += 1
        return tuple(names[start:end])

    def _in_order(self) -> list[str]:
        if self._sorted is None:
            self._sorted = sorted(self._held)
        elif self._stale or self._fresh:
            # One that went and came again is fresh, and was there before, too.
            kept = [name for name in self._sorted if name in self._held and name not in self._fresh]
            kept.extend(self._fresh)
            kept.sort()
            self._sorted = kept
        self._fresh.clear()
        self._stale = False
        return self._sorted
