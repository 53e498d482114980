"""Signs of life of a computing node: every few seconds the master hears how busy it is, and what it holds.

Here: when a beat is sent and what is in it. Not here: how load is measured (load.py), who is connected (computing.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from discomputify_core.edge.calls import Peer
from discomputify_core.errors import DiscomputifyError, DiskError
from discomputify_core.model.codec import to_plain
from discomputify_core.model.message import Beat
from discomputify_core.model.node import NodeLoad
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.load import LoadMeter

log = logging.getLogger("discomputify.node")

#: Shortest and longest time between two beats, whatever the master says.
BEATS = (0.2, 3600.0)
#: Seconds for a beat to be heard.
TELL = 60.0
#: Seconds that a beat waits for the machine to say how busy it is.
LOOK = 1.0
#: Most jobs whose held bytes a beat tells, those that hold most.
MAX_HELD = 500
#: Bytes that the cache gives up with each beat while its disk is short.
CACHE_STEP = 1_000_000_000


class Heart:
    """Beats for as long as it runs.

    Args:
        peer: gives the master while there is a connection to it.
        work: where the work folders are.
        cache: the node's.
    """

    def __init__(self, peer: Callable[[], Peer | None], work: Path, cache: BlobCache) -> None:
        self._peer = peer
        self._cache = cache
        self._meter = LoadMeter((work, cache.folder))
        self._every = 2.0
        self._load = NodeLoad()
        self._looking: asyncio.Future[NodeLoad] | None = None
        self._freeing: asyncio.Future[None] | None = None

    def beat_every(self, seconds: float) -> None:
        """Beat so often from now on."""
        self._every = min(max(seconds, BEATS[0]), BEATS[1])

    async def run(self) -> None:
        """Beat, until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            await self._look()
            peer = self._peer()
            if peer is None:
                continue
            held = sorted(self._cache.holdings().items(), key=lambda each: each[1], reverse=True)
            try:
                await peer.call("node.beat", to_plain(Beat(self._load, tuple(held[:MAX_HELD]))), timeout=TELL)
            except DiscomputifyError as error:
                log.debug("a beat was not heard: %s", error)

    async def _look(self) -> None:
        """Measure; a disk that hangs makes the measure old, and the node not silent."""
        if self._looking is None:
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._meter.load))
        await asyncio.wait([self._looking], timeout=LOOK)
        if not self._looking.done():
            return
        looked, self._looking = self._looking, None
        load = looked.result()
        if bool(load.paused) != bool(self._load.paused):
            log.warning("%s", f"no new parts: {load.paused}" if load.paused else "there is room for new parts again")
        self._load = load
        if self._cache.folder in self._meter.short and (self._freeing is None or self._freeing.done()):
            self._freeing = asyncio.ensure_future(asyncio.to_thread(self._make_room))

    def _make_room(self) -> None:
        """The cache is the first to give room where its disk is short."""
        try:
            freed = self._cache.make_room(CACHE_STEP)
        except DiskError as error:
            log.warning("%s", error)
            return
        if freed:
            log.info("%s bytes of files that nobody needs just now left the cache: its disk is short", f"{freed:,}")
