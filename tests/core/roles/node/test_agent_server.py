"""The node's local socket: who is heard, who is not, and what a broken or hostile program can do."""

import asyncio
import json
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.errors import OurBug, Unreachable
from discomputify_core.model.ids import AttemptId
from discomputify_core.roles.node import agent_server
from discomputify_core.roles.node.agent_server import MAX_FRAME, AgentServer
from discomputify_testkit.running import run

ATTEMPT = AttemptId("job.1.1.key")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(operation: str, data: dict[str, Any]) -> dict[str, Any]:
    if operation == "fail":
        raise Unreachable("The store is away.", address="there")
    if operation == "bug":
        raise KeyError("oops")
    return {"operation": operation, **data}


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[AgentServer, str]]:
    server = AgentServer()
    await server.start()
    try:
        yield server, server.register(ATTEMPT, echo)["DISCOMPUTIFY_TOKEN"]
    finally:
        await server.close()


async def connect(server: AgentServer) -> Streams:
    kind, _, address = server.address.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(address)
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def frame(data: Any) -> bytes:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return struct.pack(">I", len(text)) + text


def request(token: str, operation: str = "say", **data: Any) -> bytes:
    return frame({"token": token, "operation": operation, "data": data, "answer": True})


async def answer(reader: asyncio.StreamReader) -> Any:
    (size,) = struct.unpack(">I", await reader.readexactly(4))
    return json.loads(await reader.readexactly(size))


async def talk(writer: asyncio.StreamWriter, sent: bytes) -> None:
    while True:
        writer.write(sent)
        await writer.drain()


async def closed(reader: asyncio.StreamReader) -> bool:
    """Whether the other end closes without a word."""
    try:
        return await asyncio.wait_for(reader.read(), 10) == b""
    except ConnectionError:
        return True


def test_answers_requests_of_a_registered_part_and_passes_errors_on() -> None:
    async def main() -> None:
        async with serving() as (server, token):
            reader, writer = await connect(server)
            writer.write(request(token, x=1))
            assert await answer(reader) == {"data": {"operation": "say", "x": 1}}
            writer.write(request(token, "fail"))
            assert (await answer(reader))["error"]["kind"] == "Unreachable"
            writer.write(request(token, "bug"))
            assert (await answer(reader))["error"]["kind"] == "OurBug"
            writer.close()

    run(main())


@pytest.mark.parametrize(
    "sent",
    [
        request("wrong token"),
        frame({"operation": "say", "data": {}}),
        frame([1]),
        frame(b"\xff\xfe"),
        frame(b"[" * 60_000),
        struct.pack(">I", MAX_FRAME + 1),
        struct.pack(">I", 2**32 - 1) + b"x" * 1000,
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_closes_on_strangers_and_nonsense_and_serves_on(sent: bytes) -> None:
    async def main() -> None:
        async with serving() as (server, token):
            reader, writer = await connect(server)
            writer.write(sent)
            assert await closed(reader)
            writer.close()
            reader, writer = await connect(server)
            writer.write(request(token))
            assert "data" in await answer(reader)
            writer.close()

    run(main())


def test_silent_connections_are_closed_and_cost_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_server, "FIRST_WORD", 0.3)
    monkeypatch.setattr(agent_server, "MAX_CONNECTIONS", 50)

    async def main() -> None:
        async with serving() as (server, token):
            silent = [await connect(server) for _ in range(60)]
            assert all(await asyncio.gather(*(closed(reader) for reader, _ in silent)))
            reader, writer = await connect(server)
            writer.write(request(token))
            assert "data" in await answer(reader)
            for _, each in [*silent, (reader, writer)]:
                each.close()

    run(main())


def test_one_part_cannot_take_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_server, "MAX_PER_PART", 3)

    async def main() -> None:
        async with serving() as (server, token):
            streams = []
            for number in range(4):
                reader, writer = await connect(server)
                writer.write(request(token))
                streams.append(writer)
                assert await closed(reader) if number == 3 else await answer(reader)
            for writer in streams:
                writer.close()

    run(main())


def test_a_program_that_does_not_read_its_answers_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_server, "READ_ANSWER", 0.2)

    async def main() -> None:
        async with serving() as (server, token):
            _, writer = await connect(server)
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(talk(writer, request(token, text="x" * 50_000)), 20)
            writer.close()

    run(main())


def test_says_wait_while_it_works_and_gives_up_with_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_server, "WAIT_GAP", 0.05)

    async def main() -> None:
        ended = asyncio.Event()

        async def endless(operation: str, data: dict[str, Any]) -> dict[str, Any]:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return {}

        async with serving() as (server, _):
            other = AttemptId("job.2.1.key")
            token = server.register(other, endless)["DISCOMPUTIFY_TOKEN"]
            reader, writer = await connect(server)
            writer.write(request(token))
            assert await answer(reader) == {"wait": True}
            assert await answer(reader) == {"wait": True}
            server.unregister(other)
            server.unregister(other)
            await ended.wait()
            writer.close()
            reader, writer = await connect(server)
            writer.write(request(token))
            assert await closed(reader)
            writer.close()

    run(main())


def test_a_handler_ends_when_its_program_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_server, "WAIT_GAP", 0.05)

    async def main() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def endless(operation: str, data: dict[str, Any]) -> dict[str, Any]:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return {}

        async with serving() as (server, _):
            token = server.register(AttemptId("job.2.1.key"), endless)["DISCOMPUTIFY_TOKEN"]
            _, writer = await connect(server)
            writer.write(request(token))
            await begun.wait()
            writer.transport.abort()
            await ended.wait()

    run(main())


def test_a_second_registration_is_our_bug_and_nothing_stays_after_close() -> None:
    async def main() -> None:
        async with serving() as (server, token):
            with pytest.raises(OurBug):
                server.register(ATTEMPT, echo)
            reader, writer = await connect(server)
            writer.write(request(token))
            await answer(reader)
            place = Path(server.address.partition(":")[2])
        assert await closed(reader)
        writer.close()
        assert not place.parent.exists()
        await server.close()

    run(main())


def test_a_long_temporary_folder_falls_back_to_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))

    async def main() -> None:
        async with serving() as (server, token):
            assert server.address.startswith("tcp:127.0.0.1:")
            reader, writer = await connect(server)
            writer.write(request(token))
            assert "data" in await answer(reader)
            writer.close()
        assert not list(deep.iterdir())

    run(main())
