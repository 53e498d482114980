"""Requests that are answered without a task: begun, told later, given up with the connection."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from discomputify_core.errors import OurBug, Unreachable
from discomputify_core.interfaces.calls import GiveUp
from discomputify_core.model.ids import AttemptId
from discomputify_core.roles.node import agent_server
from discomputify_core.roles.node.agent_line import Body, OnDone
from discomputify_core.roles.node.agent_server import AgentServer
from discomputify_testkit.running import run, until

ATTEMPT = AttemptId("job.1.1.key")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@attrs.define
class Desk:
    """A server with one part, whose quick requests the test answers."""

    server: AgentServer = attrs.field(factory=AgentServer)
    token: str = ""
    begun: list[tuple[str, OnDone]] = attrs.field(factory=list)
    given_up: list[str] = attrs.field(factory=list)
    slowly: list[str] = attrs.field(factory=list)
    writers: list[asyncio.StreamWriter] = attrs.field(factory=list)

    def quick(self, operation: str, data: dict[str, Any], body: Body, done: OnDone) -> GiveUp | None:
        if operation == "slow":
            return None
        if operation == "refuse":
            raise Unreachable("The service is away.")
        if operation == "bug":
            raise KeyError("oops")
        self.begun.append((operation, done))
        return lambda: self.given_up.append(operation)

    async def handle(self, operation: str, data: dict[str, Any], body: Body) -> tuple[dict[str, Any], Body]:
        self.slowly.append(operation)
        return {"said": operation}, body

    async def connect(self) -> Streams:
        kind, _, address = self.server.address.partition(":")
        host, _, port = address.rpartition(":")
        streams = await (
            asyncio.open_unix_connection(address) if kind == "unix" else asyncio.open_connection(host, int(port))
        )
        self.writers.append(streams[1])
        return streams

    def request(self, operation: str, body: bytes = b"", answer: bool = True) -> bytes:
        said = f'"token":"{self.token}","operation":"{operation}","data":{{}},"answer":{str(answer).lower()}'
        text = f'{{{said},"body":{len(body)}}}'.encode()
        return len(text).to_bytes(4, "big") + text + body

    async def ask(self, streams: Streams, operation: str, body: bytes = b"") -> OnDone:
        """Ask for what is quick; what answers it."""
        count = len(self.begun)
        streams[1].write(self.request(operation, body))
        await until(lambda: len(self.begun) > count)
        return self.begun[-1][1]


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    await made.server.start()
    made.token = made.server.register(ATTEMPT, made.handle, made.quick)["DISCOMPUTIFY_TOKEN"]
    try:
        yield made
    finally:
        for writer in made.writers:
            writer.close()
        await made.server.close()


async def answer(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))


def test_what_is_quick_is_answered_when_it_is_told_and_needs_no_handler() -> None:
    async def main() -> None:
        async with desk() as d:
            streams = await d.connect()
            done = await d.ask(streams, "a")
            done(({"x": 1}, b"more"))
            assert await answer(streams[0]) == b'{"data":{"x":1},"body":4}'
            assert await streams[0].readexactly(4) == b"more"
            done = await d.ask(streams, "b", bytes(100_000))
            done(Unreachable("The service is away."))
            assert b"The service is away." in await answer(streams[0])
            assert d.slowly == []

    run(main())


def test_what_is_not_quick_goes_to_the_handler() -> None:
    async def main() -> None:
        async with desk() as d:
            streams = await d.connect()
            streams[1].write(d.request("slow"))
            assert await answer(streams[0]) == b'{"data":{"said":"slow"}}'
            streams[1].write(d.request("unanswered", answer=False))
            await until(lambda: d.slowly == ["slow", "unanswered"])
            assert d.begun == []

    run(main())


def test_many_that_are_refused_at_once_are_told_so_in_turn(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with desk() as d:
            reader, writer = await d.connect()
            writer.write(d.request("refuse") * 2000 + d.request("bug"))
            for _ in range(2000):
                assert b"The service is away." in await answer(reader)
            assert OurBug.__name__.encode() in await answer(reader)

    run(main())
    assert "oops" in caplog.text


def test_requests_of_one_connection_are_begun_one_after_the_other() -> None:
    async def main() -> None:
        async with desk() as d:
            reader, writer = await d.connect()
            writer.write(d.request("a") + d.request("slow") + d.request("b"))
            await until(lambda: len(d.begun) == 1)
            await asyncio.sleep(0.05)
            assert [each for each, _ in d.begun] == ["a"]
            assert d.slowly == []
            d.begun[0][1](({}, b""))
            await until(lambda: len(d.begun) == 2)
            d.begun[1][1](({"last": 1}, b""))
            assert [await answer(reader) for _ in range(3)] == [
                b'{"data":{}}',
                b'{"data":{"said":"slow"}}',
                b'{"data":{"last":1}}',
            ]

    run(main())


def test_where_something_has_still_to_be_waited_for_the_answer_comes_after_it() -> None:
    async def main() -> None:
        async with desk() as d:
            streams = await d.connect()
            release = asyncio.Event()

            async def rest() -> tuple[dict[str, Any], Body]:
                await release.wait()
                return {"late": 1}, b""

            (await d.ask(streams, "a"))(rest)
            release.set()
            assert await answer(streams[0]) == b'{"data":{"late":1}}'
            (await d.ask(streams, "b"))(({}, b""))
            assert await answer(streams[0]) == b'{"data":{}}'

    run(main())


def test_the_program_is_told_to_wait_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_server, "WAIT_GAP", 0.1)

    async def main() -> None:
        async with desk() as d:
            streams = await d.connect()
            done = await d.ask(streams, "a")
            assert await answer(streams[0]) == b'{"wait":true}'
            done(({}, b""))
            while (said := await answer(streams[0])) == b'{"wait":true}':
                pass
            assert said == b'{"data":{}}'

    run(main())


async def _hangs_up(d: Desk) -> None:
    d.writers[0].close()


async def _is_unregistered(d: Desk) -> None:
    d.server.unregister(ATTEMPT)


async def _is_closed(d: Desk) -> None:
    await d.server.close()


@pytest.mark.parametrize("ends", [_hangs_up, _is_unregistered, _is_closed])
def test_what_was_begun_is_given_up_once_when_its_connection_ends(ends: Callable[[Desk], Any]) -> None:
    async def main() -> None:
        async with desk() as d:
            await d.ask(await d.connect(), "a")
            await ends(d)
            await until(lambda: d.given_up == ["a"])
        assert d.given_up == ["a"]

    run(main())
