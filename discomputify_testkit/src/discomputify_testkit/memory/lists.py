"""M-20 … M-31: numbers and lists."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from discomputify_core.errors import MemoryFull, WrongKind
from discomputify_core.model.memory import JSON, Add, Append, Get, Limits, Names, Pop, Put, Remove, Value
from discomputify_testkit.memory.base import (
    SHORT,
    WAIT,
    MemorySuite,
    all_same,
    blob,
    loaded,
    noise,
    parts_of,
    plain,
    same,
    within,
)
from discomputify_testkit.memory.entries import VALUES
from discomputify_testkit.running import async_test

MOST = 2**63 - 1
LEAST = -(2**63)


class Lists(MemorySuite):
    """Clauses about numbers and lists."""

    @async_test
    async def test_m_20_adding_begins_at_0_and_whole_numbers_stay_whole(self, tmp_path: Path) -> None:
        """M-20."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect(), connect())
            versions = [0]
            for part, by, expected in ((one, 1, 1), (two, 5, 6), (one, -10, -4), (two, 0, -4), (one, 2**40, 2**40 - 4)):
                answer = await part.do(Add("n", by))
                assert answer.number == expected
                assert isinstance(answer.number, int)
                versions.append(answer.version)
                number = loaded((await two.do(Get("n"))).value)
                assert number == expected
                assert isinstance(number, int)
            assert versions == sorted(set(versions))

    @async_test
    async def test_m_21_fractions_are_added_as_doubles(self, tmp_path: Path) -> None:
        """M-21."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect())
            sums = [(0.1, 0.2), (1, 0.5), (0.5, 0.5), (1e300, 1), (3, -1 / 3), (1e-320, 1e-320)]
            for number, (start, by) in enumerate(sums):
                name = f"n{number}"
                assert (await one.do(Add(name, start))).number == start
                answer = await two.do(Add(name, by))
                assert answer.number == start + by
                assert isinstance(answer.number, float)
                assert loaded((await one.do(Get(name))).value) == start + by
                again = await one.do(Add(name, 1))
                assert again.number == start + by + 1
                assert isinstance(again.number, float)

    @async_test
    async def test_m_22_put_and_add_may_be_mixed(self, tmp_path: Path) -> None:
        """M-22."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect())
            for text in (b"41", b"-1", b"0", b"2.5", b"1e3", b"1E-2", str(MOST - 1).encode()):
                await one.do(Put("n", Value(JSON, text)))
                expected = json.loads(text) + 1
                added = await two.do(Add("n"))
                assert (added.number, type(added.number)) == (expected, type(expected))
                assert (await one.do(Put("n", plain("text"), version=added.version))).found
            await one.do(Remove("n"))
            assert (await one.do(Add("n", 3))).number == 3

    @async_test
    async def test_m_23_whole_numbers_are_exact_to_64_bits_and_no_further(self, tmp_path: Path) -> None:
        """M-23."""
        async with self.make_memory(tmp_path) as connect:
            one, *_ = parts_of(connect())
            for edge, step in ((MOST, 1), (LEAST, -1)):
                await one.do(Put("n", plain(edge - step * 2)))
                assert (await one.do(Add("n", step))).number == edge - step
                assert (await one.do(Add("n", step))).number == edge
                for by in (step, step * MOST):
                    with pytest.raises(MemoryFull) as caught:
                        await one.do(Add("n", by))
                    assert caught.value.fields["limit"] == "number"
                assert loaded((await one.do(Get("n"))).value) == edge
                assert (await one.do(Add("n", -step))).number == edge - step
            assert (await one.do(Add("big", MOST))).number == MOST
            assert (await one.do(Add("big", -MOST))).number == 0
            await one.do(Add("f", 1.7e308))
            with pytest.raises(MemoryFull):
                await one.do(Add("f", 1.7e308))
            assert loaded((await one.do(Get("f"))).value) == 1.7e308

    @async_test
    async def test_m_24_what_is_no_number_is_not_added_to(self, tmp_path: Path) -> None:
        """M-24."""
        async with self.make_memory(tmp_path) as connect:
            one, *_ = parts_of(connect())
            numbers = (int, float)
            for value in VALUES:
                if value.kind == JSON and type(loaded(value)) in numbers:
                    continue
                put = await one.do(Put("a", value))
                with pytest.raises(WrongKind) as caught:
                    await one.do(Add("a"))
                assert caught.value.fields["name"] == "a"
                got = await one.do(Get("a"))
                assert same(got.value, value)
                assert got.version == put.version
            for text in (blob(b"3"), plain("3"), plain([3])):
                await one.do(Put("a", text))
                with pytest.raises(WrongKind):
                    await one.do(Add("a"))
            await one.do(Append("list", plain(3)))
            with pytest.raises(WrongKind):
                await one.do(Add("list"))
            assert len((await one.do(Get("list"))).values) == 1

    @async_test
    async def test_m_25_the_first_that_was_appended_is_the_first_that_is_popped(self, tmp_path: Path) -> None:
        """M-25."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect(), connect())
            for number, value in enumerate(VALUES, 1):
                assert (await one.do(Append("list", value))).number == number
            got = await two.do(Get("list"))
            assert got.found
            assert got.listed
            assert all_same(got.values, VALUES)
            for value in VALUES:
                popped = await two.do(Pop("list"))
                assert popped.found
                assert same(popped.value, value)
            assert not (await one.do(Get("list"))).found
            assert (await one.do(Names())).names == ()
            assert not (await one.do(Pop("list"))).found
            assert (await one.do(Append("list", plain(1)))).number == 1

    @async_test
    async def test_m_26_only_lists_are_appended_to_and_popped_from(self, tmp_path: Path) -> None:
        """M-26."""
        async with self.make_memory(tmp_path) as connect:
            one, *_ = parts_of(connect())
            for value in (plain([1, 2]), plain(3), blob(b"x")):
                put = await one.do(Put("a", value))
                for command, wait in ((Append("a", plain(1)), 0.0), (Pop("a"), 0.0), (Pop("a"), WAIT)):
                    with pytest.raises(WrongKind) as caught:
                        await one.do(command, wait)
                    assert caught.value.fields["name"] == "a"
                got = await one.do(Get("a"))
                assert same(got.value, value)
                assert got.version == put.version

    @async_test
    async def test_m_27_a_list_has_versions_and_is_replaced_and_removed_as_a_whole(self, tmp_path: Path) -> None:
        """M-27."""
        async with self.make_memory(tmp_path) as connect:
            one, *_ = parts_of(connect())
            versions = [(await one.do(Append("a", plain(number)))).version for number in range(3)]
            assert (await one.do(Get("a"))).version == versions[-1]
            await one.do(Pop("a"))
            versions.append((await one.do(Get("a"))).version)
            assert versions == sorted(set(versions))
            assert not (await one.do(Put("a", plain(1), version=versions[0]))).found
            assert (await one.do(Put("a", plain(1), version=versions[-1]))).found
            assert loaded((await one.do(Get("a"))).value) == 1
            await one.do(Append("b", plain(1)))
            await one.do(Append("b", plain(2)))
            assert (await one.do(Remove("b"))).found
            assert not (await one.do(Pop("b"))).found

    @async_test
    async def test_m_28_who_waits_for_values_is_served_in_the_order_of_coming(self, tmp_path: Path) -> None:
        """M-28."""
        async with self.make_memory(tmp_path) as connect:
            *waiting, giver = parts_of(connect(), connect(), total=6)
            tasks = [await part.waits(Pop("list")) for part in waiting]
            for number in range(len(tasks)):
                await giver.do(Append("list", plain(number)))
            popped = await within(asyncio.gather(*tasks))
            assert [loaded(answer.value) for answer in popped] == list(range(len(tasks)))
            assert not (await giver.do(Get("list"))).found

    @async_test
    async def test_m_29_who_has_given_up_gets_no_value(self, tmp_path: Path) -> None:
        """M-29."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect(), connect())
            late = one.start(Pop("list"), wait=SHORT)
            patient = await two.waits(Pop("list"))
            assert not (await within(late)).found
            await three.do(Append("list", plain("x")))
            assert loaded((await within(patient)).value) == "x"

    @async_test
    async def test_m_30_of_many_at_once_everybody_gets_another_value(self, tmp_path: Path) -> None:
        """M-30."""
        async with self.make_memory(tmp_path) as connect:
            parts = parts_of(connect(), connect(), total=8)
            pops = [part.start(Pop("list")) for part in parts for _ in range(15)]
            numbers = range(len(pops))
            await asyncio.gather(*(parts[n % 8].do(Append("list", plain(n))) for n in numbers))
            popped = [loaded(answer.value) for answer in await within(asyncio.gather(*pops))]
            assert sorted(map(str, popped)) == sorted(map(str, numbers))

    @async_test
    async def test_m_31_a_list_may_be_larger_than_a_message(self, tmp_path: Path) -> None:
        """M-31."""
        async with self.make_memory(tmp_path, Limits(value_bytes=6 * 1024 * 1024)) as connect:
            one, two, _ = parts_of(connect(), connect())
            values = [blob(noise(seed, 6 * 1024 * 1024)) for seed in range(3)]
            for value in values:
                await one.do(Append("list", value))
            assert all_same((await two.do(Get("list"))).values, values)
