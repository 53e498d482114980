"""What the blob cache holds, as a value: sizes, order of use, pins, jobs. Decides what to evict.

Here: bookkeeping only, not safe for threads by itself. Not here: files (cache_disk.py), fetching and waiting
(cache.py).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import attrs

from discomputify_core.model.files import Entry
from discomputify_core.model.ids import ProcessId


class BlobKey(NamedTuple):
    """One file of the cache. A blob that is needed both ways is held twice: the mode belongs to the file."""

    digest: str
    executable: bool

    @classmethod
    def of(cls, entry: Entry) -> BlobKey:
        """The key of a file of a tree."""
        return cls(entry.digest, entry.executable)


class Mark(NamedTuple):
    """How a file looked when its bytes were known to be right."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    def same_content(self, other: Mark | None) -> bool:
        """Whether nothing but links and permissions can differ."""
        return other is not None and self[:2] == other[:2] and self.inode == other.inode


@attrs.define(eq=False)
class Held:
    """A blob that is in the cache."""

    size: int
    #: None while nobody knows whether the bytes are right.
    mark: Mark | None
    #: How many own changes of links are under way, each of which moves ctime.
    changing: int = 0
    jobs: set[ProcessId] = attrs.field(factory=set)


class CacheIndex:
    """The cache's contents, least recently used first.

    Args:
        limit: bytes; pinned blobs may exceed it for as long as they are pinned.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: Bytes held.
        self.used = 0
        #: Bytes on their way in.
        self.reserved = 0
        self._blobs: OrderedDict[BlobKey, Held] = OrderedDict()
        self._pins: Counter[BlobKey] = Counter()
        self._pinned_by: dict[object, tuple[BlobKey, ...]] = {}
        self._by_job: dict[ProcessId, int] = {}

    def get(self, key: BlobKey) -> Held | None:
        """What is held under *key*."""
        return self._blobs.get(key)

    def items(self) -> tuple[tuple[BlobKey, Held], ...]:
        """Everything, least recently used first."""
        return tuple(self._blobs.items())

    def add(self, key: BlobKey, size: int, mark: Mark | None) -> None:
        """A blob came in, or is known anew."""
        self.remove(key)
        self._blobs[key] = Held(size, mark)
        self.used += size

    def remove(self, key: BlobKey) -> None:
        """A blob went. No error if it is not held."""
        held = self._blobs.pop(key, None)
        if held is None:
            return
        self.used -= held.size
        for job in held.jobs:
            self._by_job[job] -= held.size

    def use(self, process_id: ProcessId, keys: Iterable[BlobKey]) -> None:
        """A job uses these blobs now."""
        for key in keys:
            held = self._blobs.get(key)
            if held is None:
                continue
            self._blobs.move_to_end(key)
            if process_id not in held.jobs:
                held.jobs.add(process_id)
                self._by_job[process_id] = self._by_job.get(process_id, 0) + held.size

    def held(self) -> dict[ProcessId, int]:
        """Bytes held of each job that was not dropped."""
        return dict(self._by_job)

    def drop(self, process_id: ProcessId) -> None:
        """A job is over; its blobs stay until their room is needed."""
        if self._by_job.pop(process_id, None) is not None:
            for held in self._blobs.values():
                held.jobs.discard(process_id)

    def pin(self, owner: object, keys: Iterable[BlobKey]) -> None:
        """Keep these blobs, held already or not, until *owner* is unpinned. A second pin adds to the first."""
        added = tuple(keys)
        self._pinned_by[owner] = self._pinned_by.get(owner, ()) + added
        self._pins.update(added)

    def unpin(self, owner: object) -> None:
        """Let go what *owner* pinned. No error if that is nothing."""
        for key in self._pinned_by.pop(owner, ()):
            self._pins[key] -= 1
            if not self._pins[key]:
                del self._pins[key]

    def evict(self, more: int = 0) -> list[BlobKey]:
        """Remove blobs, least recently used first, until all fits the limit and *more* bytes, if given, have gone.

        Returns:
            Those to delete.
        """
        victims = []
        excess = max(self.used + self.reserved - self.limit, more)
        if excess > 0:
            for key, held in self._blobs.items():
                if excess <= 0:
                    break
                if not self._pins[key]:
                    victims.append(key)
                    excess -= held.size
        for key in victims:
            self.remove(key)
        return victims
