"""Requests on one channel whose answers have not come: who is told, and until when they wait.

Here: one timer for all of them, since a timer for each would cost as much as many a call. Not here: sending, and what
an answer says (calls.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Union

from discomputify_core.model.message import Message

Answered = Callable[[Union[Message, Exception]], None]
"""Told once: the answer, why none will come, or ``asyncio.TimeoutError``. Does not wait, and does not raise."""


class Pending:
    """See the module. Requests go by their numbers."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, tuple[float, Answered]] = {}
        #: Rings when the first is late, or sooner: who has been answered leaves it as it is.
        self._timer: asyncio.TimerHandle | None = None

    def add(self, number: int, timeout: float, answered: Answered) -> None:
        """Wait *timeout* seconds for the answer to *number*."""
        until = self._loop.time() + timeout
        self._waiting[number] = (until, answered)
        if self._timer is None or until < self._timer.when():
            self._ring_at(until)

    def drop(self, number: int) -> None:
        """Nobody waits for *number* any more. Without effect if so it was."""
        self._waiting.pop(number, None)

    def answer(self, number: int, outcome: Message | Exception) -> None:
        """Tell who waits for *number*, if anybody does."""
        found = self._waiting.pop(number, None)
        if found is not None:
            found[1](outcome)

    def fail(self, error: Callable[[], Exception]) -> None:
        """Nobody will be answered: each gets an error of its own."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, {}
        for _, answered in waiting.values():
            answered(error())

    def _ring_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._ring, when)

    def _ring(self, due: float) -> None:
        self._timer = None
        now = max(due, self._loop.time())  # a loop may ring a little early
        for number in [number for number, (until, _) in self._waiting.items() if until <= now]:
            self.answer(number, asyncio.TimeoutError())
        if self._waiting:
            self._ring_at(min(until for until, _ in self._waiting.values()))
