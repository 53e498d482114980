"""M-50 … M-61: barrier, gather and broadcast."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from discomputify_core.errors import PartGone, RoundsDiffer, TooLate
from discomputify_core.model.memory import (
    AGAIN,
    BARRIER,
    BROADCAST,
    DONE,
    GATHER,
    GONE,
    Answer,
    Get,
    Meet,
    Value,
)
from discomputify_testkit.memory.base import (
    SHORT,
    WAIT,
    MemorySuite,
    Part,
    all_same,
    parts_of,
    plain,
    same,
    within,
)
from discomputify_testkit.memory.entries import VALUES
from discomputify_testkit.running import async_test


def barrier(number: int = 1, name: str = "r", sign: str = "") -> Meet:
    """A part's word that it is at the barrier."""
    return Meet(BARRIER, name, number, sign=sign)


def gather(data: object, number: int = 1, name: str = "r", sign: str = "") -> Meet:
    """A part's contribution."""
    return Meet(GATHER, name, number, data if isinstance(data, Value) else plain(data), sign=sign)


def broadcast(data: object = None, number: int = 1, name: str = "r", root: int = 1, sign: str = "") -> Meet:
    """The root's word (with *data*), or another part's wish to hear it."""
    value = data if isinstance(data, Value) else plain(data)
    return Meet(BROADCAST, name, number, None if data is None else value, root, sign)


async def together(parts: Sequence[Part], commands: Sequence[Meet]) -> list[Answer]:
    """The answers of *parts*, each giving one of *commands*."""
    calls = [part.do(command, WAIT) for part, command in zip(parts, commands, strict=True)]
    return await within(asyncio.gather(*calls))


def gathered(answer: Answer, *data: object) -> bool:
    """Whether *answer* is that of a gather of *data*."""
    return all_same(answer.values, [each if isinstance(each, Value) else plain(each) for each in data])


