"""Plugins that watch events: told off the master's loop, through a bounded queue."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence

from discomputify_core.model.events import Event
from discomputify_core.plugins.manager import Plugins

log = logging.getLogger("discomputify.observers")

#: Batches that may wait for slow observers; more are dropped and counted.
MAX_WAITING = 1000


def observe_with(plugins: Plugins) -> Callable[[Sequence[Event]], None] | None:
    """What shows a batch to every plugin that watches, last registered first; None if none does.

    A plugin that raises is logged with its name, and the others see the batch all the same.
    """
    watching = plugins.hook.discomputify_on_events.get_hookimpls()[::-1]

    def observe(batch: Sequence[Event]) -> None:
        for each in watching:
            try:
                each.function(*([batch] if each.argnames else []))
            except Exception:  # an observer's fault is its own
                origin = plugins.origin(each.plugin_name)
                log.exception("the observer of the plugin '%s' (%s) failed", origin.plugin, origin)

    return observe if watching else None


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
