"""A computing node's runner, as the node sees it: programs of parts start, end and are stopped.

The work is done in a process of its own (runner_process.py), so that parts end with their node however that
ends, and so that nothing a program does can hurt the node's event loop.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from discomputify_core.errors import DiscomputifyError, OurBug
from discomputify_core.model.ids import AttemptId
from discomputify_core.roles.runner.launch import DEFAULT_CAP, Exit, Launch, order_of, refusal
from discomputify_core.roles.runner.link import Link
from discomputify_core.roles.runner.wire import MessageTooLong

__all__ = ["DEFAULT_CAP", "Exit", "Launch", "Runner"]

#: Starting a program takes a millisecond; a runner that needs longer than this hangs and is replaced.
ANSWER_SECONDS = 30.0
#: What the runner needs at most besides the grace to end an attempt.
STOP_SECONDS = 4.0


class _Attempt:
    """One attempt that the runner was asked to run."""

    def __init__(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        self.link = link
        self.started: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[Exit] = loop.create_future()
        self.started_at = 0.0
        #: Nobody will wait for its end.
        self.abandoned = False


class Runner:
    """Runs programs. Everything is called from one event loop.

    Args:
        threads: how the runner process waits for pipes; the default suits the system.
    """

    def __init__(self, *, threads: bool = sys.platform == "win32") -> None:
        self._threads = threads
        self._link: Link | None = None
        self._starting = asyncio.Lock()
        self._attempts: dict[AttemptId, _Attempt] = {}
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """The runner's own processes: its keeper if it has one, and the runner; () while none runs."""
        return self._link.pids if self._link is not None and not self._link.lost else ()

    async def start(self) -> None:
        """Start the runner process, unless it runs.

        Raises:
            DiscomputifyError: it does not start.
        """
        await self._running_link()

    async def run(self, launch: Launch) -> int:
        """Start a program; :meth:`wait` gives its end. A runner process that was lost is replaced.

        Returns:
            The pid of its main process.

        Raises:
            BadConf: the interpreter cannot be started.
            DiskError: the work folder or a log file cannot be used.
            BadInput: arguments and environment are too long, or cannot be given to a program.
            DiscomputifyError: the machine cannot start another process, or the runner process was lost.
        """
        link = await self._running_link()
        if launch.attempt in self._attempts:
            raise OurBug(f"The attempt {launch.attempt} was started twice.", attempt=launch.attempt)
        attempt = self._attempts[launch.attempt] = _Attempt(link)
        try:
            link.send({"do": "run", "order": order_of(launch)})
            return await asyncio.wait_for(asyncio.shield(attempt.started), ANSWER_SECONDS)
        except asyncio.TimeoutError:
            self._attempts.pop(launch.attempt, None)
            link.kill()
            raise DiscomputifyError("The process that runs parts does not answer; it is replaced.") from None
        except MessageTooLong as error:
            del self._attempts[launch.attempt]
            raise refusal("arguments", str(error), launch.argv[0]) from error
        except asyncio.CancelledError:
            self._abandon(launch.attempt, attempt)
            raise

    async def wait(self, attempt: AttemptId) -> Exit:
        """The end of an attempt that was started, once; then it is forgotten.

        Comes when the program, and all that it left behind, has ended; or when the runner process is lost.
        """
        entry = self._attempts.get(attempt)
        if entry is None:
            raise OurBug(f"The attempt {attempt} does not run here.", attempt=attempt)
        ended = await asyncio.shield(entry.ended)
        self._attempts.pop(attempt, None)
        return ended

    async def stop(self, attempt: AttemptId, grace: float = 2.0) -> None:
        """End all processes of an attempt; returns when they are gone. :meth:`wait` still gives its end.

        Args:
            grace: seconds between the request to end (SIGTERM) and the kill. On Windows there is no request.

        An attempt that has ended already, or is unknown, is no error.
        """
        entry = self._attempts.get(attempt)
        if entry is None:
            return
        entry.link.send({"do": "stop", "attempt": attempt, "grace": grace})
        done, _ = await asyncio.wait([entry.ended], timeout=grace + STOP_SECONDS)
        if not done:
            entry.link.kill()
            await asyncio.wait([entry.ended], timeout=ANSWER_SECONDS)

    async def close(self) -> None:
        """Stop all attempts and end the runner process. Idempotent."""
        self._closed = True
        async with self._starting:
            link = self._link
        if link is None or link.lost:
            return
        await asyncio.gather(*(self.stop(attempt) for attempt in list(self._attempts)))
        await link.close()

    async def _running_link(self) -> Link:
        async with self._starting:
            if self._closed:
                raise OurBug("A part was to be started on a node that has been closed.")
            if self._link is None or self._link.lost:
                link = Link(self._on_message, self._on_lost, threads=self._threads)
                await link.open()
                self._link = link
            return self._link

    def _abandon(self, attempt: AttemptId, entry: _Attempt) -> None:
        """Whoever started it went away: end it and forget it."""
        entry.abandoned = True
        if entry.ended.done():
            self._attempts.pop(attempt, None)
        entry.link.send({"do": "stop", "attempt": attempt, "grace": 0.0})

    def _on_message(self, message: dict[str, Any]) -> None:
        attempt = AttemptId(message["attempt"])
        entry = self._attempts.get(attempt)
        if entry is None:
            return
        if message["is"] == "started":
            entry.started_at = message["at"]
            _settle(entry.started, message["pid"])
        elif message["is"] == "refused":
            self._attempts.pop(attempt)
            _fail(entry.started, refusal(message["fault"], message["what"], message["path"]))
        else:
            self._end(attempt, entry, Exit(attempt=attempt, **message["exit"]))

    def _on_lost(self, link: Link, why: str) -> None:
        for attempt, entry in list(self._attempts.items()):
            if entry.link is not link or entry.ended.done():
                continue
            if not entry.started.done():
                self._attempts.pop(attempt)
                _fail(entry.started, DiscomputifyError(why))
            now = time.time()
            self._end(attempt, entry, Exit(attempt, broken=why, started_at=entry.started_at, ended_at=now))

    def _end(self, attempt: AttemptId, entry: _Attempt, ended: Exit) -> None:
        _settle(entry.ended, ended)
        if entry.abandoned:
            self._attempts.pop(attempt, None)


def _settle(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # read here once: whoever waited may be gone
