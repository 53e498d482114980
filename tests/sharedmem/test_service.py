"""Service and client in one process: batches, repeats, clients that are gone, and what is malformed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from discomputify_core.errors import (
    ChannelClosed,
    DiscomputifyError,
    MemoryLost,
    PeerBroke,
    Refused,
    Unreachable,
)
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.memory import (
    BARRIER,
    Add,
    Answer,
    Append,
    Get,
    Lock,
    Meet,
    Member,
    Names,
    Over,
    Pop,
    Put,
    Scope,
    Value,
)
from discomputify_sharedmem import batches, client, wire
from discomputify_sharedmem.client import SharedMem
from discomputify_sharedmem.packing import pack_batch, pack_command, pack_member, packer
from discomputify_sharedmem.service import SILENT, SharedMemNode
from discomputify_sharedmem.unpacking import unpack_list
from discomputify_testkit.confs import make_conf
from discomputify_testkit.loopback import Fault, Faults, LoopbackCaller, UnreachableCaller, no_faults
from discomputify_testkit.memory.base import eventually
from discomputify_testkit.running import async_test, until

SCOPE = Scope(ProcessId("job"), "k")
ONE = Value("json", b"1")
WAIT = 20.0
PACK = packer()


def member(part: int = 1, total: int = 64) -> Member:
    return Member(SCOPE, AttemptId(f"job.{part}.1.k"), part, 1, total)


@attrs.define
class Rig:
    node: SharedMemNode
    callers: list[LoopbackCaller] = attrs.field(factory=list)
    memories: list[SharedMem] = attrs.field(factory=list)

    def connect(self, faults: Faults = no_faults) -> SharedMem:
        self.callers.append(LoopbackCaller(self.node.operations(), faults=faults))
        self.memories.append(SharedMem(make_conf(), None, self.callers[-1]))
        return self.memories[-1]

    async def waits(self, memory: SharedMem, part: int, command: Any) -> asyncio.Task[Answer]:
        """*command*, once the table has it."""
        task = asyncio.get_running_loop().create_task(memory.do(member(part), command, WAIT))

        async def shown() -> bool:
            return any(part in row.waiting for row in (await memory.look(SCOPE)).rows)

        await eventually(shown)
        return task


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    node = SharedMemNode(make_conf(), None)
    await node.open()
    made = Rig(node)
    try:
        yield made
    finally:
        for memory in made.memories:
            await memory.close()
        for caller in made.callers:
            await caller.close()
        await made.node.close()


@async_test
async def test_commands_travel_together_while_others_are_under_way() -> None:
    async with rig() as r:
        memory = r.connect()
        await memory.do(member(), Names())
        before = r.callers[0].calls[wire.DO]
        answers = await asyncio.gather(*(memory.do(member(part), Add("n")) for part in range(1, 65)))
        assert sorted(answer.number for answer in answers) == list(range(1, 65))
        assert r.callers[0].calls[wire.DO] == before + 2, "the first alone, all others together"
        await asyncio.gather(*(memory.do(member(part), Add("n")) for part in range(1, 65)))
        assert r.callers[0].calls[wire.DO] == before + 3, "several ask at once: all together"


@async_test
async def test_what_does_not_fit_into_one_message_travels_in_several() -> None:
    async with rig() as r:
        memory = r.connect()
        large = [Value("bytes", bytes([number]) * (7 * 1024 * 1024)) for number in range(6)]
        await asyncio.gather(*(memory.do(member(), Put(f"v{n}", value)) for n, value in enumerate(large)))
        got = await asyncio.gather(*(memory.do(member(), Get(f"v{n}")) for n in range(6)))
        assert [answer.value for answer in got] == large
        small = [Value("bytes", bytes([number]) * 200_000) for number in range(40)]
        await asyncio.gather(*(memory.do(member(), Append("list", value)) for value in small))
        answers = await asyncio.gather(*(memory.do(member(), Get("list")) for _ in range(5)))
        for answer in answers:
            assert sorted(value.data[0] for value in answer.values) == list(range(40))
        await memory.do(member(), Put("last", ONE))


@async_test
async def test_a_batch_whose_large_answer_is_lost_is_not_done_twice() -> None:
    losing = False

    def faults(operation: str, number: int) -> Fault:
        return Fault.ANSWER_LOST if losing and operation == wire.DO else Fault.NONE

    async with rig() as r:
        memory = r.connect(faults)
        await memory.do(member(), Put("big", Value("bytes", bytes(300_000))))
        losing = True
        added, got = await asyncio.gather(memory.do(member(), Add("n")), memory.do(member(), Get("big")))
        assert added.number == 1
        assert got.value is not None
        assert len(got.value.data) == 300_000
        assert (await memory.do(member(), Add("n"))).number == 2


@async_test
async def test_a_client_that_is_silent_is_given_up_and_told_when_it_comes_back() -> None:
    async with rig() as r:
        silent, other = r.connect(), r.connect()
        told = asyncio.Event()
        silent.on_lost = lambda reason: told.set()
        waiting = await r.waits(silent, 1, Pop("q"))
        await other.do(member(2), Names())
        later = asyncio.get_running_loop().time() + SILENT + 1
        r.node._guests[other_name(r, other)].heard_at = later
        r.node.give_up_silent(later)
        assert (await other.look(SCOPE)).rows == ()
        with pytest.raises(MemoryLost):
            await asyncio.wait_for(waiting, WAIT)
        await asyncio.wait_for(told.wait(), WAIT)
        await other.do(member(2), Append("q", ONE))
        assert (await silent.do(member(1), Pop("q"), WAIT)).value == ONE


def other_name(r: Rig, memory: SharedMem) -> str:
    session = memory._session
    assert session is not None
    return session.client


@async_test
async def test_a_client_that_closes_waits_for_nothing_any_more() -> None:
    async with rig() as r:
        going, staying = r.connect(), r.connect()
        waiting = await r.waits(going, 1, Get("x"))
        await going.close()
        with pytest.raises(ChannelClosed):
            await waiting
        assert (await staying.look(SCOPE)).rows == ()
        for call in (going.do(member(), Names()), going.look(SCOPE), going.clear(SCOPE), going.ended(SCOPE, 64, [])):
            with pytest.raises(ChannelClosed):
                await call


@async_test
async def test_a_service_that_was_never_there_is_waited_for_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "GRACE", 0.2)
    memory = SharedMem(make_conf(), None, UnreachableCaller())
    with pytest.raises(Unreachable, match=r"SHARED_MEM_NODE, SHARED_MEM_PORT.* was not reached within 0 s"):
        await memory.do(member(), Names())
    with pytest.raises(Unreachable):
        await memory.clear(SCOPE)
    assert memory.table == ""
    await memory.close()


@async_test
async def test_a_service_that_comes_late_is_waited_for() -> None:
    async with rig() as r:
        memory = r.connect()
        operations, r.callers[0].operations = r.callers[0].operations, {}
        r.callers[0].faults = lambda operation, number: Fault.CUT_BEFORE
        asking = asyncio.get_running_loop().create_task(memory.do(member(), Add("n")))
        await until(lambda: r.callers[0].calls[wire.HELLO] >= 2)
        assert not asking.done()
        r.callers[0].faults, r.callers[0].operations = no_faults, operations
        assert (await asking).number == 1
        assert memory.table == r.node.table


@async_test
async def test_a_service_that_refuses_is_not_asked_for_long() -> None:
    async def no(asked: Any) -> Any:
        raise Refused("The key differs.")

    async with rig() as r:
        memory = r.connect()
        operations = r.callers[0].operations
        r.callers[0].operations = {wire.HELLO: attrs.evolve(operations[wire.HELLO], handler=no)}
        with pytest.raises(Refused, match="The key differs"):
            await memory.do(member(), Names())
        r.callers[0].operations = operations
        assert (await memory.do(member(), Names())).names == ()


@async_test
async def test_a_service_that_does_not_answer_a_batch_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "GRACE", 0.2)
    async with rig() as r:
        memory = r.connect()
        await memory.do(member(), Names())
        operations = r.callers[0].operations
        stuck = asyncio.Event()

        async def wait_for_ever(asked: Any) -> Any:
            await stuck.wait()
            return await operations[wire.DO].handler(asked)

        r.callers[0].operations = {**operations, wire.DO: attrs.evolve(operations[wire.DO], handler=wait_for_ever)}
        for command in (Add("n"), Lock("l", 60.0)):
            with pytest.raises(Unreachable):
                await memory.do(member(), command, 1.0)
        r.callers[0].operations = operations
        assert (await memory.do(member(), Add("n"))).number in (1, 2)
        assert memory.table == r.node.table


@async_test
async def test_a_table_that_comes_anew_is_told_once_to_all_who_held_something() -> None:
    async with rig() as r:
        memories = [r.connect() for _ in range(3)]
        told: list[str] = []
        waiting = []
        for part, memory in enumerate(memories, 1):
            memory.on_lost = told.append
            waiting.append(await r.waits(memory, part, Meet(BARRIER, "b", 1)))
        first = memories[0].table
        for _ in range(2):
            told.clear()
            await r.node.close()
            with pytest.raises(MemoryLost):
                await waiting[0]
            r.node = SharedMemNode(make_conf(), None)
            await r.node.open()
            for caller in r.callers:
                caller.operations = r.node.operations()
            await until(lambda: len(told) == 3 and all(memory.table == r.node.table for memory in memories))
        assert memories[0].table != first
        for task in waiting:
            with pytest.raises(MemoryLost):
                await task
        assert (await memories[2].do(member(3), Add("n"))).number == 1
        assert len(told) == 3


@async_test
async def test_what_is_malformed_is_refused_and_nothing_else_suffers() -> None:
    async with rig() as r:
        memory = r.connect()
        await memory.do(member(), Put("a", ONE))
        waiting = await r.waits(memory, 2, Get("w"))
        caller = LoopbackCaller(r.node.operations())
        bodies = [b"", b"\xc1", b"\x90", PACK("x"), PACK([1, 2, 3, 4, 5]), PACK(["t", "c", 1, 1, [[1]]]), bytes(5000)]
        for body in bodies:
            for operation in (wire.DO, wire.ENDED):
                with pytest.raises(PeerBroke):
                    await caller.call(operation, None, body)
        malformed: list[Any] = [None, 5, {}, {"client": 5}, {"table": "t"}, {"scope": {}}]
        for data in malformed:
            for operation in (wire.HELLO, wire.WAKE, wire.CLEAR, wire.LOOK, wire.BYE):
                with pytest.raises(PeerBroke):
                    await caller.call(operation, data)
        await caller.close()
        assert (await memory.do(member(), Get("a"))).value == ONE
        await memory.do(member(), Put("w", ONE))
        assert (await waiting).value == ONE


@async_test
async def test_batches_are_for_one_table_one_client_and_one_time() -> None:
    async with rig() as r:
        caller = LoopbackCaller(r.node.operations())
        table = (await caller.call(wire.HELLO, {"client": "c"})).data["table"]
        add = pack_command(PACK, 1, pack_member(PACK, member()), 0.0, Add("n"))

        async def send(table: str, client: str, number: int, settled: int) -> Any:
            reply = await caller.call(wire.DO, None, pack_batch(PACK, table, client, number, settled, [add]))
            return unpack_list(reply.body, "replies")[0][2]

        assert await send(table, "c", 1, 1) == 1
        assert await send(table, "c", 1, 1) == 1, "the same batch again"
        assert await send(table, "c", 2, 2) == 2
        with pytest.raises(Refused):
            await send(table, "c", 1, 1)
        for other_table, other_client in (("other", "c"), (table, "unknown")):
            with pytest.raises(MemoryLost):
                await send(other_table, other_client, 3, 3)
        assert await send(table, "c", 3, 3) == 3
        await caller.close()


@async_test
async def test_what_a_master_says_of_many_attempts_arrives() -> None:
    async with rig() as r:
        memory = r.connect()
        total = 25_000
        over = [Over(part, 1, AttemptId(f"job.{part}.1.k"), "done") for part in range(2, total + 1)]
        await memory.ended(SCOPE, total, over)
        with pytest.raises(DiscomputifyError) as caught:
            await memory.do(member(1, total), Meet(BARRIER, "b", 1), WAIT)
        assert caught.value.fields["part"] == 2
