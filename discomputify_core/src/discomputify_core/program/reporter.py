"""Sends progress seldom and never gets in the program's way. Loaded by the first call of ``progress``."""

from __future__ import annotations

import atexit
import os
import threading
import time

from discomputify_core.program.agent import tell

#: Seconds between two reports.
GAP = 0.2
#: Seconds of silence after a report that could not be delivered.
PAUSE = 5.0


class Reporter:
    """Keeps the newest report and sends it when the time has come."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew: in a forked child, the lock and timer of the parent mean nothing."""
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._newest: tuple[float, str] | None = None
        self._next = 0.0

    def report(self, fraction: float, note: str) -> None:
        """Send this report now, or soon unless a newer one comes."""
        with self._lock:
            self._newest = (fraction, note)
            wait = self._next - time.monotonic()
            if wait > 0:
                self._wake_in(wait)
                return
        self.flush()

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            return
        timer = threading.Timer(seconds, self.flush)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            return  # the interpreter is ending: flush() at exit sends it
        self._timer = timer

    def flush(self) -> None:
        """Send the newest report, if it has not been sent."""
        with self._lock:
            self._timer = None
            newest, self._newest = self._newest, None
            self._next = time.monotonic() + GAP
        if newest is None:
            return
        try:
            tell("progress", {"fraction": newest[0], "note": newest[1]})
        except OSError:
            self._next = time.monotonic() + PAUSE

    def settle(self) -> None:
        """Be without a thread before the program forks: a child must not inherit locks that one holds."""
        timer = self._timer
        if timer is not None:
            timer.cancel()
            timer.join(PAUSE)
            self.flush()


REPORTER = Reporter()
atexit.register(REPORTER.flush)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=REPORTER.settle, after_in_child=REPORTER.forget)
