"""Requests that wait for their answers: each is told once, in time, and one timer does for all."""

import asyncio
from typing import Any

from discomputify_core.edge.pending import Pending
from discomputify_core.errors import ChannelClosed
from discomputify_core.model.message import ANSWER, Message
from discomputify_testkit.running import run, until

ANSWERED = Message(ANSWER, {"ok": 1})


def test_an_answer_is_told_to_the_one_who_waits_for_it_and_once() -> None:
    async def main() -> None:
        pending, told = Pending(), list[Any]()
        pending.add(1, 60.0, lambda outcome: told.append((1, outcome)))
        pending.add(2, 60.0, lambda outcome: told.append((2, outcome)))
        pending.answer(2, ANSWERED)
        pending.answer(2, ANSWERED)
        pending.answer(3, ANSWERED)
        pending.drop(1)
        pending.drop(1)
        pending.answer(1, ANSWERED)
        assert told == [(2, ANSWERED)]
        pending.fail(lambda: ChannelClosed("over"))
        assert len(told) == 1

    run(main())


def test_each_has_a_deadline_of_its_own_whoever_came_first() -> None:
    async def main() -> None:
        pending, late = Pending(), list[int]()

        def wait(number: int, seconds: float) -> None:
            def told(outcome: Any) -> None:
                assert isinstance(outcome, asyncio.TimeoutError)
                late.append(number)

            pending.add(number, seconds, told)

        wait(1, 60.0)
        wait(2, 0.2)
        wait(3, 0.05)
        wait(4, 0.1)
        pending.drop(4)
        await until(lambda: late == [3, 2])
        wait(5, 0.01)
        await until(lambda: late == [3, 2, 5])
        pending.fail(lambda: asyncio.TimeoutError())
        assert late == [3, 2, 5, 1]

    run(main())


def test_where_the_channel_is_gone_each_gets_an_error_of_its_own_and_no_timer_is_left() -> None:
    async def main() -> None:
        pending, told = Pending(), list[Any]()
        pending.add(1, 0.05, told.append)
        pending.add(2, 0.05, told.append)
        pending.fail(lambda: ChannelClosed("over"))
        assert [str(error) for error in told] == ["over", "over"]
        assert told[0] is not told[1]
        await asyncio.sleep(0.1)
        assert len(told) == 2

    run(main())
