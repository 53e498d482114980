"""One attempt's use of shared memory: commands, rounds, large values, and what the master gets to know."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.errors import (
    AttemptOver,
    BadInput,
    BadName,
    MemoryFull,
    MemoryLost,
    NoSharedMemory,
    PartGone,
    PluginBroke,
    RoundForgotten,
    TooLate,
    Unreachable,
)
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import JobSpec
from discomputify_core.model.memory import GONE, Answer, Command, Limits, Member, Over, Scope
from discomputify_core.model.message import ArrayKept, ArrayWanted, Report, Start
from discomputify_core.roles.node import arrays_folder, arrays_kept, memory
from discomputify_core.roles.node.arrays import Arrays
from discomputify_core.roles.node.memory import NodeMemory
from discomputify_core.roles.node.part_agent import PartAgent
from discomputify_core.roles.node.reports import Reports
from discomputify_testkit.confs import make_conf
from discomputify_testkit.fakes.memory_shared import FakeSharedMemory, FakeTable
from discomputify_testkit.fakes.memory_store import MemoryContents, MemoryStore
from discomputify_testkit.running import run, until

SPEC = JobSpec(ProcessId("job"), "key", 2, "tree")
SCOPE = Scope(SPEC.process_id, SPEC.key)
JSON: dict[str, Any] = {"kind": "json"}
Making = Callable[[], Any]


class Part:
    """A part on a node of its own, around a table that all use."""

    def __init__(self, small: "Cluster", number: int, attempt: int = 1) -> None:
        self.number = number
        self.table = FakeSharedMemory(shared=small.table)
        work = small.folder / f"n{number}.{attempt}"
        work.mkdir()
        self.arrays = Arrays(NodeName(work.name), work, small.store, 1_000_000, small.ask)
        self.reports = Reports(self._sent)
        self.start = Start(SPEC.process_id, SPEC.key, AttemptId(f"job.{number}.{attempt}.key"), number, attempt)
        self.memory = NodeMemory(self.table, self.arrays).of(SPEC, self.start, self.reports)

    async def _sent(self, report: Report) -> None:
        raise AssertionError("nothing is sent here")

    async def ask(self, do: str, body: bytes = b"", **data: Any) -> Any:
        """Ask as a program does; the answer's data, with its body under "body"."""
        found, more = await self.memory.handle({"do": do, "name": "x", **data}, body)
        found = json.loads(json.dumps(found))
        return {**found, "body": bytes(more)} if more else found

    async def put(self, text: bytes, **data: Any) -> Any:
        return await self.ask("put", text, value=JSON, **data)

    async def large(self, data: bytes) -> dict[str, Any]:
        """What stands for *data*, written to a file of the node."""
        room = await self.ask("reserve", size=len(data))
        Path(room["path"]).write_bytes(data)
        return {
            "kind": "ref",
            "meta": {"id": room["id"], "node": room["node"], "of": "bytes", "size": len(data)},
        }

    def said(self) -> Report:
        """What the master is told next."""
        return self.reports._take()


