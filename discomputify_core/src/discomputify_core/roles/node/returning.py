"""Giving the store back what it lost: blobs that it misses and that this node still has in its cache.

Not here: what the store lost and how it noticed (the store's business), how the cache verifies (cache.py).
"""

from __future__ import annotations

import asyncio
import logging

from discomputify_core.edge import clock
from discomputify_core.edge.deadline import within
from discomputify_core.errors import DiscomputifyError
from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.ids import ProcessId
from discomputify_core.roles.node.cache import BlobCache

log = logging.getLogger("discomputify.node")

#: Seconds between two questions, unless something was found missing here; and at least between two of those.
GAP, LEAST_GAP = 30.0, 2.0
#: The job for which a blob is brought that no job of this node needs any more: some other job does.
NOBODYS = ProcessId("returned")


class Returning:
    """Asks the store what it misses, now and then.

    Args:
        store, cache: of the node.
    """

    def __init__(self, store: FileStore, cache: BlobCache) -> None:
        self._store = store
        self._cache = cache
        self._soon = asyncio.Event()

    def soon(self) -> None:
        """Something is missing: ask at once."""
        self._soon.set()

    async def run(self) -> None:
        """Ask, until cancelled."""
        while True:
            try:
                await within(clock.jittered(GAP), self._soon.wait())
            except asyncio.TimeoutError:
                pass
            self._soon.clear()
            try:
                await self.once()
            except DiscomputifyError as error:  # a store that is away is other people's news
                log.debug("the store was not asked what it misses: %s", error)
            await asyncio.sleep(LEAST_GAP)

    async def once(self) -> int:
        """Give back what can be given; how many blobs that were.

        Raises:
            DiscomputifyError: as :meth:`FileStore.wanted` and :meth:`FileStore.put`.
        """
        wanted = await self._store.wanted()
        if not wanted:
            return 0
        owner = object()
        try:
            found = await asyncio.to_thread(self._cache.lend, owner, self._store.hasher, wanted)
            for job, blobs in found.items():
                await self._store.put(job or NOBODYS, blobs)
        finally:
            self._cache.unpin(owner)
        count = sum(map(len, found.values()))
        if count:
            log.warning("the store had lost %s files that this node still had; it has them again", f"{count:,}")
        return count
