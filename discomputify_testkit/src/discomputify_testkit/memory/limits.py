"""M-80 … M-86: what one scope may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from discomputify_core.errors import MemoryFull, TooLate
from discomputify_core.model.memory import (
    ARRAY,
    DONE,
    Add,
    Append,
    Command,
    Get,
    Limits,
    Lock,
    Names,
    Pop,
    Put,
    Remove,
    Unlock,
    Value,
)
from discomputify_testkit.memory.base import LONG, MemorySuite, Part, blob, parts_of, plain, same
from discomputify_testkit.memory.rounds import barrier, broadcast, gather, together
from discomputify_testkit.running import async_test


async def full(part: Part, command: Command, limit: str) -> None:
    """Check that *command* would exceed *limit*."""
    with pytest.raises(MemoryFull) as caught:
        await part.do(command)
    assert caught.value.fields["limit"] == limit


async def fill(part: Part, what: str) -> None:
    """Let *part* use up about 100,000 bytes of things that count beside values."""
    for number in range(1, 1000):
        if what == "list":
            await part.do(Append("list", plain(0)))
        elif what == "names":
            await part.do(Put(f"{number:0256}", plain(0)))
        elif what == "gather":
            with pytest.raises(TooLate):
                await part.do(gather(blob(b"x" * 500), 1, f"r{number}"))
        else:
            await part.do(broadcast(blob(b"x" * 500), number))


async def append(part: Part, count: int) -> None:
    """Let *part* append *count* values to the lists "a" and "b"."""
    for number in range(count):
        await part.do(Append("ab"[number % 2], plain(number)))


class Bounds(MemorySuite):
    """Clauses about limits."""

    @async_test
    async def test_m_80_no_value_is_larger_than_value_bytes(self, tmp_path: Path) -> None:
        """M-80."""
        async with self.make_memory(tmp_path, Limits(value_bytes=1000)) as connect:
            one, two = parts_of(connect(), total=2)
            right, wrong = blob(b"x" * 1000), blob(b"x" * 1001)
            described = Value(ARRAY, b"x" * 990, {"dtype": "<f8", "shape": [1], "order": "C"})
            put = await one.do(Put("a", right))
            await one.do(Append("list", right))
            for value in (wrong, described):
                await full(one, Put("a", value), "value_bytes")
                await full(one, Put("b", value), "value_bytes")
                await full(one, Append("list", value), "value_bytes")
                await full(one, Append("new", value), "value_bytes")
                await full(one, gather(value), "value_bytes")
                await full(one, broadcast(value), "value_bytes")
            got = await one.do(Get("a"))
            assert same(got.value, right)
            assert got.version == put.version
            assert len((await one.do(Get("list"))).values) == 1
            assert (await one.do(Names())).names == ("a", "list")
            with pytest.raises(TooLate) as caught:
                await two.do(gather(right))
            assert list(caught.value.fields["parts"]) == [1]

    @async_test
    async def test_m_81_all_entries_together_have_at_most_job_bytes(self, tmp_path: Path) -> None:
        """M-81."""
        async with self.make_memory(tmp_path, Limits(job_bytes=10_000)) as connect:
            one, two, _ = parts_of(connect(), connect())
            for name in ("a", "b", "c"):
                await one.do(Put(name, blob(b"x" * 3000)))
            await full(two, Put("d", blob(b"x" * 1500)), "job_bytes")
            await full(two, Append("d", blob(b"x" * 1500)), "job_bytes")
            await full(one, Put("a", blob(b"x" * 4500)), "job_bytes")
            got = await two.do(Get("a"))
            assert same(got.value, blob(b"x" * 3000))
            assert not (await two.do(Get("d"))).found
            await one.do(Put("a", blob(b"x" * 1000)))
            await two.do(Put("d", blob(b"x" * 1500)))
            await one.do(Remove("b"))
            await two.do(Append("e", blob(b"x" * 2500)))

    @async_test
    async def test_m_82_lists_names_contributions_and_broadcasts_count_too(self, tmp_path: Path) -> None:
        """M-82."""
        async with self.make_memory(tmp_path, Limits(job_bytes=20_000)) as connect:
            memory = connect()
            for what in ("list", "names", "gather", "broadcast"):
                one, two, three = parts_of(memory)
                with pytest.raises(MemoryFull) as caught:
                    await fill(one, what)
                assert caught.value.fields["limit"] == "job_bytes", what
                if what == "broadcast":
                    await two.do(broadcast())
                    await three.end(DONE)
                    await one.do(Put("a", blob(b"x" * 400)))

    @async_test
    async def test_m_83_there_are_at_most_job_entries_entries_and_locks(self, tmp_path: Path) -> None:
        """M-83."""
        async with self.make_memory(tmp_path, Limits(job_entries=5)) as connect:
            one, two, _ = parts_of(connect(), connect())
            await one.do(Put("a", plain(1)))
            await one.do(Add("b"))
            await one.do(Append("c", plain(1)))
            token = (await one.do(Lock("d", LONG))).number
            await two.do(Lock("e", LONG))
            for command in (Put("f", plain(1)), Add("f"), Append("f", plain(1)), Lock("f", LONG)):
                await full(two, command, "job_entries")
            await two.do(Put("a", plain(2)))
            await two.do(Add("b"))
            await two.do(Append("c", plain(2)))
            await one.do(Unlock("d", int(token)))
            await two.do(Put("f", plain(1)))
            await two.do(Remove("a"))
            await one.do(Lock("d", LONG))
            await full(two, Put("a", plain(1)), "job_entries")
            await two.end(DONE)
            await one.do(Put("a", plain(1)))

    @async_test
    async def test_m_84_all_lists_together_have_at_most_job_entries_values(self, tmp_path: Path) -> None:
        """M-84."""
        async with self.make_memory(tmp_path, Limits(job_entries=20)) as connect:
            one, *_ = parts_of(connect())
            await append(one, 18)
            with pytest.raises(MemoryFull) as caught:
                await append(one, 3)
            assert caught.value.fields["limit"] == "job_entries"
            for name in ("a", "b"):
                await one.do(Pop(name))
                await one.do(Append("a", plain(0)))
            await full(one, Append("a", plain(0)), "job_entries")
            await one.do(Remove("b"))
            await one.do(Append("c", plain(0)))

    @async_test
    async def test_m_85_the_limits_are_those_of_each_scope(self, tmp_path: Path) -> None:
        """M-85."""
        async with self.make_memory(tmp_path, Limits(job_bytes=2000, job_entries=3)) as connect:
            memory = connect()
            for _ in range(5):
                one, *_ = parts_of(memory)
                await one.do(Put("a", blob(b"x" * 1000)))
                await full(one, Put("b", blob(b"x" * 1000)), "job_bytes")
                await one.do(Put("b", plain(1)))
                await one.do(Put("c", plain(1)))
                await full(one, Put("d", plain(1)), "job_entries")

    @async_test
    async def test_m_86_what_goes_leaves_its_room(self, tmp_path: Path) -> None:
        """M-86."""
        async with self.make_memory(tmp_path, Limits(job_bytes=10_000, job_entries=8)) as connect:
            one, two = parts_of(connect(), connect(), total=2)
            value = blob(b"x" * 1000)
            await one.do(Put("stays", value))
            before = await one.look()
            for number in range(1, 31):
                for _ in range(2):
                    await one.do(Put("a", value))
                    await one.do(Append("list", value))
                await one.do(Put("list2", value))
                await one.do(Add("n"))
                await one.do(Put("mine", value, ephemeral=True))
                token = (await two.do(Lock("l", LONG))).number
                await together([one, two], [gather(value, number), gather(value, number)])
                await together([one, two], [broadcast(value, number), broadcast(None, number)])
                await together([one, two], [barrier(number), barrier(number)])
                await two.do(Unlock("l", int(token)))
                await two.do(Lock("m", LONG))
                for part in (one, two):
                    await part.end("again")
                one, two = one.again(), two.again()
                for name in ("a", "list2", "n"):
                    await two.do(Remove(name))
                await one.do(Pop("list"))
                await one.do(Pop("list") if number % 2 else Remove("list"))
            after = await one.look()
            assert (after.size, after.count) == (before.size, before.count)
            assert [row.name for row in after.rows] == ["stays"]
