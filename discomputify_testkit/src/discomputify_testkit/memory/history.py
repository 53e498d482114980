"""M-62 … M-69: results of complete rounds, which parts that run again pass through."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from discomputify_core.errors import RoundForgotten
from discomputify_core.model.memory import AGAIN, DONE, Limits
from discomputify_testkit.memory.base import MemorySuite, blob, noise, parts_of, plain, same, within
from discomputify_testkit.memory.rounds import barrier, broadcast, gather, gathered, together
from discomputify_testkit.running import async_test


class History(MemorySuite):
    """Clauses about complete rounds."""

    @async_test
    async def test_m_62_a_complete_round_gives_the_same_answer_again(self, tmp_path: Path) -> None:
        """M-62."""
        async with self.make_memory(tmp_path) as connect:
            one, two = parts_of(connect(), connect(), total=2)
            for number in (1, 2, 3):
                await together([one, two], [barrier(number), barrier(number)])
                await together([one, two], [gather(number, number), gather(-number, number)])
                await together([one, two], [broadcast([number], number), broadcast(None, number)])
            for part in (one, two.again(), one.again(), two.again().again()):
                for number in (1, 2, 3):
                    await part.do(barrier(number))
                    assert gathered(await part.do(gather("other", number)), number, -number)
                    brought = ["other"] if part.number == 1 else None
                    assert same((await part.do(broadcast(brought, number))).value, plain([number]))

    @async_test
    async def test_m_63_who_runs_again_rejoins_the_others_where_they_wait(self, tmp_path: Path) -> None:
        """M-63."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect(), connect())
            for number in (1, 2):
                await together([one, two, three], [gather(part, number) for part in (1, 2, 3)])
            waiting = [await part.waits(gather(part.number, 3)) for part in (one, two)]
            await three.end(AGAIN)
            newer = three.again()
            for number in (1, 2):
                assert gathered(await newer.do(gather(3, number)), 1, 2, 3)
            assert gathered(await newer.do(gather("back", 3)), 1, 2, "back")
            assert all(gathered(answer, 1, 2, "back") for answer in await within(asyncio.gather(*waiting)))

    @async_test
    async def test_m_64_no_more_results_are_kept_than_history_rounds(self, tmp_path: Path) -> None:
        """M-64."""
        async with self.make_memory(tmp_path, Limits(history_rounds=3)) as connect:
            one, two = parts_of(connect(), connect(), total=2)
            for number in range(1, 6):
                answers = await together([one, two], [gather(number, number), gather(-number, number)])
                assert all(gathered(answer, number, -number) for answer in answers)
            newer = one.again()
            for number in (1, 2):
                with pytest.raises(RoundForgotten):
                    await newer.do(gather("again", number))
            for number in (3, 4, 5):
                assert gathered(await newer.do(gather("again", number)), number, -number)
            await together([newer, two], [gather(1, 1, "other"), gather(2, 1, "other")])
            with pytest.raises(RoundForgotten):
                await newer.do(gather("again", 3))

    @async_test
    async def test_m_65_no_more_results_are_kept_than_history_bytes(self, tmp_path: Path) -> None:
        """M-65."""
        async with self.make_memory(tmp_path, Limits(history_bytes=10_000)) as connect:
            one, two = parts_of(connect(), total=2)
            values = [blob(bytes([number]) * 2000) for number in range(5)]
            for number in (1, 2, 3):
                await together([one, two], [gather(values[number], number)] * 2)
            newer = one.again()
            with pytest.raises(RoundForgotten):
                await newer.do(gather("again", 1))
            for number in (2, 3):
                assert gathered(await newer.do(gather("again", number)), values[number], values[number])

    @async_test
    async def test_m_66_barriers_are_not_forgotten(self, tmp_path: Path) -> None:
        """M-66."""
        async with self.make_memory(tmp_path, Limits(history_rounds=1, history_bytes=1000)) as connect:
            one, two = parts_of(connect(), connect(), total=2)
            for number in range(1, 31):
                await together([one, two], [barrier(number), barrier(number)])
            newer = one.again()
            for number in range(1, 31):
                await newer.do(barrier(number))

    @async_test
    async def test_m_67_a_broadcast_is_kept_until_every_part_has_heard_it(self, tmp_path: Path) -> None:
        """M-67."""
        async with self.make_memory(tmp_path, Limits(history_rounds=1)) as connect:
            one, two, three = parts_of(connect(), connect())
            for number in range(1, 11):
                await one.do(broadcast(number, number))
                assert same((await two.do(broadcast(None, number))).value, plain(number))
            for number in range(1, 11):
                assert same((await three.do(broadcast(None, number))).value, plain(number))
            newer = three.again()
            with pytest.raises(RoundForgotten):
                await newer.do(broadcast(None, 1))
            await newer.end(DONE)
            for number in (11, 12, 13):
                await one.do(broadcast(number, number))
                await two.do(broadcast(None, number))
            with pytest.raises(RoundForgotten):
                await two.do(broadcast(None, 11))

    @async_test
    async def test_m_68_the_values_of_a_round_may_be_larger_than_a_message(self, tmp_path: Path) -> None:
        """M-68."""
        async with self.make_memory(tmp_path, Limits(value_bytes=6 * 1024 * 1024)) as connect:
            parts = parts_of(connect(), connect())
            values = [blob(noise(seed, 6 * 1024 * 1024)) for seed in range(3)]
            answers = await together(parts, [gather(value) for value in values])
            assert all(gathered(answer, *values) for answer in answers)

    @async_test
    async def test_m_69_jobs_of_one_part_and_of_many_meet(self, tmp_path: Path) -> None:
        """M-69."""
        async with self.make_memory(tmp_path) as connect:
            for total in (1, 64):
                parts = parts_of(connect(), connect(), total=total)
                for number in (1, 2):
                    await together(parts, [barrier(number)] * total)
                    answers = await together(parts, [gather(part.number, number) for part in parts])
                    assert all(gathered(answer, *range(1, total + 1)) for answer in answers)
                    commands = [broadcast("x" if part.number == total else None, number, root=total) for part in parts]
                    answers = await together(parts, commands)
                    assert all(same(answer.value, plain("x")) for answer in answers)
