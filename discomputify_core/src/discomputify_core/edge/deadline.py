"""Deadlines on what is awaited. Not here: whose deadline it is, and what it means that it passed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The result of *work*, which is cancelled after *seconds*, or with the one who waits.

    Unlike ``asyncio.wait_for`` before Python 3.12 it never swallows a cancellation that comes together with
    the result: a task that was told to end does end.

    Raises:
        asyncio.TimeoutError: it took longer.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=max(seconds, 0.0))
    except asyncio.CancelledError:
        await _ended(task)
        raise
    if not task.done():
        await _ended(task)
    if task.cancelled():
        raise asyncio.TimeoutError
    return task.result()


async def _ended(task: asyncio.Future[T]) -> None:
    """Return when *task* has been cancelled, or was quicker; its error, if any, has been looked at."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
