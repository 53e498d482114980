"""Giving the store back what it lost: files of programs that this client uploaded, while it waits for their jobs.

Not here: what the store lost and how it noticed (the store's business), nodes that still have it (the nodes').
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from discomputify_core.edge import clock
from discomputify_core.edge.trees import Scan
from discomputify_core.errors import DiscomputifyError
from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.ids import ProcessId

log = logging.getLogger("discomputify.client")

#: Seconds between two questions.
GAP = 15.0


class Returning:
    """What this client can bring again.

    Args:
        store: gives the store's client side.
    """

    def __init__(self, store: Callable[[], FileStore]) -> None:
        self._store = store
        self._brought: dict[ProcessId, Scan] = {}

    def brought(self, process_id: ProcessId, scan: Scan) -> None:
        """*scan* is what a job was submitted with."""
        self._brought[process_id] = scan

    @contextlib.asynccontextmanager
    async def ready(self, process_id: ProcessId) -> AsyncIterator[None]:
        """While inside, what the store lost of the job is brought again, if this client brought it."""
        scan = self._brought.get(process_id)
        if scan is None:
            yield
            return
        looking = asyncio.ensure_future(self._look(process_id, scan))
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _look(self, process_id: ProcessId, scan: Scan) -> None:
        while True:
            await asyncio.sleep(clock.jittered(GAP))
            try:
                await self._once(process_id, scan)
            except DiscomputifyError as error:  # a store that is away, a file that changed: others may have it
                log.debug("the store was not given what it misses: %s", error)

    async def _once(self, process_id: ProcessId, scan: Scan) -> None:
        wanted = set(await self._store().wanted())
        blobs = [blob for blob in scan.blobs if blob.digest in wanted]
        if blobs:
            await self._store().put(process_id, blobs)
            log.warning("the store had lost %s files that are still here; it has them again", f"{len(blobs):,}")
