"""Plugins that watch events: told off the master's loop, through a bounded queue."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence

from discomputify_core.model.events import Event

log = logging.getLogger("discomputify.observers")

#: Batches that may wait for slow observers; more are dropped and counted.
MAX_WAITING = 1000


class Observers:
    """Calls *observe* with each batch in a thread of its own.

    A slow observer misses batches, a raising one is logged; neither reaches the master.
    """

    def __init__(self, observe: Callable[[Sequence[Event]], None]) -> None:
        self._observe = observe
        self._queue: queue.Queue[Sequence[Event] | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="observers", daemon=True)
        self.missed = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, batch: Sequence[Event]) -> None:
        """Pass *batch* on, or drop and count it if observers are too slow."""
        try:
            self._queue.put_nowait(batch)
        except queue.Full:
            self.missed += 1
            if self.missed & (self.missed - 1) == 0:
                log.warning("observers are too slow: %d batches of events were not shown to them", self.missed)

    def close(self) -> None:
        """Let the thread see what waits, for at most two seconds, and end it."""
        try:
            self._queue.put(None, timeout=2.0)
        except queue.Full:
            return
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            try:
                self._observe(batch)
            except Exception:  # an observer's fault is its own
                log.exception("an observer failed")
