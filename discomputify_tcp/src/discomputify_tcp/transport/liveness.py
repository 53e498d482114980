"""Signs of life: a ping when this side has been quiet, the end when the peer has. Not here: what ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from discomputify_tcp.transport.wire import Wire


class Liveness:
    """Watches one connection until stopped.

    Args:
        timeout: seconds of silence that end a connection; a third of it without sending brings a ping.
        ping: sends one.
        silent: called once when the peer has been silent for too long.
    """

    def __init__(self, wire: Wire, timeout: float, ping: Callable[[], None], silent: Callable[[], None]) -> None:
        self._wire = wire
        self._timeout = timeout
        self._ping = ping
        self._silent = silent
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._schedule(self._loop.time() + timeout / 3)

    def stop(self) -> None:
        """Watch no longer. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, when: float) -> None:
        self._due = when
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        now, third = self._loop.time(), self._timeout / 3
        # What this process did not read, because it was stopped or its owner is slow, is not the peer's silence.
        if self._wire.stalled or now - self._due > third:
            self._wire.heard_at = now
        if now - self._wire.heard_at >= self._timeout:
            self._timer = None
            self._silent()
            return
        if now - self._wire.sent_at >= third:
            self._ping()
        ping_at = self._wire.sent_at + third
        self._schedule(min(self._wire.heard_at + self._timeout, ping_at if ping_at > now else now + third))
