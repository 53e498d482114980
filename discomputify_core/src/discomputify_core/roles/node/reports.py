"""What a computing node has to tell its master, kept until the master has it.

Here: collecting and handing over, in order, in batches. Not here: what happened (computing.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from discomputify_core.errors import DiscomputifyError
from discomputify_core.model.ids import AttemptId
from discomputify_core.model.job import Outcome
from discomputify_core.model.message import Progress, Report

log = logging.getLogger("discomputify.node")

#: Most outcomes in one message.
BATCH = 256
#: Seconds between two tries to hand over what the master did not take.
AGAIN = 1.0


class Reports:
    """A queue of reports with one sender.

    Args:
        send: hands one report to the master; raises if it did not arrive.
    """

    def __init__(self, send: Callable[[Report], Awaitable[None]]) -> None:
        self._send = send
        self._started: list[AttemptId] = []
        self._progress: dict[AttemptId, Progress] = {}
        self._ended: dict[AttemptId, Outcome] = {}
        self._something = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def unsent(self) -> tuple[AttemptId, ...]:
        """Attempts whose end the master does not know yet."""
        return tuple(self._ended)

    def started(self, attempt: AttemptId) -> None:
        """A part's program runs."""
        self._started.append(attempt)
        self._wake()

    def progress(self, progress: Progress) -> None:
        """A part said how far it is; only the newest word of each counts."""
        self._progress[progress.attempt] = progress
        self._wake()

    def ended(self, outcome: Outcome) -> None:
        """An attempt ended."""
        self._ended[outcome.attempt] = outcome
        self._wake()

    def forget(self, attempt: AttemptId) -> None:
        """The master does not want to hear of *attempt* any more."""
        self._ended.pop(attempt, None)

    def _wake(self) -> None:
        self._something.set()
        self._empty.clear()

    async def run(self) -> None:
        """Hand over whatever there is, until cancelled."""
        while True:
            await self._something.wait()
            self._something.clear()
            report = self._take()
            while True:
                try:
                    await self._send(report)
                    break
                except DiscomputifyError as error:
                    log.warning("the master did not take a report: %s", error)
                    await asyncio.sleep(AGAIN)
            for outcome in report.ended:
                self._ended.pop(outcome.attempt, None)
            if self._ended or self._started or self._progress:
                self._something.set()
            else:
                self._empty.set()

    def _take(self) -> Report:
        report = Report(tuple(self._started), tuple(self._progress.values()), tuple(self._ended.values())[:BATCH])
        self._started, self._progress = [], {}
        return report

    async def drained(self, timeout: float) -> bool:
        """Wait until the master has everything, for at most *timeout* seconds; whether it has."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        return True
