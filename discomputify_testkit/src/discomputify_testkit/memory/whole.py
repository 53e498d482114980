"""M-90 … M-99: looking, giving up, many at once, loss, and closing."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path

import pytest

from discomputify_core.errors import DiscomputifyError, MemoryLost, TooLate, Unreachable
from discomputify_core.model.memory import Add, Append, Get, Limits, Lock, Pop, Put, Unlock
from discomputify_testkit.loopback import Fault
from discomputify_testkit.memory.base import (
    LONG,
    WAIT,
    MemorySuite,
    Part,
    Waiting,
    all_same,
    blob,
    eventually,
    loaded,
    new_scope,
    parts_of,
    plain,
    within,
)
from discomputify_testkit.memory.entries import VALUES
from discomputify_testkit.memory.rounds import barrier, broadcast, gather, gathered
from discomputify_testkit.running import async_test

#: What goes wrong with calls, in turn; each is mended by sending again.
FAULTS = (Fault.REQUEST_LOST, Fault.NONE, Fault.ANSWER_LOST, Fault.REPEATED)


class Whole(MemorySuite):
    """Clauses about the table as a whole, and its clients."""

    @async_test
    async def test_m_90_a_listing_shows_entries_by_name_then_locks_and_rounds(self, tmp_path: Path) -> None:
        """M-90."""
        limits = Limits(job_bytes=1_000_000, job_entries=100)
        async with self.make_memory(tmp_path, limits) as connect:
            one, two, three = parts_of(connect(), connect())
            empty = await one.look()
            assert (empty.rows, empty.size, empty.count, empty.more) == ((), 0, 0, 0)
            version = (await one.do(Put("b", blob(b"x" * 500), ephemeral=True))).version
            await one.do(Put("a", VALUES[-1]))
            await two.do(Add("c"))
            for number in range(3):
                await two.do(Append("list", plain(number)))
            await two.do(Lock("lock", LONG))
            with pytest.raises(TooLate):
                await three.do(gather(blob(b"y" * 500), name="round"))
            listing = await one.look()
            rows = {row.name: row for row in listing.rows}
            assert [row.name for row in listing.rows][:4] == ["a", "b", "c", "list"]
            assert set(rows) == {"a", "b", "c", "list", "lock", "round"}
            kinds = ["value", "value", "value", "list", "lock", "gather"]
            assert [rows[name].kind for name in ("a", "b", "c", "list", "lock", "round")] == kinds
            assert [rows[name].holds for name in ("a", "b", "c")] == ["ref", "bytes", "json"]
            assert "3" in rows["list"].holds
            assert "2" in rows["lock"].holds
            assert "1" in rows["round"].holds
            assert (rows["b"].version, rows["b"].ephemeral) == (version, True)
            assert not rows["a"].ephemeral
            assert rows["b"].size >= 500
            assert rows["lock"].missing == (2,)
            assert sorted(rows["round"].missing) == [1, 2]
            assert listing.size >= 1000
            assert listing.count in (4, 5)
            assert (listing.most_bytes, listing.most_count) == (1_000_000, 100)
            assert ((await one.look()).more, (await one.memory.look(new_scope())).rows) == (0, ())

    @async_test
    async def test_m_91_one_entry_is_shown_with_its_value(self, tmp_path: Path) -> None:
        """M-91."""
        async with self.make_memory(tmp_path) as connect:
            one, *_ = parts_of(connect())
            for number, value in enumerate(VALUES):
                await one.do(Put(f"v{number}", value))
                await one.do(Append("list", value))
            for number, value in enumerate(VALUES):
                listing = await one.look(f"v{number}")
                assert [row.name for row in listing.rows] == [f"v{number}"]
                assert all_same(listing.values, [value])
            listed = await one.look("list")
            assert listed.rows[0].kind == "list"
            assert len(listed.values) >= 3
            assert all_same(listed.values, VALUES[: len(listed.values)])
            nothing = await one.look("nothing")
            assert (nothing.rows, nothing.values) == ((), ())

    @async_test
    async def test_m_92_a_listing_shows_who_waits_and_for_whom(self, tmp_path: Path) -> None:
        """M-92."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect(), connect())
            await one.do(Lock("lock", LONG))
            await one.do(Put("a", plain(1)))
            waits: list[Waiting] = [Lock("lock", LONG), Get("value"), Pop("list"), barrier(1, "b"), broadcast(name="w")]
            waiting = [await part.waits(command) for part in (three, two) for command in waits]
            listing = await one.look()
            rows = {(row.name, row.kind): row for row in listing.rows}
            assert sorted(rows["lock", "lock"].waiting) == [2, 3]
            assert rows["lock", "lock"].missing == (1,)
            for key in (("b", "barrier"), ("w", "broadcast")):
                assert sorted(rows[key].waiting) == [2, 3]
                assert rows[key].missing == (1,)
            for name in ("value", "list"):
                (row,) = [row for row in listing.rows if row.name == name]
                assert sorted(row.waiting) == [2, 3]
                assert row.version == 0
            assert rows["a", "value"].waiting == ()
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting, timeout=WAIT)

            async def nobody_waits() -> bool:
                return not any(row.waiting for row in (await one.look()).rows)

            await eventually(nobody_waits)

    @async_test
    async def test_m_93_a_value_is_not_lost_with_one_who_gives_up(self, tmp_path: Path) -> None:
        """M-93."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect(), connect())
            for turn in range(40):
                waiting = one.start(Pop("list")) if turn % 2 else await one.waits(Pop("list"))
                appending = two.start(Append("list", plain(turn)))
                await asyncio.wait({appending}, timeout=turn // 2 * 0.0003)
                waiting.cancel()
                await asyncio.wait({waiting}, timeout=WAIT)
                await within(appending)
                popped = await three.do(Pop("list"), WAIT) if waiting.cancelled() else waiting.result()
                assert loaded(popped.value) == turn
            assert not (await one.do(Get("list"))).found

    @async_test
    async def test_m_94_a_lock_is_not_lost_with_one_who_gives_up(self, tmp_path: Path) -> None:
        """M-94."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect(), connect())
            for turn in range(40):
                held = await two.do(Lock("l", LONG), WAIT)
                waiting = one.start(Lock("l", LONG)) if turn % 2 else await one.waits(Lock("l", LONG))
                unlocking = two.start(Unlock("l", int(held.number)))
                await asyncio.wait({unlocking}, timeout=turn // 2 * 0.0003)
                waiting.cancel()
                await asyncio.wait({waiting}, timeout=WAIT)
                await within(unlocking)
                holder, lock = (three, await three.do(Lock("l", LONG), WAIT)) if waiting.cancelled() else (one, None)
                await holder.do(Unlock("l", int((lock or waiting.result()).number)))

    @async_test
    async def test_m_95_of_many_at_once_every_addition_counts_once(self, tmp_path: Path) -> None:
        """M-95."""
        async with self.make_memory(tmp_path) as connect:
            parts = parts_of(connect(), connect(), connect(), total=20)
            answers = await asyncio.gather(*(part.do(Add("n", 3)) for part in parts for _ in range(10)))
            assert sorted(answer.number for answer in answers) == list(range(3, 603, 3))
            assert len({answer.version for answer in answers}) == 200

    @async_test
    async def test_m_96_a_table_has_one_identity(self, tmp_path: Path) -> None:
        """M-96."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect(), connect())
            assert one.memory.table == two.memory.table == ""
            await one.do(Put("a", plain(1)))
            await one.end("again")
            await two.do(Get("a"))
            table = one.memory.table
            assert table
            assert two.memory.table == table
            master = connect()
            await within(master.ended(one.member.scope, 3, [one.over("again")]))
            assert master.table == table
            await within(master.clear(one.member.scope))
            assert one.memory.table == table

    @async_test
    async def test_m_97_a_loss_is_told_at_once_and_once(self, tmp_path: Path) -> None:
        """M-97."""
        self.need("can_be_lost")
        async with self.make_memory(tmp_path) as connect:
            parts = one, two, three = parts_of(connect(), connect(), connect())
            told: list[tuple[int, str]] = []

            def tell(number: int, reason: str) -> None:
                told.append((number, reason))

            async def all_told() -> bool:
                return len(told) >= len(parts)

            for part in parts:
                part.memory.on_lost = functools.partial(tell, part.number)
                await part.do(Put(f"a{part.number}", plain(1)))
            await one.do(Lock("l", LONG))
            table = one.memory.table
            waits: list[tuple[Part, Waiting]] = [
                (one, Get("w")),
                (one, Pop("q")),
                (two, Lock("l", LONG)),
                (two, barrier(1, "b")),
            ]
            waiting = [await part.waits(command) for part, command in waits]
            await self.lose(one.memory)
            for task in waiting:
                with pytest.raises(MemoryLost):
                    await within(task)
            await eventually(all_told)
            for part in parts:
                await eventually(functools.partial(_goes_on, part, table))
            assert not (await one.do(Get("a1"))).found
            await one.do(Put("a1", plain(2)))
            assert loaded((await three.do(Get("a1"))).value) == 2
            assert one.memory.table == two.memory.table == three.memory.table != table
            assert sorted(number for number, _ in told) == [1, 2, 3]
            assert all(reason for _, reason in told)

    @async_test
    async def test_m_98_what_is_closed_waits_no_more(self, tmp_path: Path) -> None:
        """M-98."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect(), connect())
            unused = connect()
            waits: list[Waiting] = [Get("w"), barrier(1, "b"), Pop("q")]
            waiting = [await two.waits(command) for command in waits]
            other = await three.waits(Get("other"))
            for memory in (two.memory, two.memory, unused):
                await within(memory.close())
            for task in waiting:
                with pytest.raises(DiscomputifyError):
                    await within(task)
            with pytest.raises(DiscomputifyError):
                await two.do(Get("a"))
            await one.do(Append("q", plain(1)))
            assert (await one.do(Pop("q"), WAIT)).found
            await one.do(Put("other", plain(1)))
            assert (await within(other)).found

    @async_test
    async def test_m_99_calls_that_are_lost_or_come_twice_are_done_once(self, tmp_path: Path) -> None:
        """M-99."""
        self.need("over_calls")

        def faults(operation: str, number: int) -> Fault:
            return FAULTS[number % len(FAULTS)]

        async with self.make_memory(tmp_path, faults=faults) as connect:
            one, two, three = parts_of(connect(), connect())
            for number in range(1, 21):
                answers = await asyncio.gather(*(part.do(Add("n")) for part in (one, two, three)))
                assert max(answer.number for answer in answers) == 3 * number
                waiting = await one.waits(Pop("list"))
                assert (await two.do(Append("list", plain(number)))).number == 1
                assert loaded((await within(waiting)).value) == number
                meeting = [one.start(gather(1, number)), two.start(gather(2, number))]
                assert gathered(await three.do(gather(3, number), WAIT), 1, 2, 3)
                await within(asyncio.gather(*meeting))
                held = await one.do(Lock("l", LONG))
                next_one = await two.waits(Lock("l", LONG))
                await one.do(Unlock("l", int(held.number)))
                await two.do(Unlock("l", int((await within(next_one)).number)))
            assert not (await one.do(Pop("list"))).found


async def _goes_on(part: Part, lost: str) -> bool:
    """Whether *part* was answered from a table other than *lost*."""
    try:
        await part.do(Get("anything"))
    except (MemoryLost, Unreachable):
        return False
    return part.memory.table != lost