class Cluster:
    """Parts on nodes of their own, one store, and a master that passes on what nodes ask of each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table = FakeTable()
        self.store = MemoryStore(make_conf(), contents=MemoryContents())
        self.parts: list[Part] = []
        self.dropped: list[ArrayWanted] = []

    def part(self, number: int, attempt: int = 1) -> Part:
        self.parts.append(Part(self, number, attempt))
        return self.parts[-1]

    async def ask(self, wanted: ArrayWanted) -> ArrayKept:
        if wanted.drop:
            self.dropped.append(wanted)
        for part in self.parts:
            if part.arrays.node == wanted.node:
                return await part.arrays.share(wanted)
        raise MemoryLost("It was kept by a node that is not there.", node=wanted.node)


@pytest.fixture
def making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Making:
    monkeypatch.setattr(arrays_kept, "GRACE", 0.0)
    monkeypatch.setattr(arrays_folder, "IN_MEMORY", Path("none"))

    @asynccontextmanager
    async def made() -> AsyncIterator[Cluster]:
        cluster = Cluster(tmp_path)
        try:
            yield cluster
        finally:
            for part in cluster.parts:
                await part.table.close()
                await part.arrays.close()

    return made


async def both(*work: Awaitable[Any]) -> list[Any]:
    return list(await asyncio.gather(*work))


def test_commands_and_their_answers(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            part = cluster.part(1)
            assert await part.ask("get") == {"found": False}
            assert await part.put(b"3.5") == {"version": 1}
            assert await part.ask("get") == {"version": 1, "value": {"kind": "json", "size": 3}, "body": b"3.5"}
            assert (await part.put(b"4", version=7)) == {"found": False, "version": 1}
            meta = {"dtype": "<i2", "shape": [2], "order": "C"}
            await part.ask("put", b"abcd", name="a", value={"kind": "array", "meta": meta})
            assert await part.ask("get", name="a") == {
                "version": 2,
                "value": {"kind": "array", "size": 4, "meta": meta},
                "body": b"abcd",
            }
            assert (await part.ask("add", name="n", by=2))["number"] == 2
            for item in (b"1", b"22"):
                await part.ask("append", item, name="l", value=JSON)
            listed = await part.ask("get", name="l")
            assert (listed["listed"], [each["size"] for each in listed["values"]]) == (True, [1, 2])
            assert listed["body"] == b"122"
            assert (await part.ask("pop", name="l"))["body"] == b"1"
            assert (await part.ask("names"))["names"] == ["a", "l", "n", "x"]
            assert [await part.ask("get", name=name, quiet=True) for name in ("l", "z")] == [{}, {"found": False}]
            token = (await part.ask("lock", lease=30))["number"]
            await part.ask("renew", token=token, lease=30)
            await part.ask("unlock", token=token)
            assert await part.ask("remove") == {}
            assert await part.ask("hello") == {}

    run(main())


def test_nonsense_is_refused_and_is_no_use_of_the_memory(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            part = cluster.part(1)
            await part.ask("hello")
            with pytest.raises(BadInput):
                await part.ask("flush")
            with pytest.raises(BadName):
                await part.ask("get", name="x" * 257)
            assert not part.memory.used
            assert part.said() == Report()

    run(main())


def test_the_master_knows_before_the_first_answer(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            part = cluster.part(1)
            waiting = asyncio.ensure_future(part.ask("get", wait=600))
            await until(lambda: part.memory.used)
            (first,) = part.said().uses_memory
            assert (first.attempt, first.table) == (part.start.attempt, "")
            await cluster.part(2).put(b"1")
            await waiting
            (second,) = part.said().uses_memory
            assert second.table == cluster.table.name
            await part.ask("get")
            assert part.said() == Report()
            other = cluster.part(2, 2)
            await other.table.look(SCOPE)
            cluster.table.lose("somebody pulled the plug")  # another part of its node had used it
            await other.ask("get")
            assert [use.table for use in other.said().uses_memory] == [cluster.table.name]

    run(main())


def test_rounds_are_counted_by_kind_and_name_and_only_complete_ones(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            one, two = cluster.part(1), cluster.part(2)
            for turn in (b"1", b"2"):
                await both(*(part.ask("meet", kind="barrier") for part in (one, two)))
                gathered = await both(*(part.ask("meet", turn, kind="gather", value=JSON) for part in (one, two)))
                assert [each["body"] for each in gathered] == [turn * 2] * 2
            await both(one.ask("meet", kind="barrier", name="y"), two.ask("meet", kind="barrier", name="y"))
            with pytest.raises(TooLate):
                await one.ask("meet", kind="barrier")
            await both(one.ask("meet", kind="barrier", wait=9), two.ask("meet", kind="barrier", wait=9))
            quiet, loud = await both(
                one.ask("meet", b"1", kind="gather", value=JSON, quiet=True, wait=9),
                two.ask("meet", b"2", kind="gather", value=JSON, wait=9),
            )
            assert (quiet, loud["body"]) == ({}, b"12")

    run(main())


def test_a_part_that_runs_again_passes_through_complete_rounds(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            one, two = cluster.part(1), cluster.part(2)
            for turn in (b"1", b"2"):
                await both(*(part.ask("meet", turn, kind="gather", value=JSON, wait=9) for part in (one, two)))
                await one.ask("meet", turn, kind="broadcast", value=JSON)
                assert (await two.ask("meet", kind="broadcast"))["body"] == turn
            again = cluster.part(2, 2)
            for turn in (b"1", b"2"):
                assert (await again.ask("meet", turn, kind="gather", value=JSON))["body"] == turn * 2
                assert (await again.ask("meet", kind="broadcast"))["body"] == turn
            await both(*(part.ask("meet", b"3", kind="gather", value=JSON, wait=9) for part in (one, again)))

    run(main())


def test_a_forgotten_round_makes_all_start_over(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            cluster.table = FakeTable(Limits(history_rounds=1))
            one, two = cluster.part(1), cluster.part(2)
            for _ in range(2):
                await both(*(part.ask("meet", b"1", kind="gather", value=JSON, wait=9) for part in (one, two)))
            again = cluster.part(2, 2)
            with pytest.raises(RoundForgotten) as forgotten:
                await again.ask("meet", b"1", kind="gather", value=JSON)
            (asked,) = again.said().start_over
            assert (asked.attempt, asked.reason) == (again.start.attempt, str(forgotten.value))
            assert again.memory.lost == ""

    run(main())


def test_too_many_names_of_rounds_are_refused(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_ROUNDS", 1)

    async def main() -> None:
        async with making() as cluster:
            part = cluster.part(1)
            for _ in range(2):
                await part.ask("meet", b"1", kind="broadcast", value=JSON)
            with pytest.raises(MemoryFull):
                await part.ask("meet", b"1", kind="broadcast", name="y", value=JSON)

    run(main())


def test_a_loss_is_noted_and_the_program_told(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            part, other = cluster.part(1), cluster.part(2)
            waiting = asyncio.ensure_future(part.ask("get", wait=600))
            await until(lambda: cluster.table.scopes)
            other.table.lose("somebody pulled the plug")
            with pytest.raises(MemoryLost, match="pulled the plug"):
                await waiting
            assert "pulled the plug" in part.memory.lost
            with pytest.raises(TooLate):
                await other.ask("meet", kind="barrier")
            assert other.memory.lost == ""

    run(main())


@pytest.mark.parametrize(
    ("error", "raised", "lost"),
    [
        (Unreachable("The memory does not answer."), Unreachable, "The memory does not answer."),
        (PartGone("Part 2 failed.", part=2), PartGone, ""),
        (KeyError("oops"), PluginBroke, ""),
    ],
)
def test_what_plugins_raise(
    making: Making, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception], lost: str
) -> None:
    async def failing(self: FakeSharedMemory, member: Member, command: Command, wait: float = 0.0) -> Answer:
        raise error

    monkeypatch.setattr(FakeSharedMemory, "do", failing)

    async def main() -> None:
        async with making() as cluster:
            part = cluster.part(1)
            with pytest.raises(raised):
                await part.ask("get")
            assert part.memory.lost == lost

    run(main())


def test_an_attempt_that_is_over_asks_in_vain(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            part = cluster.part(1)
            await part.put(b"1")
            part.memory.ended()
            with pytest.raises(AttemptOver):
                await part.ask("get")

    run(main())


def test_a_cluster_without_shared_memory_says_what_to_do(making: Making) -> None:
    async def main() -> None:
        none: Any = None
        agent = PartAgent(none, SPEC, none, none, none, none)
        with pytest.raises(NoSharedMemory, match=r"SHARED_MEM.*pip install discomputify-sharedmem"):
            await agent.handle("memory", {"do": "get", "name": "x"})

    run(main())


# --- large values -------------------------------------------------------------------------------------


def read(answer: Any) -> bytes:
    value = answer["value"]
    assert (value["kind"], value["size"], "body" in answer) == ("ref", 0, False)
    return Path(value["path"]).read_bytes()


def kept(part: Part) -> list[str]:
    """Files of large values on the part's node."""
    return sorted(path.name for path in part.arrays._work.rglob("*") if path.is_file() and path.name != "lock")


