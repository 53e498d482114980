"""Several pieces of work at once, bounded; the first failure ends them all. Nothing about stores here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

#: Seconds that work which was cancelled has to end.
GRACE = 10.0


async def together(work: Iterable[Callable[[], Awaitable[None]]], width: int) -> None:
    """Do all of *work*, beginning in its order, at most *width* at once.

    Raises:
        Exception: what the first piece that failed raised; the others have been cancelled and have ended.
    """
    left = iter(work)

    async def worker() -> None:
        for piece in left:
            await piece()

    tasks = [asyncio.ensure_future(worker()) for _ in range(width)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        await end(tasks)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel *tasks* and see them end; what they raise is of no interest any more."""
    ending = set(tasks)
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending, timeout=GRACE)
    for task in ending:
        if task.done() and not task.cancelled():
            task.exception()
