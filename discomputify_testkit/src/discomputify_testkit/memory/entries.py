"""M-1 … M-16: entries, their versions, waiting for them, and names."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from discomputify_core.errors import BadName
from discomputify_core.model.memory import (
    ARRAY,
    BARRIER,
    JSON,
    REF,
    Add,
    Append,
    Command,
    Get,
    Limits,
    Lock,
    Meet,
    Names,
    Pop,
    Put,
    Remove,
    Renew,
    Unlock,
    Value,
)
from discomputify_testkit.memory.base import (
    LONG,
    SHORT,
    WAIT,
    MemorySuite,
    blob,
    loaded,
    noise,
    parts_of,
    plain,
    same,
    within,
)
from discomputify_testkit.running import async_test

#: Values of all kinds.
VALUES = [
    plain(None),
    plain(True),
    plain(-7),
    plain(0.1),
    plain("ß€😀\x00\n"),
    plain({"a": [1, {"b": None}], "": ""}),
    Value(JSON, '"ß€😀"'.encode()),
    blob(b""),
    blob(bytes(range(256)) * 3),
    blob(b"\r\n\x00\xff$5\r\n"),
    Value(ARRAY, bytes(range(96)), {"dtype": "<f8", "shape": [3, 4], "order": "F"}),
    Value(ARRAY, b"", {"dtype": "|u1", "shape": [0], "order": "C"}),
    Value(REF, b"", {"id": "x1", "node": "näme", "of": "array", "size": 2**33, "dtype": "<i8", "shape": [2**30]}),
]

#: Names that a careless plugin stumbles over.
NAMES = ["a", "A", " ", "a b", "a:b", "a*", "a?[b]", "{a}", "a\x00b", "a\nb", "ß", "日本", "😀", "%s", "'", '"', "\\"]

A_REF = VALUES[-1]


class Entries(MemorySuite):
    """Clauses about entries."""

    @async_test
    async def test_m_01_values_come_back_as_they_were(self, tmp_path: Path) -> None:
        """M-1."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect(), connect())
            for number, value in enumerate(VALUES):
                assert (await one.do(Put(f"value {number}", value))).found
            for number, value in enumerate(VALUES):
                got = await two.do(Get(f"value {number}"))
                assert got.found
                assert not got.listed
                assert same(got.value, value), value

    @async_test
    async def test_m_02_values_may_be_as_large_as_the_limit(self, tmp_path: Path) -> None:
        """M-2."""
        most = 6 * 1024 * 1024
        async with self.make_memory(tmp_path, Limits(value_bytes=most)) as connect:
            one, two, _ = parts_of(connect(), connect())
            values = [blob(noise(seed, most)) for seed in range(4)]
            await asyncio.gather(*(one.do(Put(f"v{number}", value)) for number, value in enumerate(values)))
            found = await asyncio.gather(*(two.do(Get(f"v{number}")) for number in range(len(values))))
            assert all(same(got.value, value) for got, value in zip(found, values, strict=True))

    @async_test
    async def test_m_03_nothing_is_where_nothing_was_put(self, tmp_path: Path) -> None:
        """M-3."""
        async with self.make_memory(tmp_path) as connect:
            one, *_ = parts_of(connect())
            for command in (Get("a"), Remove("a"), Pop("a")):
                answer = await one.do(command)
                assert not answer.found
                assert answer.value is None
            assert (await one.do(Get("a"))).version == 0
            assert (await one.do(Names())).names == ()

    @async_test
    async def test_m_04_every_change_gives_a_higher_version(self, tmp_path: Path) -> None:
        """M-4."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect(), connect())
            versions = [0]
            for part, data in ((one, "x"), (two, "x"), (one, [1]), (one, 5)):
                put = await part.do(Put("a", plain(data)))
                assert put.found
                assert put.value is None
                versions.append(put.version)
                assert loaded((await two.do(Get("a"))).value) == data
                assert (await one.do(Get("a"))).version == put.version
            versions.append((await two.do(Add("a"))).version)
            assert (await one.do(Get("a"))).version == versions[-1]
            assert versions == sorted(set(versions))

    @async_test
    async def test_m_05_a_put_for_version_0_sets_only_what_is_not_there(self, tmp_path: Path) -> None:
        """M-5."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect())
            first = await one.do(Put("a", plain(1), version=0))
            assert first.found
            second = await two.do(Put("a", plain(2), version=0))
            assert (second.found, second.version) == (False, first.version)
            assert loaded((await one.do(Get("a"))).value) == 1
            await one.do(Append("list", plain(1)))
            assert not (await two.do(Put("list", plain(2), version=0))).found

    @async_test
    async def test_m_06_a_put_for_a_version_sets_only_where_the_entry_has_it(self, tmp_path: Path) -> None:
        """M-6."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect())
            first = await one.do(Put("a", plain(1)))
            second = await two.do(Put("a", plain(2), version=first.version))
            assert second.found
            late = await one.do(Put("a", plain(3), version=first.version))
            assert (late.found, late.version) == (False, second.version)
            assert loaded((await one.do(Get("a"))).value) == 2
            nothing = await one.do(Put("b", plain(3), version=first.version))
            assert (nothing.found, nothing.version) == (False, 0)
            assert not (await one.do(Get("b"))).found

    @async_test
    async def test_m_07_what_is_removed_and_made_again_has_no_version_that_it_had(self, tmp_path: Path) -> None:
        """M-7."""
        async with self.make_memory(tmp_path) as connect:
            one, *_ = parts_of(connect())
            versions = []
            for _ in range(3):
                versions.append((await one.do(Put("a", plain(1)))).version)
                assert (await one.do(Remove("a"))).found
                assert not (await one.do(Get("a"))).found
                versions.append((await one.do(Append("a", plain(1)))).version)
                assert (await one.do(Pop("a"))).found
            assert len(set(versions)) == len(versions)

    @async_test
    async def test_m_08_of_many_conditional_puts_at_once_one_succeeds(self, tmp_path: Path) -> None:
        """M-8."""
        async with self.make_memory(tmp_path) as connect:
            parts = parts_of(connect(), connect(), total=8)
            version = 0
            for turn in range(5):
                puts = [part.do(Put("a", plain([turn, part.number]), version=version)) for part in parts]
                answers = await asyncio.gather(*puts)
                winners = [part for part, answer in zip(parts, answers, strict=True) if answer.found]
                assert len(winners) == 1
                got = await parts[0].do(Get("a"))
                assert loaded(got.value) == [turn, winners[0].number]
                version = got.version

    @async_test
    async def test_m_09_who_waits_for_an_entry_is_woken_by_whatever_makes_it(self, tmp_path: Path) -> None:
        """M-9."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect(), connect())
            for name, command in (
                ("put", Put("put", plain(1))),
                ("add", Add("add")),
                ("append", Append("append", plain(1))),
            ):
                waiting = [await part.waits(Get(name)) for part in (two, three)]
                await one.do(command)
                for answer in await within(asyncio.gather(*waiting)):
                    assert answer.found
                    assert answer.version > 0
                    assert [loaded(value) for value in answer.values or (answer.value,)] == [1]
                    assert answer.listed == (name == "append")

    @async_test
    async def test_m_10_what_is_there_is_not_waited_for(self, tmp_path: Path) -> None:
        """M-10."""
        async with self.make_memory(tmp_path) as connect:
            one, *_ = parts_of(connect())
            await one.do(Put("a", plain(1)))
            await one.do(Append("b", plain(1)))
            started = asyncio.get_running_loop().time()
            for command in (Get("a"), Get("b"), Pop("b"), Lock("a", LONG)):
                assert (await one.do(command, wait=WAIT)).found
            assert asyncio.get_running_loop().time() - started < WAIT

    @async_test
    async def test_m_11_who_waits_in_vain_is_told_so_in_time(self, tmp_path: Path) -> None:
        """M-11."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect())
            await two.do(Lock("held", LONG))
            started = asyncio.get_running_loop().time()
            waiting = [one.do(command, wait=SHORT) for command in (Get("a"), Pop("a"), Lock("held", LONG))]
            assert [answer.found for answer in await asyncio.gather(*waiting)] == [False] * 3
            assert SHORT * 0.9 < asyncio.get_running_loop().time() - started < WAIT
            await one.do(Put("a", plain(1)))
            assert (await one.do(Get("a"))).found

    @async_test
    async def test_m_12_a_ref_that_goes_is_handed_back(self, tmp_path: Path) -> None:
        """M-12."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect())
            other = Value(REF, b"", {**A_REF.meta, "id": "x2"})
            assert (await one.do(Put("a", A_REF))).value is None
            refused = await one.do(Put("a", other, version=0))
            assert not refused.found
            assert refused.value is None
            assert same((await two.do(Put("a", other))).value, A_REF)
            assert same((await one.do(Put("a", plain(1)))).value, other)
            assert (await one.do(Remove("a"))).value is None
            await one.do(Put("a", A_REF))
            assert same((await two.do(Remove("a"))).value, A_REF)

    @async_test
    async def test_m_13_names_are_those_of_entries_sorted(self, tmp_path: Path) -> None:
        """M-13."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect())
            for name in NAMES:
                await one.do(Put(name, plain(1)))
            await one.do(Append("a-list", plain(1)))
            await one.do(Lock("a-lock", LONG))
            held = sorted([*NAMES, "a-list"])
            assert list((await two.do(Names())).names) == held
            for prefix in ("a", "a*", "a?", "{", "ß", "%", "\\", "nothing like it", "a" * 300):
                expected = [name for name in held if name.startswith(prefix)]
                assert list((await two.do(Names(prefix))).names) == expected, prefix
            await one.do(Remove("a*"))
            assert "a*" not in (await two.do(Names())).names

    @async_test
    async def test_m_14_at_most_ten_thousand_names_are_answered(self, tmp_path: Path) -> None:
        """M-14."""
        async with self.make_memory(tmp_path) as connect:
            one, *_ = parts_of(connect())
            names = [f"n{number:05}" for number in range(10_020)]
            for start in range(0, len(names), 200):
                await asyncio.gather(*(one.do(Put(name, plain(0))) for name in names[start : start + 200]))
            assert list((await one.do(Names("n"))).names) == names[:10_000]
            assert list((await one.do(Names("n0999"))).names) == names[9990:10_000]

    @async_test
    async def test_m_15_a_name_may_be_any_text_and_means_an_entry_a_lock_and_rounds(self, tmp_path: Path) -> None:
        """M-15."""
        async with self.make_memory(tmp_path) as connect:
            (one,) = parts_of(connect(), total=1)
            for number, name in enumerate([*NAMES, "n" * 256, "ß" * 128]):
                await one.do(Put(name, plain(number)))
                held = await one.do(Lock(name, LONG))
                assert held.found
                await one.do(Meet(BARRIER, name, 1))
                await one.do(Meet("gather", name, 1, plain([number])))
                assert loaded((await one.do(Get(name))).value) == number
                await one.do(Remove(name))
                await one.do(Unlock(name, int(held.number)))
            assert (await one.do(Names())).names == ()

    @async_test
    async def test_m_16_a_name_has_1_to_256_bytes(self, tmp_path: Path) -> None:
        """M-16."""
        async with self.make_memory(tmp_path) as connect:
            one, *_ = parts_of(connect())
            for name in ("", "n" * 257, "ß" * 129):
                commands: list[Command] = [Put(name, plain(1)), Get(name), Remove(name), Add(name), Pop(name)]
                commands += [Append(name, plain(1)), Lock(name, 1.0), Renew(name, 1, 1.0), Unlock(name, 1)]
                for command in [*commands, Meet(BARRIER, name, 1)]:
                    with pytest.raises(BadName):
                        await one.do(command)
            assert (await one.do(Names())).names == ()