def test_large_values_are_read_where_they_are_and_elsewhere(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            one, two = cluster.part(1), cluster.part(2)
            value = await one.large(b"large" * 1000)
            await one.ask("put", value=value)
            for part in (one, two, two):
                answer = await part.ask("get")
                assert read(answer) == b"large" * 1000
                assert answer["value"]["meta"] == value["meta"]
            assert [len(kept(part)) for part in (one, two)] == [1, 1]

    run(main())


@pytest.mark.parametrize("replaced_by", ["put", "large put", "remove", "another node"])
def test_replaced_ones_go(making: Making, replaced_by: str) -> None:
    async def main() -> None:
        async with making() as cluster:
            one, two = cluster.part(1), cluster.part(2)
            await one.ask("put", value=await one.large(b"first"))
            await two.ask("get")
            by = two if replaced_by == "another node" else one
            if replaced_by == "large put":
                answer = await by.ask("put", value=await by.large(b"second"))
            elif replaced_by == "remove":
                answer = await by.ask("remove")
            else:
                answer = await by.put(b"1")
            assert "value" not in answer  # the program need not know
            await until(lambda: len(kept(one)) == (replaced_by == "large put"))
            assert len(cluster.dropped) == (replaced_by == "another node")
            if by is two:
                await until(lambda: kept(two) == [])

    run(main())


def test_what_was_not_set_is_loose_and_what_was_set_is_held(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            part = cluster.part(1)
            value = await part.large(bytes(600_000))
            assert await part.ask("put", value=value, version=7) == {"found": False}
            await part.ask("put", value=value)  # tried again
            with pytest.raises(MemoryFull):
                await part.large(bytes(600_000))
            await part.put(b"1")
            other = await part.large(bytes(600_000))
            with pytest.raises(BadName):
                await part.ask("put", name="", value=other)
            with pytest.raises(BadInput, match="reserved"):
                await part.ask("put", value={**other, "meta": {**other["meta"], "id": "forged"}})
            await part.ask("meet", kind="broadcast", value=other)
            again = await part.ask("meet", kind="broadcast", name="y", value=await part.large(bytes(600_000)))
            assert len(read(again)) == 600_000
            assert len(kept(part)) == 1

    run(main())


def test_ephemeral_and_unused_ones_go_with_their_attempt(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            part = cluster.part(1)
            await part.ask("put", value=await part.large(b"1"), ephemeral=True)
            await part.ask("put", name="y", value=await part.large(b"2"))
            await part.large(b"3")
            assert len(kept(part)) == 3
            part.memory.ended()
            await until(lambda: len(kept(part)) == 1)

    run(main())


def test_gathered_and_popped_ones(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            one, two = cluster.part(1), cluster.part(2)
            values = [await part.large(b"from %d" % part.number) for part in (one, two)]
            asked = [p.ask("meet", kind="gather", value=v, wait=9) for p, v in zip((one, two), values, strict=True)]
            for answer in await both(*asked):
                assert [Path(each["path"]).read_bytes() for each in answer["values"]] == [b"from 1", b"from 2"]
            await one.ask("append", name="l", value=await one.large(b"item"))
            await one.ask("append", b"1", name="l", value=JSON)
            listed = await two.ask("get", name="l")
            assert [each["size"] for each in listed["values"]] == [0, 1]
            assert Path(listed["values"][0]["path"]).read_bytes() == b"item"
            before = len(kept(one))
            taken = await two.ask("pop", name="l")
            assert taken["value"]["meta"]["size"] == 4
            await until(lambda: len(kept(one)) == before - 1)

    run(main())


def test_one_whose_node_is_gone_makes_all_start_over(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            one, two = cluster.part(1), cluster.part(2)
            await one.ask("put", name="w", value=await one.large(b"large"))
            cluster.parts.remove(one)
            with pytest.raises(MemoryLost, match=r"'w' was kept by the computing node n1\.1, which is not connected"):
                await two.ask("get", name="w")
            (asked,) = two.said().start_over
            assert "'w'" in asked.reason
            assert asked.reason in two.memory.lost
            cluster.parts.append(one)

    run(main())


def test_one_that_is_replaced_while_it_is_read_is_read_again(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with making() as cluster:
            one, two = cluster.part(1), cluster.part(2)
            await one.ask("put", value=await one.large(b"first"))
            do = FakeSharedMemory.do

            async def slowly(self: FakeSharedMemory, member: Member, command: Command, wait: float = 0.0) -> Answer:
                answer = await do(self, member, command, wait)
                if member.part == 2 and len(replaced) < 2:
                    replaced.append(await one.ask("put", value=await one.large(b"next %d" % len(replaced))))
                    await until(lambda: len(kept(one)) == 1)
                return answer

            replaced: list[Any] = []
            monkeypatch.setattr(FakeSharedMemory, "do", slowly)
            assert read(await two.ask("get")) == b"next 1"
            assert two.said().start_over == ()
            monkeypatch.setattr(memory, "READS", 2)
            replaced.clear()
            with pytest.raises(TooLate, match="replaced faster"):
                await cluster.part(2, 2).ask("get")

    run(main())


def test_a_store_that_is_away_costs_the_attempt_not_the_job(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*asked: Any) -> None:
        raise Unreachable("The store is away.")

    async def main() -> None:
        async with making() as cluster:
            one, two = cluster.part(1), cluster.part(2)
            await one.ask("put", value=await one.large(b"large"))
            monkeypatch.setattr(cluster.store, "get", away)
            with pytest.raises(Unreachable):
                await two.ask("get")
            assert two.said().start_over == ()
            assert two.memory.lost == "The store is away."

    run(main())


def test_who_waits_for_a_part_that_is_over_is_told(making: Making) -> None:
    async def main() -> None:
        async with making() as cluster:
            one = cluster.part(1)
            waiting = asyncio.ensure_future(one.ask("meet", kind="barrier", wait=600))
            await until(lambda: one.said().uses_memory)
            over = Over(2, 1, AttemptId("job.2.1.key"), GONE, "it failed")
            await one.table.ended(SCOPE, 2, [over])
            with pytest.raises(PartGone):
                await waiting

    run(main())


def test_an_attempt_says_which_it_is(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Member] = []

    async def noting(self: FakeSharedMemory, member: Member, command: Command, wait: float = 0.0) -> Answer:
        seen.append(member)
        return Answer()

    monkeypatch.setattr(FakeSharedMemory, "do", noting)

    async def main() -> None:
        async with making() as cluster:
            part = cluster.part(1)
            start = Start(SPEC.process_id, SPEC.key, AttemptId("a"), 2, 3, 4)
            memory = NodeMemory(part.table, part.arrays).of(SPEC, start, part.reports)
            await memory.handle({"do": "get", "name": "x"}, b"")
            assert seen == [Member(Scope(SPEC.process_id, SPEC.key, 4), AttemptId("a"), 2, 3, 2)]

    run(main())
