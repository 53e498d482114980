"""M-70 … M-79: attempts that are over, scopes, and clearing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import pytest

from discomputify_core.errors import AttemptOver, PartGone
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.memory import (
    AGAIN,
    DONE,
    GONE,
    Add,
    Append,
    Command,
    Get,
    Lock,
    Names,
    Over,
    Pop,
    Put,
    Remove,
    Renew,
    Unlock,
)
from discomputify_testkit.memory.base import (
    LONG,
    WAIT,
    MemorySuite,
    Part,
    Waiting,
    loaded,
    new_scope,
    parts_of,
    plain,
    same,
    within,
)
from discomputify_testkit.memory.rounds import barrier, broadcast, gather
from discomputify_testkit.running import async_test

#: One command of each kind.
COMMANDS: list[Command] = [
    Put("a", plain(1)),
    Get("a"),
    Remove("a"),
    Add("n"),
    Append("list", plain(1)),
    Pop("list"),
    Names(),
    Lock("l", LONG),
    Renew("l", 1, LONG),
    Unlock("l", 1),
    barrier(),
    gather(1),
    broadcast(),
]


async def refused(part: Part) -> None:
    """Check that whatever *part* asks for is refused, at once."""
    for command in COMMANDS:
        with pytest.raises(AttemptOver):
            await part.do(command, WAIT)


class Attempts(MemorySuite):
    """Clauses about attempts, and about scopes."""

    @async_test
    async def test_m_70_a_newer_attempt_replaces_the_older_one(self, tmp_path: Path) -> None:
        """M-70."""
        async with self.make_memory(tmp_path) as connect:
            mine, other = connect(), connect()
            one, two, _ = parts_of(mine)
            lock = await one.do(Lock("held", LONG))
            await one.do(Put("mine", plain(1), ephemeral=True))
            waits: list[Waiting] = [Get("w"), Pop("q"), barrier(1, "b")]
            waiting = [await one.waits(command) for command in waits]
            newer = one.again().through(other)
            assert not (await newer.do(Get("mine"))).found
            for task in waiting:
                with pytest.raises(AttemptOver):
                    await within(task)
            await refused(one)
            assert (await two.do(Lock("held", LONG))).number > lock.number
            assert (await newer.do(Names())).names == ()

    @async_test
    async def test_m_71_what_an_attempt_asks_that_is_over_is_refused(self, tmp_path: Path) -> None:
        """M-71."""
        async with self.make_memory(tmp_path) as connect:
            memories = connect(), connect()
            for stands in (AGAIN, DONE, GONE):
                one, two, _ = parts_of(*memories)
                await two.do(Lock("taken", LONG))
                waits: list[Waiting] = [Get("w"), Pop("q"), Lock("taken", LONG), barrier(1, "b")]
                waiting = [await one.waits(command) for command in waits]
                await Part(two.memory, one.member).end(stands)
                for task in waiting:
                    with pytest.raises(AttemptOver):
                        await within(task)
                await refused(one)
                await two.do(Append("q", plain(1)))
                assert (await two.do(Pop("q"))).found

    @async_test
    async def test_m_72_what_is_told_again_or_late_changes_nothing(self, tmp_path: Path) -> None:
        """M-72."""
        async with self.make_memory(tmp_path) as connect:
            one, two, _ = parts_of(connect(), connect())
            await one.end(AGAIN)
            newer = one.again()
            token = (await newer.do(Lock("l", LONG))).number
            await newer.do(Put("mine", plain(1), ephemeral=True))
            waiting = await newer.waits(Get("w"))
            for stands in (AGAIN, GONE, DONE):
                await one.end(stands)
                await one.through(two.memory).end(stands)
            assert not waiting.done()
            assert (await two.do(Get("mine"))).found
            await newer.do(Renew("l", int(token), LONG))
            await two.do(Put("w", plain(1)))
            assert (await within(waiting)).found
            await newer.end(DONE)
            await newer.end(AGAIN)
            with pytest.raises(PartGone):
                await two.do(barrier(), WAIT)

    @async_test
    async def test_m_73_what_is_ephemeral_goes_with_the_attempt_that_set_it(self, tmp_path: Path) -> None:
        """M-73."""
        async with self.make_memory(tmp_path) as connect:
            memories = connect(), connect()
            for stands in (AGAIN, DONE, GONE):
                one, two, _ = parts_of(*memories)
                for name in ("goes", "becomes its", "becomes lasting"):
                    await (two if name == "becomes its" else one).do(Put(name, plain(1), ephemeral=True))
                await one.do(Put("stays", plain(1)))
                await one.do(Put("becomes its", plain(2), ephemeral=True))
                await two.do(Put("becomes lasting", plain(2)))
                await two.do(Put("of two", plain(1), ephemeral=True))
                await one.end(stands)
                assert (await two.do(Names())).names == ("becomes lasting", "of two", "stays")
                assert (await two.do(Put("goes", plain(1), version=0))).found

    @async_test
    async def test_m_74_the_locks_of_an_attempt_that_is_over_are_free(self, tmp_path: Path) -> None:
        """M-74."""
        async with self.make_memory(tmp_path) as connect:
            memories = connect(), connect()
            for stands in (AGAIN, DONE, GONE):
                one, two, three = parts_of(*memories)
                first = await one.do(Lock("l", LONG))
                await one.do(Lock("m", LONG))
                waiting = await two.waits(Lock("l", LONG))
                await three.memory.ended(one.member.scope, 3, [one.over(stands)])
                answer = await within(waiting)
                assert answer.found
                assert answer.number > first.number
                assert not (await three.do(Lock("l", LONG))).found
                assert (await three.do(Lock("m", LONG))).found

    @async_test
    async def test_m_75_who_waited_for_a_lock_and_is_over_does_not_get_it(self, tmp_path: Path) -> None:
        """M-75."""
        async with self.make_memory(tmp_path) as connect:
            one, two, three = parts_of(connect(), connect())
            token = (await one.do(Lock("l", LONG))).number
            gone = await two.waits(Lock("l", LONG))
            popping = await two.waits(Pop("q"))
            patient = await three.waits(Lock("l", LONG))
            await two.end(AGAIN)
            await one.do(Unlock("l", int(token)))
            assert (await within(patient)).found
            await one.do(Append("q", plain(1)))
            assert (await one.do(Pop("q"))).found
            for task in (gone, popping):
                with pytest.raises(AttemptOver):
                    await within(task)

    @async_test
    async def test_m_76_parts_that_never_asked_can_be_over_too(self, tmp_path: Path) -> None:
        """M-76."""
        async with self.make_memory(tmp_path) as connect:
            memory = connect()
            one, two, three = parts_of(memory)
            over = [Over(three.number, 0, three.member.attempt, GONE, "it failed"), two.over(AGAIN)]
            await within(memory.ended(one.member.scope, 3, over))
            await within(memory.ended(one.member.scope, 3, over))
            with pytest.raises(PartGone) as caught:
                await one.do(barrier(), WAIT)
            assert caught.value.fields["part"] == 3
            await refused(two)
            await two.again().do(Put("a", plain(1)))
            assert (await one.do(Get("a"))).found

    @async_test
    async def test_m_77_scopes_see_nothing_of_each_other(self, tmp_path: Path) -> None:
        """M-77."""
        async with self.make_memory(tmp_path) as connect:
            memories = connect(), connect()
            first = new_scope()
            others = [
                attrs.evolve(first, process_id=ProcessId("job2")),
                attrs.evolve(first, key=first.key + "1"),
                attrs.evolve(first, generation=1),
                attrs.evolve(first, generation=11),
            ]
            one, two = parts_of(*memories, total=2, scope=first)
            await one.do(Put("a", plain(1)))
            await one.do(Append("list", plain(1)))
            await one.do(Lock("l", LONG))
            lonely = await one.waits(barrier())
            waiting = await one.waits(Get("w"))
            await two.do(broadcast("x", root=2))
            await two.end(GONE)
            with pytest.raises(PartGone):
                await within(lonely)
            for scope in others:
                mine, second = parts_of(*memories, total=2, scope=scope)
                assert (await mine.do(Names())).names == ()
                assert not (await mine.do(Pop("list"))).found
                assert (await mine.do(Lock("l", LONG))).found
                reached = await mine.waits(barrier())
                await second.do(barrier(), WAIT)
                await within(reached)
                await mine.do(Put("w", plain(1)))
                await within(memories[0].clear(scope))
            assert not waiting.done()
            assert (await one.do(Names())).names == ("a", "list")
            await two.again().do(Put("w", plain("late")))
            assert loaded((await within(waiting)).value) == "late"

    @async_test
    async def test_m_78_clear_frees_everything_and_who_waits_is_told(self, tmp_path: Path) -> None:
        """M-78."""
        async with self.make_memory(tmp_path) as connect:
            memories = connect(), connect()
            one, two, three = parts_of(*memories)
            other, *_ = parts_of(*memories)
            await other.do(Put("a", plain(1)))
            await one.do(Put("a", plain(1)))
            await one.do(Lock("l", LONG))
            waits: list[Waiting] = [Get("w"), Pop("q"), Lock("l", LONG), barrier(1, "b")]
            waiting = [await two.waits(command) for command in waits]
            await within(memories[0].clear(one.member.scope))
            for task in waiting:
                with pytest.raises(AttemptOver):
                    await within(task)
            for part in (one, two, three, one.again()):
                await refused(part)
            listing = await one.look()
            assert (listing.rows, listing.size, listing.count) == ((), 0, 0)
            assert same((await other.do(Get("a"))).value, plain(1))

    @async_test
    async def test_m_79_clearing_what_is_not_there_is_no_error(self, tmp_path: Path) -> None:
        """M-79."""
        async with self.make_memory(tmp_path) as connect:
            memory = connect()
            one, *_ = parts_of(memory)
            for _ in range(2):
                await within(memory.clear(one.member.scope))
            await one.end(DONE)
            await refused(one)
            next_generation = attrs.evolve(one.member.scope, generation=1)
            one, *_ = parts_of(memory, scope=next_generation)
            assert loaded((await asyncio.gather(one.do(Add("n")), one.do(Get("n"), WAIT)))[1].value) == 1