class Rounds(MemorySuite):
    """Clauses about rounds that are not complete yet."""

    @async_test
    async def test_m_50_a_barrier_lets_nobody_pass_before_all_are_there(self, tmp_path: Path) -> None:
        """M-50."""
        async with self.make_memory(tmp_path) as connect:
            parts = parts_of(connect(), connect(), total=4)
            for number in (1, 2, 3):
                *first, last = parts[number:] + parts[:number]
                waiting = [await part.waits(barrier(number)) for part in first]
                assert not any(task.done() for task in waiting)
                await last.do(barrier(number), WAIT)
                await within(asyncio.gather(*waiting))

    @async_test
    async def test_m_51_a_gather_gives_everybody_all_values_in_the_order_of_parts(self, tmp_path: Path) -> None:
        """M-51."""
        async with self.make_memory(tmp_path) as connect:
            parts = parts_of(connect(), connect(), total=len(VALUES))
            for number in (1, 2):
                order = parts[::-1] if number == 1 else parts[5:] + parts[:5]
                answers = await together(order, [gather(VALUES[-part.number], number) for part in order])
                assert all(gathered(answer, *VALUES[::-1]) for answer in answers)

    @async_test
    async def test_m_52_a_broadcast_waits_for_its_root_alone(self, tmp_path: Path) -> None:
        """M-52."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect(), connect())
            for number, value in enumerate(VALUES, 1):
                waiting = await one.waits(broadcast(None, number, root=2))
                assert same((await two.do(broadcast(value, number, root=2))).value, value)
                assert same((await within(waiting)).value, value)
                assert same((await three.do(broadcast(None, number, root=2))).value, value)

    @async_test
    async def test_m_53_kinds_names_and_numbers_of_rounds_are_apart(self, tmp_path: Path) -> None:
        """M-53."""
        async with self.make_memory(tmp_path) as connect:
            one, two = parts_of(connect(), connect(), total=2)
            commands = [
                make
                for name in ("r", "s", "r:1", "r 1")
                for make in (barrier(1, name), gather(name, 1, name), broadcast(name, 1, name))
            ]
            waiting = [one.start(command) for command in commands]
            for command, task in list(zip(commands, waiting, strict=True))[::-1]:
                await two.do(command, WAIT)
                answer = await within(task)
                if command.kind == GATHER:
                    assert gathered(answer, command.name, command.name)
                elif command.kind == BROADCAST:
                    assert same(answer.value, plain(command.name))
            late = one.start(gather("two", 2), SHORT)
            assert gathered(await two.do(gather("again", 1)), "r", "r")
            with pytest.raises(TooLate):
                await within(late)

    @async_test
    async def test_m_54_who_does_not_come_in_time_is_named(self, tmp_path: Path) -> None:
        """M-54."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three, four = parts_of(connect(), total=4)
            early = await two.waits(gather(2))
            for wait in (0.0, SHORT):
                with pytest.raises(TooLate) as caught:
                    await one.do(gather(1), wait)
                assert sorted(caught.value.fields["parts"]) == [3, 4]
            with pytest.raises(TooLate) as caught:
                await one.do(broadcast(root=3))
            assert list(caught.value.fields["parts"]) == [3]
            await three.waits(gather(3))
            assert gathered(await four.do(gather(4), WAIT), 1, 2, 3, 4)
            assert gathered(await one.do(gather(1)), 1, 2, 3, 4)
            assert gathered(await within(early), 1, 2, 3, 4)

    @async_test
    async def test_m_55_taking_part_again_replaces_what_was_brought(self, tmp_path: Path) -> None:
        """M-55."""
        async with self.make_memory(tmp_path) as connect:
            one, two = parts_of(connect(), total=2)
            with pytest.raises(TooLate):
                await one.do(gather("old"))
            newer = one.again()
            waiting = await newer.waits(gather("new"))
            assert gathered(await two.do(gather("two"), WAIT), "new", "two")
            assert gathered(await within(waiting), "new", "two")

    @async_test
    async def test_m_56_what_was_brought_stays_though_its_bringer_waits_no_more(self, tmp_path: Path) -> None:
        """M-56."""
        async with self.make_memory(tmp_path) as connect:
            late, cancelled, ended, done, last = parts_of(connect(), connect(), total=5)
            with pytest.raises(TooLate):
                await late.do(gather("late"), SHORT)
            task = await cancelled.waits(gather("cancelled"))
            task.cancel()
            await asyncio.wait({task}, timeout=WAIT)
            for part, stands in ((ended, AGAIN), (done, GONE)):
                gone = await part.waits(gather(stands))
                await part.end(stands)
                await asyncio.wait({gone}, timeout=WAIT)
                assert gone.exception() is not None
            result = ("late", "cancelled", AGAIN, GONE, "last")
            assert gathered(await last.do(gather("last"), WAIT), *result)
            for part in (late, cancelled, ended.again()):
                assert gathered(await part.do(gather("other")), *result)

    @async_test
    async def test_m_57_a_part_that_can_never_come_is_not_waited_for(self, tmp_path: Path) -> None:
        """M-57."""
        async with self.make_memory(tmp_path) as connect:
            memories = connect(), connect()
            for stands in (DONE, GONE):
                one, two, three = parts_of(*memories)
                waiting = [one.start(barrier(1, "never seen by others")), await one.waits(barrier())]
                waiting += [
                    await one.waits(gather(1, name="g")),
                    await two.waits(broadcast(name="b", root=3)),
                ]
                await three.end(stands, "it had enough")
                for task in waiting:
                    with pytest.raises(PartGone) as caught:
                        await within(task)
                    assert caught.value.fields["part"] == 3
                for command in (barrier(), barrier(1, "s"), gather(2, name="t"), broadcast(name="u", root=3)):
                    with pytest.raises(PartGone) as caught:
                        await two.do(command, WAIT)
                    assert caught.value.fields["part"] == 3

    @async_test
    async def test_m_58_a_part_that_is_tried_again_is_waited_for(self, tmp_path: Path) -> None:
        """M-58."""
        async with self.make_memory(tmp_path) as connect:
            one, two = parts_of(connect(), connect(), total=2)
            waiting = await one.waits(gather(1))
            await two.end(AGAIN)
            with pytest.raises(TooLate):
                await one.do(barrier(1, "another"), SHORT)
            assert not waiting.done()
            newer = two.again()
            assert gathered(await newer.do(gather("new"), WAIT), 1, "new")
            assert gathered(await within(waiting), 1, "new")
            lost = await one.waits(barrier(2))
            await newer.end(AGAIN)
            await newer.end(GONE, "the job was stopped")
            with pytest.raises(PartGone):
                await within(lost)

    @async_test
    async def test_m_59_a_part_that_is_over_does_not_hinder_where_it_took_part(self, tmp_path: Path) -> None:
        """M-59."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect(), connect())
            for command in (gather(1), broadcast("word", root=1), barrier()):
                if command.kind != BROADCAST:
                    with pytest.raises(TooLate):
                        await one.do(command)
                else:
                    await one.do(command)
            await one.end(DONE)
            waiting = [await two.waits(gather(2)), await two.waits(barrier())]
            assert gathered(await three.do(gather(3), WAIT), 1, 2, 3)
            await three.do(barrier(), WAIT)
            assert gathered(await within(waiting[0]), 1, 2, 3)
            await within(waiting[1])
            await three.end(GONE)
            for part in (two, two.again()):
                assert same((await part.do(broadcast())).value, plain("word"))
                assert gathered(await part.do(gather(2)), 1, 2, 3)

    @async_test
    async def test_m_60_only_the_root_of_a_broadcast_has_to_come(self, tmp_path: Path) -> None:
        """M-60."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect())
            await three.end(GONE)
            waiting = await two.waits(broadcast(root=1))
            await one.do(broadcast("word", root=1))
            assert same((await within(waiting)).value, plain("word"))

    @async_test
    async def test_m_61_parts_have_to_agree_on_what_they_do(self, tmp_path: Path) -> None:
        """M-61."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect(), connect())
            for kind, right, wrong in (
                (GATHER, gather(1, sign="sum <f8 (3, 4)"), gather(2, sign="max <f8 (3, 4)")),
                (BARRIER, barrier(sign="a"), barrier(sign="b")),
                (BROADCAST, broadcast(root=3), broadcast(root=1)),
                (BROADCAST, broadcast(root=3, number=2, sign="a"), broadcast(root=3, number=2, sign="b")),
            ):
                waiting = await one.waits(right)
                with pytest.raises(RoundsDiffer):
                    await two.do(wrong, WAIT)
                assert not waiting.done()
                if kind != BROADCAST:
                    second = await two.waits(right)
                    await three.do(right, WAIT)
                    await within(second)
                else:
                    await three.do(broadcast("x", right.round, root=3, sign=right.sign))
                await within(waiting)
            await three.do(broadcast("x", 3, root=3, sign="a"))
            with pytest.raises(RoundsDiffer):
                await two.do(broadcast(None, 3, root=3, sign="b"), WAIT)
            assert same((await two.do(broadcast(None, 3, root=3, sign="a"))).value, plain("x"))
            assert not (await two.do(Get("r"))).found
