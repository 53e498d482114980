"""Those who wait for the next change of a job."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from discomputify_core.edge import clock
from discomputify_core.model.ids import ProcessId


class Watchers:
    """Futures by job, woken together."""

    def __init__(self) -> None:
        self._waiting: dict[ProcessId, set[asyncio.Future[None]]] = defaultdict(set)

    def wake(self, process_id: ProcessId) -> None:
        """The job changed."""
        for future in self._waiting.pop(process_id, ()):
            if not future.done():
                future.set_result(None)

    async def wait(self, process_id: ProcessId, timeout: float) -> None:
        """Return when the job changes, or after *timeout* seconds."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[process_id].add(future)
        try:
            await asyncio.wait([future], timeout=timeout)
        finally:
            future.cancel()
            waiting = self._waiting.get(process_id)
            if waiting is not None:
                waiting.discard(future)
                if not waiting:
                    del self._waiting[process_id]

    async def until(self, process_id: ProcessId, true: Callable[[], bool], timeout: float) -> bool:
        """Whether *true* is so, or becomes so by changes of the job within *timeout* seconds; it may raise."""
        deadline = clock.now() + timeout
        while not true():
            left = deadline - clock.now()
            if left <= 0:
                return False
            await self.wait(process_id, left)
        return True
