"""Shared memory over real sockets: connections that break, services that restart, and services that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest

from discomputify_core.edge.calls import Link
from discomputify_core.edge.serving import Server
from discomputify_core.errors import MemoryLost, WrongKind
from discomputify_core.interfaces.calls import GiveUp
from discomputify_core.interfaces.transport import Address, Transport
from discomputify_core.model.conf import Conf
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.memory import (
    GATHER,
    Add,
    Append,
    Command,
    Get,
    Lock,
    Meet,
    Member,
    Names,
    Pop,
    Put,
    Scope,
    Unlock,
    Value,
)
from discomputify_core.model.message import Hello
from discomputify_sharedmem.client import SharedMem
from discomputify_sharedmem.service import SharedMemNode
from discomputify_tcp.transport import TcpTransport
from discomputify_testkit.confs import make_conf
from discomputify_testkit.fakes.memory_transport import MemoryTransport
from discomputify_testkit.memory.base import eventually
from discomputify_testkit.running import async_test, until
from discomputify_testkit.wire import Wire, open_wire

SCOPE = Scope(ProcessId("job"), "k")
ONE = Value("json", b"1")
WAIT = 20.0
ROLE = "shared_mem_node"


def member(part: int = 1, total: int = 4) -> Member:
    return Member(SCOPE, AttemptId(f"job.{part}.1.k"), part, 1, total)


@attrs.define
class Rig:
    """A service, and clients that come over a wire which can be cut."""

    conf: Conf
    transport: Transport
    node: SharedMemNode
    server: Server
    address: Address
    wire: Wire | None = None
    links: list[Link] = attrs.field(factory=list)
    memories: list[SharedMem] = attrs.field(factory=list)
    told: list[str] = attrs.field(factory=list)

    def connect(self) -> SharedMem:
        link = Link(self.transport, self.wire.address if self.wire else self.address, ROLE, Hello("computing_node"))
        memory = SharedMem(self.conf, None, link)
        memory.on_lost = self.told.append
        self.links.append(link)
        self.memories.append(memory)
        return memory

    async def stop(self) -> None:
        await self.server.close()
        await self.node.close()

    async def start(self) -> None:
        self.node = SharedMemNode(self.conf, None)
        await self.node.open()
        self.server = Server(self.transport, Hello(ROLE), self.node.operations())
        (self.address,) = await self.server.open((self.address,))


@asynccontextmanager
async def rig(*, tcp: bool = True) -> AsyncIterator[Rig]:
    conf = make_conf()
    transport: Transport = TcpTransport(conf, None) if tcp else MemoryTransport(conf)
    node = SharedMemNode(conf, None)
    made = Rig(conf, transport, node, Server(transport, Hello(ROLE), {}), Address("127.0.0.1", 0))
    await made.start()
    try:
        if tcp:
            async with open_wire(made.address) as made.wire:
                yield made
                await close(made)
        else:
            yield made
            await close(made)
    finally:
        await made.stop()


async def close(made: Rig) -> None:
    for memory in made.memories:
        await memory.close()
    for link in made.links:
        await link.close()


async def waits(memory: SharedMem, part: int, command: Pop | Get | Lock | Meet) -> asyncio.Task[object]:
    task: asyncio.Task[object] = asyncio.ensure_future(memory.do(member(part), command, WAIT))

    async def shown() -> bool:
        return any(part in row.waiting for row in (await memory.look(SCOPE)).rows)

    await eventually(shown)
    return task


@pytest.mark.parametrize("tcp", [True, False], ids=["tcp", "memory"])
def test_two_nodes_share_over_a_transport(tcp: bool) -> None:
    @async_test
    async def main() -> None:
        async with rig(tcp=tcp) as r:
            one, two = r.connect(), r.connect()
            await one.do(member(1), Put("a", ONE))
            assert (await two.do(member(2), Get("a"))).value == ONE
            popping = await waits(two, 2, Pop("q"))
            await one.do(member(1), Append("q", ONE))
            assert getattr(await popping, "value", None) == ONE
            values = [Value("bytes", bytes([part]) * 3_000_000) for part in range(1, 5)]
            meeting = [
                memory.do(member(part), Meet(GATHER, "g", 1, values[part - 1]), WAIT)
                for part, memory in zip((1, 2, 3, 4), (one, two, one, two), strict=True)
            ]
            for answer in await asyncio.gather(*meeting):
                assert list(answer.values) == values

    main()


@async_test
async def test_a_connection_that_breaks_loses_nothing_and_repeats_nothing() -> None:
    async with rig() as r:
        one, two = r.connect(), r.connect()
        table = None
        for turn in range(1, 6):
            popping = await waits(two, 2, Pop("q"))
            held = await one.do(member(1), Lock("l", 60.0))
            locking = await waits(two, 3, Lock("l", 60.0))
            assert r.wire is not None
            adding = [asyncio.ensure_future(one.do(member(1), Add("n"))) for _ in range(20)]
            await asyncio.sleep(0)
            r.wire.cut()
            await one.do(member(1), Append("q", ONE))
            await one.do(member(1), Unlock("l", int(held.number)))
            assert getattr(await popping, "value", None) == ONE
            await two.do(member(3), Unlock("l", int(getattr(await locking, "number", 0))))
            assert max(answer.number for answer in await asyncio.gather(*adding)) == 20 * turn
            table = table or one.table
        assert one.table == two.table == table
        assert r.told == []


@async_test
async def test_a_service_that_restarts_has_lost_everything_and_all_are_told() -> None:
    async with rig() as r:
        one, two, idle = r.connect(), r.connect(), r.connect()
        await idle.ended(SCOPE, 4, [])
        await idle.look(SCOPE)
        waiting = [await waits(one, 1, Get("w")), await waits(two, 2, Meet("barrier", "b", 1))]
        await r.stop()
        await r.start()
        for task in waiting:
            with pytest.raises(MemoryLost):
                await task
        await until(lambda: len(r.told) == 3 and all(m.table == r.node.table for m in (one, two, idle)))
        assert (await one.do(member(1), Names())).names == ()
        await two.do(member(2), Put("w", ONE))
        assert (await one.do(member(1), Get("w"))).value == ONE
        assert len(r.told) == 3


@async_test
async def test_a_service_that_stays_away_is_lost_soon() -> None:
    async with rig() as r:
        memory = r.connect()
        waiting = await waits(memory, 1, Get("w"))
        started = asyncio.get_running_loop().time()
        await r.stop()
        with pytest.raises(MemoryLost, match="not there again within 2 s"):
            await waiting
        assert asyncio.get_running_loop().time() - started < 10
        await until(lambda: r.told)
        await r.start()
        assert (await memory.do(member(1), Add("n"), 5.0)).number == 1
        assert memory.table == r.node.table
        assert len(r.told) == 1


def begin(memory: SharedMem, told: list[object], command: Command) -> GiveUp:
    give_up = memory.begin(member(1), command, told.append)
    assert give_up is not None
    return give_up


@async_test
async def test_what_is_begun_is_told_once_in_order_and_not_before_it_is_begun() -> None:
    async with rig() as r:
        memory, told = r.connect(), list[object]()
        assert memory.begin(member(1), Add("n"), told.append) is None, "it is not known yet where the service is"
        await memory.do(member(1), Names())
        assert memory.begin(member(1), Get(""), told.append) is None, "do() says what is wrong with it"
        for _ in range(600):
            begin(memory, told, Add("n"))
        assert told == []
        await until(lambda: len(told) == 600)
        assert [getattr(answer, "number", 0) for answer in told] == list(range(1, 601))
        begin(memory, told, Append("n", ONE))
        await until(lambda: len(told) == 601)
        assert isinstance(told[-1], WrongKind)


@async_test
async def test_what_is_given_up_is_told_to_nobody_and_not_sent_if_it_was_not_yet() -> None:
    async with rig() as r:
        memory, told = r.connect(), list[object]()
        await memory.do(member(1), Names())
        sent = begin(memory, told, Add("n"))
        waiting = begin(memory, told, Add("n"))
        sent()
        waiting()
        waiting()
        begin(memory, told, Get("nothing"))()
        assert (await memory.do(member(1), Add("n"))).number == 2
        assert told == []


@async_test
async def test_what_is_begun_survives_a_cut_and_is_done_once() -> None:
    async with rig() as r:
        memory, told = r.connect(), list[object]()
        await memory.do(member(1), Names())
        assert r.wire is not None
        expected = 0

        def all_told() -> bool:
            return len(told) == expected

        for _ in range(5):
            expected += 20
            for _ in range(20):
                begin(memory, told, Add("n"))
            await asyncio.sleep(0)
            r.wire.cut()
            await until(all_told)
        assert sorted(getattr(answer, "number", 0) for answer in told) == list(range(1, 101))


@async_test
async def test_where_all_is_lost_those_are_told_whose_commands_were_begun() -> None:
    async with rig() as r:
        memory, told = r.connect(), list[object]()
        await memory.do(member(1), Names())
        assert r.wire is not None
        r.wire.back.stall()
        begin(memory, told, Add("n"))
        begin(memory, told, Add("n"))
        await r.stop()
        r.wire.cut()
        r.wire.flow()
        await until(lambda: len(told) == 2)
        assert all(isinstance(each, MemoryLost) for each in told)
        assert memory.begin(member(1), Add("n"), told.append) is None
        await r.start()
