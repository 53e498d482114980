"""The master's end of shared memory: what it tells and clears, which losses it notices, what it passes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from discomputify_core.edge.calls import Link
from discomputify_core.edge.connect import hello, master_address
from discomputify_core.errors import (
    AttemptOver,
    BadName,
    DiscomputifyError,
    MemoryLost,
    NoSharedMemory,
    NoSuchJob,
    PartGone,
    PluginBroke,
    Refused,
    Unreachable,
)
from discomputify_core.interfaces.calls import Asked, Operation, Reply
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import End, JobState, Outcome
from discomputify_core.model.memory import (
    BARRIER,
    BYTES,
    JSON,
    Append,
    Listing,
    Meet,
    Member,
    Over,
    Put,
    Row,
    Scope,
    Value,
)
from discomputify_core.model.message import ArrayKept, ArrayWanted, Start, StartOver, UsesMemory
from discomputify_core.roles.master import memory as module
from discomputify_core.roles.master.master import MasterNode
from discomputify_core.roles.master.memory import bounded
from discomputify_testkit.fakes.memory_shared import FakeSharedMemory, FakeTable
from discomputify_testkit.running import run, until

from .test_master import FakeNode, asked, fake, submitted

Small = Callable[[], Any]


def member(start: Start, total: int = 2) -> Member:
    return Member(Scope(start.process_id, start.key, start.generation), start.attempt, start.part, start.number, total)


def uses(table: FakeTable, *starts: Start) -> tuple[UsesMemory, ...]:
    return tuple(UsesMemory(start.attempt, table.name) for start in starts)


async def shared(
    small: Any, memory: FakeSharedMemory, parts: int = 2, **more: Any
) -> tuple[MasterNode, FakeNode, list[Start]]:
    """A master with *memory*, a node, and a job of which all parts are started."""
    master = await small.master(memory=memory)
    node = await fake(small, slots=parts)
    await submitted(small, parts=parts, **more)
    return master, node, await node.told(parts)


async def soon(waiting: asyncio.Task[Any]) -> Any:
    return await asyncio.wait_for(waiting, 10)


def barrier(table: FakeTable, start: Start) -> asyncio.Task[Any]:
    """The part of *start* waits for all others."""
    client = FakeSharedMemory(shared=table)
    return asyncio.create_task(client.do(member(start), Meet(BARRIER, "b", 1), 20.0))


class Flaky(FakeSharedMemory):
    """Raises what a test wants before it works."""

    errors: list[BaseException]

    async def ended(self, scope: Scope, total: int, over: Sequence[Over]) -> None:
        if self.errors:
            raise self.errors.pop()
        await super().ended(scope, total, over)

    async def clear(self, scope: Scope) -> None:
        if self.errors:
            raise self.errors.pop()
        await super().clear(scope)


# --- telling ----------------------------------------------------------------------------------------


def test_those_who_wait_for_a_part_that_failed_are_told(small: Small) -> None:
    async def main() -> None:
        table = FakeTable()
        async with small() as cluster:
            _, node, (one, two) = await shared(cluster, FakeSharedMemory(shared=table), attempts=1)
            waiting = barrier(table, two)
            await node.report(uses_memory=uses(table, two))
            await node.report(ended=(Outcome(one.attempt, End.EXIT, 1, "exit code 1"),))
            with pytest.raises(PartGone, match="exit code 1"):
                await soon(waiting)

    run(main())


@pytest.mark.parametrize("error", [Unreachable("away"), RuntimeError("a bug"), MemoryLost("lost")])
def test_what_cannot_be_told_at_once_is_told_later(small: Small, error: BaseException) -> None:
    async def main() -> None:
        table = FakeTable()
        memory = Flaky(shared=table)
        memory.errors = [error, error]
        async with small() as cluster:
            _, node, (one, two) = await shared(cluster, memory, attempts=1)
            waiting = barrier(table, two)
            await node.report(uses_memory=uses(table, two), ended=(Outcome(one.attempt, End.EXIT, 1),))
            with pytest.raises(PartGone):
                await soon(waiting)

    run(main())


def test_a_cleared_job_leaves_nothing(small: Small) -> None:
    async def main() -> None:
        table = FakeTable()
        memory = Flaky(shared=table)
        memory.errors = []
        async with small() as cluster:
            _, node, (one, two) = await shared(cluster, memory)
            client = FakeSharedMemory(shared=table)
            await client.do(member(one), Put("x", Value(JSON, b"1")))
            await node.report(uses_memory=uses(table, one))
            await node.done(one, two)
            assert table.scopes
            memory.errors = [Unreachable("away")]
            await asked(cluster, "job.clear", {"process_id": "job"})
            await until(lambda: not table.scopes)
            with pytest.raises(AttemptOver):
                await client.do(member(one), Put("x", Value(JSON, b"1")))

    run(main())


def test_a_scope_that_cannot_be_cleared_is_given_up(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_UP", 0.05)

    async def main() -> None:
        table = FakeTable()
        memory = Flaky(shared=table)
        memory.errors = []
        async with small() as cluster:
            master, node, (one, two) = await shared(cluster, memory)
            await node.report(uses_memory=uses(table, one))
            await node.done(one, two)
            await until(lambda: not master.memory._orders)
            memory.errors = [Unreachable("away")] * 1000
            await asked(cluster, "job.clear", {"process_id": "job"})
            await until(lambda: not master.memory._orders)
            assert 900 < len(memory.errors) < 1000

    run(main())


def test_a_master_without_shared_memory_says_so_once(small: Small, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster)
            await submitted(cluster)
            one, two = await node.told(2)
            await node.report(uses_memory=(UsesMemory(one.attempt, "t"), UsesMemory(two.attempt, "t")))
            await node.done(one, two)
            assert (await cluster.client().status("job")).state is JobState.DONE
            with pytest.raises(NoSharedMemory, match="SHARED_MEM"):
                await cluster.client().memory("job")

    run(main())
    assert [record.levelname for record in caplog.records if "names none" in record.message] == ["ERROR"]


# --- losses -----------------------------------------------------------------------------------------


def test_a_loss_starts_over_what_used_the_memory(small: Small) -> None:
    async def main() -> None:
        table = FakeTable()
        async with small() as cluster:
            master, node, (one, two) = await shared(cluster, FakeSharedMemory(shared=table), parts=2)
            await node.report(uses_memory=uses(table, one, two))
            await node.done(one)
            await until(lambda: not master.memory._doubtful and not master.memory._orders)
            table.lose("it was started again")
            await until(lambda: two.attempt in node.stopped)
            assert "started again" in node.stopped[two.attempt]
            await node.report(ended=(Outcome(two.attempt, End.STOPPED),))
            again = (await node.told(4))[2:]
            assert sorted((start.part, start.number, start.generation) for start in again) == [(1, 2, 1), (2, 2, 1)]
            await node.report(uses_memory=uses(table, *again))
            await node.done(*again)
            status = await cluster.client().wait("job", 5)
            assert (status.state, status.parts.done) == (JobState.DONE, 2)
            assert "started again together once" in status.warnings[0]
            assert master.cluster.job(ProcessId("job")).generation == 1

    run(main())


def test_a_table_that_the_master_does_not_see_is_lost(small: Small) -> None:
    async def main() -> None:
        table = FakeTable()
        async with small() as cluster:
            _, node, (one, two) = await shared(cluster, FakeSharedMemory(shared=table))
            await node.report(uses_memory=uses(table, two))
            await node.report(uses_memory=(UsesMemory(one.attempt, "gone"),))
            await until(lambda: {one.attempt, two.attempt} <= set(node.stopped))

    run(main())


def test_a_table_is_not_judged_before_the_memory_is_seen(small: Small) -> None:
    class Away(FakeSharedMemory):
        looks = 0

        async def look(self, scope: Scope, name: str = "") -> Listing:
            self.looks += 1
            if self.looks < 3:
                raise Unreachable("away")
            return await super().look(scope, name)

    async def main() -> None:
        table = FakeTable()
        memory = Away(shared=table)
        async with small() as cluster:
            master, node, (one, two) = await shared(cluster, memory)
            await node.report(uses_memory=uses(table, one, two))
            await until(lambda: not master.memory._doubtful)
            assert memory.looks == 3
            assert not node.stopped

    run(main())


def test_a_node_asks_to_start_over_after_it_told_of_the_use(small: Small) -> None:
    async def main() -> None:
        table = FakeTable()
        async with small() as cluster:
            _, node, (one, two) = await shared(cluster, FakeSharedMemory(shared=table))
            await node.report(uses_memory=uses(table, two))
            await node.report(
                uses_memory=uses(table, one),
                start_over=(StartOver(one.attempt, "round 3 is not kept"),),
                ended=(Outcome(one.attempt, End.EXIT, 1),),
            )
            await until(lambda: two.attempt in node.stopped)
            (again,) = (await node.told(3))[2:]
            assert (again.part, again.generation) == (1, 1)
            assert not (await cluster.client().status("job")).failures

    run(main())


# --- looking ----------------------------------------------------------------------------------------


def test_a_client_looks(small: Small) -> None:
    async def main() -> None:
        table = FakeTable()
        async with small() as cluster:
            _, node, (one, two) = await shared(cluster, FakeSharedMemory(shared=table))
            client = cluster.client()
            assert await client.memory("job") == Listing()
            user = FakeSharedMemory(shared=table)
            await user.do(member(one), Put("x", Value(JSON, b"1.5")))
            await user.do(member(one), Put("big", Value(BYTES, b"b" * 300_000)))
            await user.do(member(one), Append("list", Value(JSON, b'"a"')))
            waiting = barrier(table, two)
            await node.report(uses_memory=uses(table, one, two))
            listing = await client.memory("job")
            assert [(row.kind, row.name) for row in listing.rows] == [
                ("value", "big"),
                ("list", "list"),
                ("value", "x"),
                ("barrier", "b"),
            ]
            assert (listing.rows[-1].waiting, listing.rows[-1].missing) == ((2,), (1,))
            assert (await client.memory("job", "x")).values == (Value(JSON, b"1.5"),)
            (cut,) = (await client.memory("job", "big")).values
            assert cut.data == b"b" * 65_536
            assert not (await client.memory("job", "nothing")).rows
            with pytest.raises(BadName):
                await client.memory("job", "x" * 300)
            with pytest.raises(NoSuchJob):
                await client.memory("other")
            waiting.cancel()

    run(main())


def test_a_memory_that_does_not_answer_is_not_waited_for_long(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(FakeSharedMemory):
        async def look(self, scope: Scope, name: str = "") -> Listing:
            await asyncio.get_running_loop().create_future()
            raise AssertionError("nobody answers")

    monkeypatch.setattr(module, "LOOK", 0.05)

    async def main() -> None:
        table = FakeTable()
        async with small() as cluster:
            _, node, (one, _) = await shared(cluster, Silent(shared=table))
            await node.report(uses_memory=uses(table, one))
            with pytest.raises(Unreachable, match="shared memory"):
                await cluster.client().memory("job")

    run(main())


def test_a_plugin_that_breaks_is_named(small: Small) -> None:
    class Broken(FakeSharedMemory):
        async def look(self, scope: Scope, name: str = "") -> Listing:
            raise KeyError("x")

    async def main() -> None:
        table = FakeTable()
        async with small() as cluster:
            _, node, (one, _) = await shared(cluster, Broken(shared=table))
            await node.report(uses_memory=uses(table, one))
            with pytest.raises(PluginBroke, match="'memory' raised KeyError"):
                await cluster.client().memory("job")

    run(main())


def test_listings_are_cut_to_what_a_message_holds() -> None:
    many = Listing(rows=tuple(Row("value", f"{n:04}" + "n" * 250) for n in range(3000)), more=5)
    cut = bounded(many)
    assert len(cut.rows) + cut.more == 3005
    assert 0 < len(cut.rows) < 3000
    waiting = bounded(Listing(rows=(Row("barrier", "b", missing=tuple(range(1, 200_001))),)))
    assert len(waiting.rows[0].missing) == 50_000
    values = bounded(Listing(values=(Value(BYTES, b"v" * 100_000),) * 100)).values
    assert sum(len(value.data) for value in values) <= 256 * 1024


# --- arrays of other nodes --------------------------------------------------------------------------


class KeepingNode(FakeNode):
    """A node that keeps arrays."""

    def __init__(self, cluster: Any, name: str) -> None:
        super().__init__(cluster, name)
        self.wanted: list[ArrayWanted] = []
        self.error: DiscomputifyError | None = None
        loaded = cluster.loaded()
        operations = {"node.work": Operation(self._work), "node.array": Operation(self._array)}
        own = hello("computing_node", name)
        self.link = Link(
            loaded.transport(),
            master_address(loaded.conf),
            "master_node",
            own,
            operations=operations,
            greet=self._greet,
        )

    async def _array(self, asked: Asked) -> Reply:
        self.wanted.append(from_plain(asked.data, ArrayWanted))
        if self.error is not None:
            raise self.error
        return Reply(to_plain(ArrayKept("blake2b:00", 12)))


async def keeping(cluster: Any, name: str) -> KeepingNode:
    node = KeepingNode(cluster, name)
    cluster._open.append(node)
    await node.link.connect(10)
    return node


WANTED = ArrayWanted("keeper", ProcessId("job"), "a1")


async def ask(node: FakeNode, wanted: ArrayWanted = WANTED) -> ArrayKept:
    reply = await node.link.call("node.array", to_plain(wanted), timeout=10)
    return from_plain(reply.data, ArrayKept)


def test_an_array_is_asked_of_the_node_that_keeps_it(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            keeper, other = await keeping(cluster, "keeper"), await fake(cluster, "other")
            assert await ask(other) == ArrayKept("blake2b:00", 12)
            assert await ask(other, attrs.evolve(WANTED, drop=True)) == ArrayKept()
            assert [wanted.drop for wanted in keeper.wanted] == [False, True]
            keeper.error = MemoryLost("it is not kept here")
            with pytest.raises(MemoryLost, match="not kept here"):
                await ask(other)

    run(main())


def test_an_array_of_a_node_that_is_gone_is_lost(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            other = await fake(cluster, "other")
            with pytest.raises(MemoryLost, match="'keeper', which is not connected") as lost:
                await ask(other)
            assert lost.value.fields["node"] == "keeper"
            assert await ask(other, attrs.evolve(WANTED, drop=True)) == ArrayKept()
            with pytest.raises(Refused, match="has not joined"):
                await asked(cluster, "node.array", to_plain(WANTED))

    run(main())


def test_a_node_that_is_cut_off_has_its_moment_to_come_back(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            keeper, other = await keeping(cluster, "keeper"), await fake(cluster, "other")
            await master.desks[keeper.facts.name].peer.close()
            await until(lambda: master.cluster.state.nodes[keeper.facts.name].state == "cut")
            asking = asyncio.create_task(ask(other))
            await keeper.link.connect(10)
            assert await asyncio.wait_for(asking, 10) == ArrayKept("blake2b:00", 12)

    run(main())
