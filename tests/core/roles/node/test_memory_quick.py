"""The short way of one attempt's small requests: what takes it, and that it answers as the long one does."""

import asyncio
from typing import Any, cast

import pytest

from discomputify_core.errors import (
    BadInput,
    DiscomputifyError,
    MemoryLost,
    PluginBroke,
    Unreachable,
    WrongKind,
)
from discomputify_core.interfaces.calls import GiveUp
from discomputify_core.interfaces.memory import OnAnswer
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.job import JobSpec
from discomputify_core.model.memory import REF, Answer, Command, Member, Value
from discomputify_core.model.message import Report, Start
from discomputify_core.roles.node.agent_line import Done
from discomputify_core.roles.node.arrays import Arrays
from discomputify_core.roles.node.memory import NodeMemory, PartMemory
from discomputify_core.roles.node.reports import Reports
from discomputify_testkit.fakes.memory_shared import FakeSharedMemory
from discomputify_testkit.running import run, until

SPEC = JobSpec(ProcessId("job"), "key", 2, "tree")
JSON = {"kind": "json"}
REFERS = {"id": "a", "node": "n", "of": "bytes", "size": 9}


class Quick(FakeSharedMemory):
    """Begins everything, with a task; ``breaks`` and ``finds`` stand for what comes of it."""

    breaks: Exception | None = None
    finds: Answer | None = None
    begun = 0

    def begin(self, member: Member, command: Command, told: OnAnswer) -> GiveUp | None:
        if isinstance(self.breaks, ZeroDivisionError):
            raise self.breaks
        self.begun += 1

        async def do() -> None:
            try:
                told(self.finds or await self.do(member, command))
            except DiscomputifyError as error:
                told(error)

        task = asyncio.ensure_future(do())
        return lambda: (task.cancel(), None)[1]

    async def do(self, member: Member, command: Command, wait: float = 0.0) -> Answer:
        if isinstance(self.breaks, DiscomputifyError):
            raise self.breaks
        return await super().do(member, command, wait)


class Kept:
    """Of a node that keeps none of the large values that it is asked for."""

    node = "n"

    def __init__(self) -> None:
        self.freed_ids: list[str] = []

    def begin(self, scope: object) -> None:
        pass

    def ended(self, scope: object, attempt: object) -> None:
        pass

    def freed(self, scope: object, meta: Any) -> None:
        self.freed_ids.append(meta["id"])

    async def path(self, scope: object, meta: Any) -> str:
        return f"/kept/{meta['id']}"


class Part:
    def __init__(self) -> None:
        self.plugin = Quick()
        self.arrays = Kept()
        self.reports = Reports(self._sent)
        start = Start(SPEC.process_id, SPEC.key, AttemptId("job.1.1.key"), 1, 1)
        self.memory: PartMemory = NodeMemory(self.plugin, cast(Arrays, self.arrays)).of(SPEC, start, self.reports)

    async def _sent(self, report: Report) -> None:
        raise AssertionError("nothing is sent here")

    async def first(self) -> None:
        """The first request of all goes the long way, and tells the master."""
        await self.memory.handle({"do": "names"}, b"")

    def begin(self, data: dict[str, Any], body: bytes = b"") -> list[Done] | None:
        told: list[Done] = []
        return None if self.memory.quick(data, body, told.append) is None else told

    async def ask(self, do: str, body: bytes = b"", **data: Any) -> Any:
        told = self.begin({"do": do, "name": "x", **data}, body)
        assert told is not None
        await until(lambda: told)
        return told[0]


def test_it_answers_as_the_long_way_does() -> None:
    async def main() -> None:
        short, long = Part(), Part()
        await short.first()
        await long.first()
        requests: list[tuple[dict[str, Any], bytes]] = [
            ({"do": "get"}, b""),
            ({"do": "put", "value": JSON}, b"3"),
            ({"do": "get", "wait": 0}, b""),
            ({"do": "add", "by": 2}, b""),
            ({"do": "put", "value": JSON, "version": 9}, b"3"),
            ({"do": "append", "name": "l", "value": {"kind": "bytes"}}, b"ab"),
            ({"do": "append", "name": "l", "value": JSON}, b"1"),
            ({"do": "get", "name": "l"}, b""),
            ({"do": "remove"}, b""),
            ({"do": "remove"}, b""),
        ]
        for data, body in requests:
            assert await short.ask(body=body, **data) == await long.memory.handle({"name": "x", **data}, body)
        assert short.plugin.begun == len(requests)
        wrong = await short.ask("add", name="l")
        assert isinstance(wrong, WrongKind)
        with pytest.raises(BadInput):
            short.begin({"do": "put", "name": "x"})
        with pytest.raises(BadInput):
            short.begin({"do": "get", "name": "x", "wait": "long"})

    run(main())


@pytest.mark.parametrize(
    "data",
    [
        {"do": "get", "wait": 1},
        {"do": "get", "quiet": True},
        {"do": "put", "value": {"kind": "ref", "meta": REFERS}},
        {"do": "append", "value": {"kind": "ref", "meta": REFERS}},
        {"do": "pop"},
        {"do": "lock", "lease": 1},
        {"do": "meet", "kind": "barrier"},
        {"do": "hello"},
        {"do": ["get"]},
        {"do": None},
        {},
    ],
)
def test_what_may_wait_or_needs_more_goes_the_long_way(data: dict[str, Any]) -> None:
    async def main() -> None:
        part = Part()
        assert part.begin({"do": "get", "name": "x"}) is None, "the first one"
        await part.first()
        assert part.begin({"name": "x", **data}) is None
        assert part.plugin.begun == 0
        part.memory.ended()
        assert part.begin({"do": "get", "name": "x"}) is None, "an attempt that is over"

    run(main())


def test_the_master_knows_of_which_table_an_answer_is_and_that_it_is_lost() -> None:
    async def main() -> None:
        part = Part()
        part.memory.used = True
        await part.ask("add")
        assert [each.table for each in part.reports._take().uses_memory] == [part.plugin.table]
        part.plugin.breaks = Unreachable("It is away.")
        assert await part.ask("add") is part.plugin.breaks
        part.plugin.breaks = MemoryLost("It is gone.")
        await part.ask("add")
        assert part.memory.lost == "It is away."

    run(main())


def test_a_plugin_that_breaks_is_the_plugins_fault(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        part = Part()
        await part.first()
        part.plugin.breaks = ZeroDivisionError("oops")
        with pytest.raises(PluginBroke, match="'memory' raised ZeroDivisionError"):
            part.begin({"do": "get", "name": "x"})

    run(main())
    assert "oops" in caplog.text


def test_large_values_are_looked_for_before_the_answer() -> None:
    async def main() -> None:
        part = Part()
        await part.first()
        part.plugin.finds = Answer(version=3, value=Value(REF, b"", REFERS))
        rest = await part.ask("get")
        assert callable(rest)
        found, _ = await rest()
        assert found["value"]["path"] == "/kept/a"
        rest = await part.ask("put", b"1", value=JSON)
        assert await rest() == ({"version": 3}, b""), "what was replaced is not told"
        assert part.arrays.freed_ids == ["a"]

    run(main())
