"""One attempt inside the runner process: start, capture, wait, end what is left over, report.

::

    running --main process ends--> draining --streams end, or 1 s--> clearing --nobody left--> reported

Not here: messages (runner_process.py), how processes are found (runner_tree*.py).
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

from discomputify_core.roles.runner.capture import Capture
from discomputify_core.roles.runner.cgroup import Groups
from discomputify_core.roles.runner.limits import Guard, Limits
from discomputify_core.roles.runner.loop import Ended, Loop, Stream, Timer
from discomputify_core.roles.runner.tree import ATTEMPT_MARK, RUNNER_MARK, SIGKILL, SIGTERM, Claim, Tree

#: A process that outlives the main one may go on writing for so long.
DRAIN_SECONDS = 1.0
#: Killed processes are gone at once, unless the kernel itself is stuck on them.
CLEAR_SECONDS = 2.0
_CLEAR_ROUND_SECONDS = 0.005
#: The streams' ends arrive right after the last writer is gone.
_END_SECONDS = 0.2

#: Limits of processes, memory and open files.
_MACHINE_ERRORS = frozenset([errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE])


class CannotStart(Exception):
    """A program cannot be started: whose fault (``program``, ``folder``, ``log``, ``arguments``, ``machine``)."""

    def __init__(self, fault: str, what: str, path: str) -> None:
        super().__init__(what)
        self.fault = fault
        self.what = what
        self.path = path


class Order(NamedTuple):
    """What to run, as it came from the node: see :class:`~discomputify_core.roles.runner.launch.Launch`."""

    attempt: str
    argv: list[str]
    cwd: str
    env: dict[str, str]
    out: str
    err: str
    cap: int
    time_limit: float = 0.0
    memory_limit: int = 0


class Part:
    """One attempt.

    Args:
        loop, tree: of the runner.
        order: what to run.
        token: the runner's own mark in the environment.
        others: gives the claims of all attempts besides this one.
        on_report: called once with the facts of the end, when no process of the attempt is left.
        groups: makes control groups in which the kernel keeps limits, where it may.

    Raises:
        CannotStart: nothing runs.
    """

    def __init__(
        self,
        loop: Loop,
        tree: Tree,
        order: Order,
        token: str,
        others: Callable[[Part], Collection[Claim]],
        on_report: Callable[[Part, dict[str, Any]], None],
        groups: Groups | None = None,
    ) -> None:
        self._loop = loop
        self._tree = tree
        self._others = others
        self._on_report = on_report
        self._stopped = False
        self._kill_sent = False
        self._ended: Ended | None = None
        self._ended_at = 0.0
        self._timer: Timer | None = None
        self._stop_timer: Timer | None = None
        self._clearing_until = 0.0
        self._killed: set[int] = set()
        self._captures = _open_captures(order)
        self._streams: list[Stream] = []
        try:
            process = self._start(order, token)
        except BaseException:
            for capture in self._captures:
                capture.close()
            raise
        self.started_at = time.time()
        self.claim = Claim(order.attempt, process.pid, tree.born(process.pid))
        self._guard = Guard(
            loop, tree, self.claim, Limits(order.time_limit, order.memory_limit), self._mine, self._over
        )
        self._guard.start(groups)
        loop.watch(process, self._main_ended)

    def stop(self, grace: float) -> None:
        """Ask all processes to end, and kill what is left after *grace* seconds. The shortest grace counts."""
        if self._stop_timer is not None:
            if self._stop_timer.when <= time.monotonic() + grace:
                return
            self._stop_timer.cancel()
        elif self._ended is None:
            self._stopped = True
            self._ask_to_end()
        self._stop_timer = self._loop.after(grace, self._kill)

    def _over(self, grace: float) -> None:
        """A limit was reached."""
        if self._stop_timer is None and self._ended is None:
            self._ask_to_end()
            self._stop_timer = self._loop.after(grace, self._kill)

    def _ask_to_end(self) -> None:
        mine = self._mine()
        self._guard.look(mine)  # what is ended now is not waited for by its parents, and would not be counted
        self._tree.send(mine, SIGTERM)

    # --- starting ---------------------------------------------------------------------------------------------

    def _start(self, order: Order, token: str) -> subprocess.Popen[bytes]:
        pipes: list[tuple[int, int]] = []
        try:
            pipes.append(os.pipe())
            pipes.append(os.pipe())
            process = _popen(order, token, pipes[0][1], pipes[1][1])
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            for read_end, _ in pipes:
                os.close(read_end)
            raise _explain(error, order) from error
        finally:
            for _, write_end in pipes:
                os.close(write_end)
        for capture, (read_end, _) in zip(self._captures, pipes, strict=True):
            self._streams.append(self._loop.read(read_end, self._writer(capture)))
        return process

    def _writer(self, capture: Capture) -> Callable[[bytes], None]:
        def on_data(data: bytes) -> None:
            if data:
                capture.write(data)
            elif self._ended is not None:
                self._look()

        return on_data

    # --- ending -----------------------------------------------------------------------------------------------

    def _main_ended(self, ended: Ended) -> None:
        self._ended = ended
        self._ended_at = time.time()
        self.claim.alive = False
        self._guard.main_ended()
        self._timer = self._loop.after(_END_SECONDS if self._kill_sent else DRAIN_SECONDS, self._clear)
        self._look()

    def _look(self) -> None:
        """Go on if the streams are at their end."""
        if any(stream.open for stream in self._streams):
            return
        if not self._clearing_until:
            self._clear()
        elif not self._mine():
            self._report()

    def _kill(self) -> None:
        """The time to end by itself is over."""
        self._kill_sent = True
        self._tree.send(self._mine(), SIGKILL)
        if self._ended is not None and not self._clearing_until:
            self._clear()

    def _clear(self) -> None:
        """Kill what is left, look again soon, and report when nothing is."""
        now = time.monotonic()
        if not self._clearing_until:
            self._clearing_until = now + CLEAR_SECONDS
        left = self._mine()
        if left and now < self._clearing_until:
            if not self._killed:
                self._guard.look(left)
            self._killed |= left
            self._tree.send(left, SIGKILL)
            self._again(_CLEAR_ROUND_SECONDS, self._clear)
            return
        if left:
            sys.stderr.write(f"Processes of attempt {self.claim.attempt} cannot be ended: {sorted(left)}.\n")
        if any(stream.open for stream in self._streams):
            self._again(_END_SECONDS, self._report)
        else:
            self._report()

    def _again(self, seconds: float, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.after(seconds, callback)

    def _mine(self) -> set[int]:
        return self._tree.belonging(self.claim, self._others(self))

    def _report(self) -> None:
        assert self._ended is not None
        for timer in (self._timer, self._stop_timer):
            if timer is not None:
                timer.cancel()
        for stream in self._streams:
            self._loop.drop(stream)
        out, err = self._captures
        out.close()
        err.close()
        guard = self._guard
        guard.close()
        facts: dict[str, Any] = {
            "code": self._ended.code,
            "signal": self._ended.signal,
            "stopped": self._stopped,
            "out_bytes": out.total,
            "err_bytes": err.total,
            "stderr_tail": err.last_lines(),
            "log_fault": out.fault or err.fault,
            "started_at": self.started_at,
            "ended_at": self._ended_at,
            "leftovers": len(self._killed),
            "cpu_seconds": max(self._ended.cpu_seconds, guard.seen.cpu_seconds),
            "peak_rss": max(self._ended.peak_rss, guard.seen.memory),
            "limit": "" if self._stopped else guard.limit,
            "over": guard.over,
        }
        self._on_report(self, facts)


def _open_captures(order: Order) -> tuple[Capture, Capture]:
    opened: list[Capture] = []
    for path, keep_lines in ((order.out, False), (order.err, True)):
        try:
            opened.append(Capture(path, order.cap, keep_lines=keep_lines))
        except OSError as error:
            for capture in opened:
                capture.close()
            fault = "machine" if error.errno in _MACHINE_ERRORS else "log"
            raise CannotStart(fault, error.strerror or str(error), path) from error
    return opened[0], opened[1]


def _popen(order: Order, token: str, out: int, err: int) -> subprocess.Popen[bytes]:
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows only
    return subprocess.Popen(
        order.argv,
        cwd=order.cwd,
        env={**order.env, ATTEMPT_MARK: order.attempt, RUNNER_MARK: token},
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        start_new_session=True,
        creationflags=flags,
    )


def _explain(error: Exception, order: Order) -> CannotStart:
    what = (isinstance(error, OSError) and error.strerror) or str(error)
    if not isinstance(error, OSError) or error.errno == errno.E2BIG:
        return CannotStart("arguments", what, order.argv[0])
    if error.errno in _MACHINE_ERRORS:
        return CannotStart("machine", what, order.argv[0])
    if not Path(order.cwd).is_dir() or error.filename == order.cwd:
        return CannotStart("folder", what, order.cwd)
    return CannotStart("program", what, order.argv[0])
