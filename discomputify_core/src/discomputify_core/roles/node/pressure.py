"""Whether a node has room for new parts just now: memory and the disks of its folders, as a sentence or none.

Here: the decision, pure, with some way between "too little" and "enough again" so that it does not flicker. Not here:
looking at the machine (load.py), what is done to make room (computing.py).
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

MB, GB = 10**6, 10**9
#: Parts wait while less memory than the larger of these is available.
MEMORY_SHARE, MEMORY_LEAST = 0.05, 500 * MB
#: Parts wait while less room than the smaller of these is left on a disk: a small one is no fault.
DISK_SHARE, DISK_MOST = 0.05, 500 * MB
#: They go on from so many times that much on.
ENOUGH = 1.5


@attrs.frozen
class Room:
    """What is left of something, in bytes."""

    #: For people: "memory", or which disk.
    what: str
    left: int
    total: int
    #: Parts wait below this.
    reserve: int

    @property
    def enough(self) -> int:
        """Parts go on from here."""
        return int(self.reserve * ENOUGH)


def of_memory(available: int, total: int) -> Room:
    """Room for memory."""
    return Room("memory", available, total, int(max(total * MEMORY_SHARE, MEMORY_LEAST)))


def of_disk(folder: str, free: int, total: int) -> Room:
    """Room on the disk that *folder* is on."""
    return Room(f"the disk of {folder}", free, total, int(min(total * DISK_SHARE, DISK_MOST)))


class Pressure:
    """Remembers what was short."""

    def __init__(self) -> None:
        self._short: set[str] = set()

    def judge(self, rooms: Iterable[Room]) -> str:
        """Why the node takes no new parts, given what is left now; "" if it does."""
        said = []
        for room in rooms:
            if room.left < (room.enough if room.what in self._short else room.reserve):
                self._short.add(room.what)
                said.append(_sentence(room))
            else:
                self._short.discard(room.what)
        return "; ".join(said)


def _sentence(room: Room) -> str:
    left, total, enough = _size(room.left), _size(room.total), _size(room.enough)
    return f"{room.what} is nearly used up: {left} of {total} are left, and new parts wait until there are {enough}"


def _size(count: int) -> str:
    return f"{count / GB:,.1f} GB" if count >= GB else f"{count / MB:,.0f} MB"
