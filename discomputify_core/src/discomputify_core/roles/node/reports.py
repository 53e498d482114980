"""What a computing node has to tell its master, kept until the master has it.

Here: collecting and handing over, in order, in batches that fit into a message; what becomes of a report that the
master cannot take. Not here: what happened (computing.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import attrs

from discomputify_core.edge.deadline import within
from discomputify_core.edge.weights import batches
from discomputify_core.errors import ChannelClosed, DiscomputifyError, Refused, Unreachable
from discomputify_core.model.ids import AttemptId
from discomputify_core.model.job import End, Outcome
from discomputify_core.model.message import Kept, Progress, Report, StartOver, UsesMemory

log = logging.getLogger("discomputify.node")

T = TypeVar("T")

#: Most things of each kind in one message.
BATCH = 256
#: Most jobs in one message that have to start over.
FEW = 16
#: Seconds between two tries to hand over what did not arrive.
AGAIN = 1.0
#: Most characters of a sentence, and of the end of stderr (death.py keeps whole lines of it).
MAX_REASON, MAX_TAIL = 2000, 8000
#: Most characters of the name of a table of shared memory.
MAX_TABLE = 200
#: Most paths of stray files, and characters of each.
MAX_STRAYS, MAX_PATH = 20, 1024

REFUSED = "was run, but the master could not take the report of how it ended (the node's log says more)"


class Reports:
    """A queue of reports with one sender.

    Args:
        send: hands one report to the master; raises if it did not arrive, or was not taken.
        on_told: called with each end of an attempt that the master knows of now.
    """

    def __init__(
        self, send: Callable[[Report], Awaitable[None]], on_told: Callable[[Outcome], None] = lambda outcome: None
    ) -> None:
        self._send = send
        self._on_told = on_told
        self._started: list[AttemptId] = []
        self._uses_memory: dict[AttemptId, UsesMemory] = {}
        self._start_over: dict[AttemptId, StartOver] = {}
        self._progress: dict[AttemptId, Progress] = {}
        self._kept: dict[AttemptId, Kept] = {}
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

    def uses_memory(self, attempt: AttemptId, table: str) -> None:
        """A part uses shared memory, in *table* as far as is known; the newest word counts."""
        self._uses_memory[attempt] = UsesMemory(attempt, _text(table, MAX_TABLE))
        self._wake()

    def start_over(self, attempt: AttemptId, reason: str) -> None:
        """What a part needs of shared memory is gone; the first reason counts."""
        self._start_over.setdefault(attempt, StartOver(attempt, _text(reason, MAX_REASON)))
        self._wake()

    def progress(self, progress: Progress) -> None:
        """A part said how far it is; only the newest word of each counts."""
        self._progress[progress.attempt] = attrs.evolve(
            progress, note=_text(progress.note, MAX_REASON), waiting=_text(progress.waiting, MAX_REASON)
        )
        self._wake()

    def kept(self, attempt: AttemptId, manifest: str) -> None:
        """A checkpoint of a part is in the store; only the newest of each counts."""
        self._kept[attempt] = Kept(attempt, manifest)
        self._wake()

    def ended(self, outcome: Outcome) -> None:
        """An attempt ended."""
        self._ended[outcome.attempt] = modest(outcome)
        self._wake()

    def forget(self, attempt: AttemptId) -> None:
        """The master does not want to hear of *attempt* any more."""
        self._ended.pop(attempt, None)
        self._progress.pop(attempt, None)
        self._kept.pop(attempt, None)
        self._uses_memory.pop(attempt, None)
        self._start_over.pop(attempt, None)
        self._started = [each for each in self._started if each != attempt]

    def _wake(self) -> None:
        self._something.set()
        self._empty.clear()

    async def run(self) -> None:
        """Hand over whatever there is, until cancelled."""
        while True:
            await self._something.wait()
            self._something.clear()
            report = self._take()
            if report != Report():
                await self._hand_over(report)
            for outcome in report.ended:
                if self._ended.pop(outcome.attempt, None) is not None:
                    self._on_told(outcome)
            if self._ended or self._progress or self._earlier:
                self._something.set()
            else:
                self._empty.set()

    @property
    def _earlier(self) -> bool:
        """Whether there is something that has to be known before progress and ends are."""
        return bool(self._started or self._uses_memory or self._start_over or self._kept)

    def _take(self) -> Report:
        started, self._started = self._started[:BATCH], self._started[BATCH:]
        uses = () if self._started else _first(self._uses_memory)
        over = () if self._started or self._uses_memory else _first(self._start_over, FEW)
        newest = _first(self._progress)
        kept = () if self._started else _first(self._kept)
        # The rest before ends: what did not fit comes with the next report.
        ended = () if self._earlier else next(batches(list(self._ended.values())[:BATCH]), ())
        return Report(tuple(started), uses, over, newest, tuple(ended), kept)

    async def _hand_over(self, report: Report) -> None:
        """Send until it has arrived. What the master cannot take comes in pieces, so that one stops nothing else."""
        while True:
            try:
                await self._send(report)
                return
            except (Unreachable, ChannelClosed, Refused) as error:  # of this connection, and another may do
                log.warning("the master was not reached with a report: %s", error)
                await asyncio.sleep(AGAIN)
            except DiscomputifyError:
                log.exception("the master cannot take a report")
                break
        pieces = list(_pieces(report))
        if pieces == [report]:
            pieces = [poorer for poorer in _poorer(report) if poorer != report]
        for piece in pieces:
            await self._hand_over(piece)

    async def drained(self, timeout: float) -> bool:
        """Wait until the master has everything, for at most *timeout* seconds; whether it has."""
        try:
            await within(timeout, self._empty.wait())
        except asyncio.TimeoutError:
            return False
        return True


def _first(waiting: dict[AttemptId, T], most: int = BATCH) -> tuple[T, ...]:
    """The first things that wait, which do not wait any more."""
    return tuple(waiting.pop(attempt) for attempt in list(waiting)[:most])


def _pieces(report: Report) -> Iterator[Report]:
    for attempt in report.started:
        yield Report(started=(attempt,))
    for uses in report.uses_memory:
        yield Report(uses_memory=(uses,))
    for over in report.start_over:
        yield Report(start_over=(over,))
    for progress in report.progress:
        yield Report(progress=(progress,))
    for kept in report.kept:
        yield Report(kept=(kept,))
    for outcome in report.ended:
        yield Report(ended=(outcome,))


def _poorer(report: Report) -> Iterator[Report]:
    """Of a single end that the master cannot take: that it ended, no more. Starts and progress are left out."""
    for outcome in report.ended:
        yield Report(ended=(Outcome(outcome.attempt, End.BROKEN, reason=REFUSED),))


def modest(outcome: Outcome) -> Outcome:
    """*outcome* with all its texts short enough to travel, and nothing in them that is no text."""
    return attrs.evolve(
        outcome,
        reason=_text(outcome.reason, MAX_REASON),
        stderr_tail=_text(outcome.stderr_tail[-MAX_TAIL:], MAX_TAIL),
        missing_module=_text(outcome.missing_module, MAX_PATH),
        strays=tuple(_text(path, MAX_PATH) for path in outcome.strays[:MAX_STRAYS]),
        unkept=tuple(_text(each, MAX_PATH) for each in outcome.unkept[:MAX_STRAYS]),
    )


def _text(text: str, most: int) -> str:
    short = text if len(text) <= most else text[: most - 1] + "…"
    return short.encode(errors="replace").decode()
