"""Deadlines: results, errors and cancellation come through, and nothing goes on behind one's back."""

import asyncio

import pytest

from discomputify_core.edge.deadline import within
from discomputify_testkit.running import run


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def value() -> int:
    return 7


async def broken() -> None:
    raise KeyError("broken")


def test_results_and_errors_come_through() -> None:
    assert run(within(5, value())) == 7
    with pytest.raises(KeyError):
        run(within(5, broken()))


def test_what_takes_too_long_is_cancelled() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(never())
        with pytest.raises(asyncio.TimeoutError):
            await within(0.01, task)
        assert task.cancelled()

    run(main())


def test_a_negative_deadline_has_passed() -> None:
    with pytest.raises(asyncio.TimeoutError):
        run(within(-1, never()))


def test_who_is_cancelled_cancels_the_work() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(never())
        waiting = asyncio.ensure_future(within(5, task))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert task.cancelled()

    run(main())


def test_a_cancellation_that_comes_with_the_result_is_not_swallowed() -> None:
    async def main() -> None:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiting = asyncio.ensure_future(within(5, future))
        await asyncio.sleep(0)
        future.set_result(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()

    run(main())
