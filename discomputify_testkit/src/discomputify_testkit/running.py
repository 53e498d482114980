"""Run a coroutine from a plain test, with a deadline: no test waits for ever, and none needs a pytest plugin."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


def run(main: Coroutine[Any, Any, T], deadline: float = 30.0) -> T:
    """The result of *main*, run in a fresh event loop.

    Raises:
        TimeoutError: it took more than *deadline* seconds.
    """

    async def bounded() -> T:
        return await asyncio.wait_for(main, deadline)

    return asyncio.run(bounded())


def async_test(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """*test*, a coroutine function, as a plain test that :func:`run` runs with a deadline of a minute."""

    @functools.wraps(test)
    def plain(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs), deadline=60.0)

    return plain


async def until(condition: Callable[[], T | Awaitable[T]], deadline: float = 10.0, step: float = 0.01) -> T:
    """Look at *condition* until it is true, and return what it gave.

    For states that announce themselves by no event; where there is an event, wait for that.

    Raises:
        TimeoutError: it was not true within *deadline* seconds.
    """

    async def looked() -> T:
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await asyncio.sleep(step)

    return await asyncio.wait_for(looked(), deadline)
