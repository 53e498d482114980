"""The runner's event loops: bytes from pipes, ends of processes, and timers, as callbacks in one thread.

:class:`SelectLoop` is a single thread (so that the process may fork) and serves POSIX. :class:`ThreadLoop` reads
with blocking threads, because Windows cannot wait for pipes; callbacks still run in one thread, one at a time.
Not here: what the callbacks do.
"""

from __future__ import annotations

import heapq
import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

_READ_BYTES = 64 * 1024
#: Systems refuse to wait for weeks at once.
_LONGEST_WAIT = 3600.0


class Ended(NamedTuple):
    """How a process ended: exit code or signal number, seconds of CPU and most memory (0 where unknown)."""

    code: int
    signal: int
    cpu_seconds: float = 0.0
    peak_rss: int = 0


OnData = Callable[[bytes], None]
OnEnd = Callable[[Ended], None]


class Timer:
    """A callback that runs once, later, unless cancelled."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        """Do not run it. Idempotent."""
        self.callback = None


class Stream:
    """A file descriptor that is read until its end, or until it is dropped. The loop closes it."""

    def __init__(self, fd: int, on_data: OnData) -> None:
        self.fd = fd
        self.on_data = on_data
        self.open = True


class Loop(ABC):
    """What the runner needs of a loop."""

    def __init__(self) -> None:
        self._timers: list[Timer] = []

    @abstractmethod
    def read(self, fd: int, on_data: OnData) -> Stream:
        """Call *on_data* with every piece that *fd* gives; with ``b""`` at its end, once."""

    @abstractmethod
    def drop(self, stream: Stream) -> None:
        """Read no more of *stream*; its callback is not called again. Idempotent."""

    @abstractmethod
    def watch(self, process: subprocess.Popen[bytes], on_end: OnEnd) -> None:
        """Call *on_end* once *process* has ended. To be called right after it was started."""

    @abstractmethod
    def run(self) -> None:
        """Run callbacks for ever."""

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call *callback* in *seconds*."""
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def _run_timers(self) -> float | None:
        """Run what is due; seconds until the next timer, or for which to wait at most; None without one."""
        while self._timers:
            timer = self._timers[0]
            wait = timer.when - time.monotonic()
            if timer.callback is not None and wait > 0:
                return min(wait, _LONGEST_WAIT)
            heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        return None


class SelectLoop(Loop):
    """POSIX: one thread; ends of processes arrive through SIGCHLD. Reaps every child, also adopted ones."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = selectors.DefaultSelector()
        self._watched: dict[int, tuple[subprocess.Popen[bytes], OnEnd]] = {}
        wake, woken = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(wake, selectors.EVENT_READ, partial(self._reap, wake))

    def read(self, fd: int, on_data: OnData) -> Stream:
        """See :meth:`Loop.read`."""
        stream = Stream(fd, on_data)
        self._selector.register(fd, selectors.EVENT_READ, partial(self._readable, stream))
        return stream

    def drop(self, stream: Stream) -> None:
        """See :meth:`Loop.drop`."""
        if stream.open:
            stream.open = False
            self._selector.unregister(stream.fd)
            os.close(stream.fd)

    def watch(self, process: subprocess.Popen[bytes], on_end: OnEnd) -> None:
        """See :meth:`Loop.watch`."""
        self._watched[process.pid] = (process, on_end)

    def run(self) -> None:
        """See :meth:`Loop.run`."""
        while True:
            for key, _ in self._selector.select(self._run_timers()):
                key.data()

    def _readable(self, stream: Stream) -> None:
        # An earlier callback of the same round may have dropped it, and its number may be in use again.
        if not stream.open:
            return
        data = os.read(stream.fd, _READ_BYTES)
        if not data:
            self.drop(stream)
        stream.on_data(data)

    def _reap(self, wake: int) -> None:
        os.read(wake, _READ_BYTES)
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid not in self._watched:
                continue  # an adopted descendant of some part
            process, on_end = self._watched.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            process.returncode = code  # it was reaped here, so Popen must not try to
            rss = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            on_end(Ended(max(code, 0), max(-code, 0), usage.ru_utime + usage.ru_stime, rss))


class ThreadLoop(Loop):
    """One thread per pipe and per process; pieces wait in a bounded queue, so memory stays bounded too."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: queue.Queue[Callable[[], None]] = queue.Queue(maxsize=128)

    def read(self, fd: int, on_data: OnData) -> Stream:
        """See :meth:`Loop.read`."""
        stream = Stream(fd, on_data)
        threading.Thread(target=self._pump, args=(stream,), daemon=True).start()
        return stream

    def drop(self, stream: Stream) -> None:
        """See :meth:`Loop.drop`. The thread closes the pipe when its read returns."""
        stream.open = False

    def watch(self, process: subprocess.Popen[bytes], on_end: OnEnd) -> None:
        """See :meth:`Loop.watch`."""

        def wait() -> None:
            code = process.wait()
            # Windows' exit codes use all 32 bits; only POSIX reports signals as negative ones.
            by_signal = code < 0 and sys.platform != "win32"
            self._queue.put(partial(on_end, Ended(0, -code) if by_signal else Ended(code, 0)))

        threading.Thread(target=wait, daemon=True).start()

    def run(self) -> None:
        """See :meth:`Loop.run`."""
        while True:
            try:
                callback = self._queue.get(timeout=self._run_timers())
            except queue.Empty:
                continue
            callback()

    def _pump(self, stream: Stream) -> None:
        while stream.open:
            try:
                data = os.read(stream.fd, _READ_BYTES)
            except OSError:
                data = b""  # Windows reports the end of a pipe as an error
            self._queue.put(partial(self._deliver, stream, data))
            if not data:
                break
        os.close(stream.fd)

    def _deliver(self, stream: Stream, data: bytes) -> None:
        if not stream.open:
            return
        stream.open = bool(data)
        stream.on_data(data)
