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
from discomputify_core.roles.node.agent_line import MAX_BODY, MAX_FRAME, UNCOUNTED, Body
from discomputify_core.roles.node.agent_server import AgentServer
from discomputify_testkit.running import run, until

ATTEMPT = AttemptId("job.1.1.key")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(operation: str, data: dict[str, Any], body: Body) -> tuple[dict[str, Any], Body]:
    if operation == "fail":
        raise Unreachable("The store is away.", address="there")
    if operation == "bug":
        raise KeyError("oops")
    return {"operation": operation, **data}, body[::-1]


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

        async def endless(*asked: Any) -> tuple[dict[str, Any], Body]:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return {}, b""

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

        async def endless(*asked: Any) -> tuple[dict[str, Any], Body]:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return {}, b""

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


def with_body(token: str, body: bytes, operation: str = "memory", **more: Any) -> bytes:
    asked = {"token": token, "operation": operation, "data": {}, "answer": True, "body": len(body), **more}
    return frame(asked) + body


async def answer_with_body(reader: asyncio.StreamReader) -> tuple[Any, bytes]:
    said = await answer(reader)
    return said, await reader.readexactly(said.get("body", 0))


@pytest.mark.parametrize("size", [1, 5000, 8192, UNCOUNTED, UNCOUNTED + 1, MAX_BODY])
def test_bodies_travel_both_ways_and_the_connection_serves_on(size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)

    async def main() -> None:
        async with serving() as (server, token):
            reader, writer = await connect(server)
            for _ in range(2):
                writer.write(with_body(token, body[:size]))
                said, got = await answer_with_body(reader)
                assert said["data"] == {"operation": "memory"}
                assert got == body[:size][::-1]
            writer.write(request(token, x=1))
            assert await answer(reader) == {"data": {"operation": "say", "x": 1}}
            writer.close()

    run(main())


def test_requests_come_in_any_pieces_and_are_answered_in_order() -> None:
    bodies = [b"a" * 9000, b"", b"bc", b"d" * 70_000, b"e"]

    async def main() -> None:
        async with serving() as (server, token):
            sent = b"".join(with_body(token, body) for body in bodies)
            for piece in (len(sent), 4093, 8192):
                reader, writer = await connect(server)
                for start in range(0, len(sent), piece):
                    writer.write(sent[start : start + piece])
                    await writer.drain()
                for body in bodies:
                    assert (await answer_with_body(reader))[1] == body[::-1]
                writer.close()

    run(main())


@pytest.mark.parametrize("size", [-1, MAX_BODY + 1, 2**63, 1.5, "1", True, None, []])
def test_a_body_of_an_impossible_size_closes_the_connection(size: Any) -> None:
    async def main() -> None:
        async with serving() as (server, token):
            reader, writer = await connect(server)
            writer.write(frame({"token": token, "operation": "say", "data": {}, "answer": True, "body": size}))
            assert await closed(reader)
            writer.close()

    run(main())


def test_an_answer_that_is_too_large_is_an_error() -> None:
    async def much(operation: str, data: dict[str, Any], body: Body) -> tuple[dict[str, Any], Body]:
        return {}, bytes(MAX_BODY + 1)

    async def main() -> None:
        async with serving() as (server, _):
            token = server.register(AttemptId("job.2.1.key"), much)["DISCOMPUTIFY_TOKEN"]
            reader, writer = await connect(server)
            writer.write(request(token))
            assert (await answer(reader))["error"]["kind"] == "MemoryFull"
            writer.close()

    run(main())


def test_large_bodies_wait_for_room_and_small_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_server, "MAX_HELD", 300_000)
    go_on, held = asyncio.Event(), []

    async def slow(operation: str, data: dict[str, Any], body: Body) -> tuple[dict[str, Any], Body]:
        held.append(len(body))
        await go_on.wait()
        held.remove(len(body))
        return {}, b""

    async def main() -> None:
        async with serving() as (server, quick):
            token = server.register(AttemptId("job.2.1.key"), slow)["DISCOMPUTIFY_TOKEN"]
            lines = [await connect(server) for _ in range(5)]
            for number, (_, writer) in enumerate(lines):
                writer.write(with_body(token, bytes(100_001 + number)))
            await until(lambda: len(held) == 2)
            reader, writer = await connect(server)
            writer.write(with_body(quick, b"small"))
            assert (await answer_with_body(reader))[1] == b"llams"
            writer.close()
            assert len(held) == 2
            lines[0][1].transport.abort()  # also when one of them gives up
            await until(lambda: held == [] or max(held) > 100_002)
            go_on.set()
            for reader, writer in lines[1:]:
                assert await answer(reader) == {"data": {}}
                writer.close()

    run(main())


def test_a_connection_for_shared_memory_may_be_silent_but_not_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_server, "NEXT_WORD", 0.2)

    async def main() -> None:
        async with serving() as (server, token):
            silent, other = await connect(server), await connect(server)
            for (reader, writer), operation in ((silent, "memory"), (other, "say")):
                writer.write(request(token, operation))
                await answer(reader)
            assert await closed(other[0])
            other[1].close()
            reader, writer = silent
            writer.write(request(token, "memory"))
            assert "data" in await answer(reader)
            writer.write(with_body(token, b"whole")[:-1])
            assert await closed(reader)
            writer.close()
            reader, writer = await connect(server)
            writer.write(request(token, "memory"))
            await answer(reader)
            writer.write(with_body(token, b"whole" * 50_000)[:-1])
            assert await closed(reader)
            writer.close()

    run(main())


def test_what_wants_no_answer_is_done_also_when_its_sender_is_gone() -> None:
    async def main() -> None:
        heard, go_on = [], asyncio.Event()

        async def listening(operation: str, data: dict[str, Any], body: Body) -> tuple[dict[str, Any], Body]:
            await go_on.wait()
            heard.append(data)
            return {}, b""

        async with serving() as (server, _):
            token = server.register(AttemptId("job.2.1.key"), listening)["DISCOMPUTIFY_TOKEN"]
            _, writer = await connect(server)
            writer.write(frame({"token": token, "operation": "say", "data": {"x": 1}, "answer": False}))
            writer.close()
            await writer.wait_closed()
            await until(lambda: not server._lines)
            go_on.set()
            await until(lambda: heard == [{"x": 1}])

    run(main())


def test_what_many_parts_ask_at_once_is_begun_in_one_turn() -> None:
    async def main() -> None:
        begun: list[int] = []
        turns: set[int] = set()
        now = [0]

        async def counting(operation: str, data: dict[str, Any], body: Body) -> tuple[dict[str, Any], Body]:
            begun.append(1)
            turns.add(now[0])
            return {}, b""

        def turn() -> None:
            now[0] += 1
            asyncio.get_running_loop().call_soon(turn)

        async with serving() as (server, _):
            token = server.register(AttemptId("job.2.1.key"), counting)["DISCOMPUTIFY_TOKEN"]
            lines = [await connect(server) for _ in range(8)]
            for reader, writer in lines:
                writer.write(request(token))
                await answer(reader)
            begun.clear()
            turns.clear()
            turn()
            for _, writer in lines:
                writer.write(request(token))
            await asyncio.gather(*(answer(reader) for reader, _ in lines))
            assert (len(begun), len(turns)) == (8, 1)
            for _, writer in lines:
                writer.close()

    run(main())


def test_work_that_was_cancelled_from_within_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_server, "WAIT_GAP", 0.05)

    async def cancelled(*asked: Any) -> tuple[dict[str, Any], Body]:
        raise asyncio.CancelledError

    async def main() -> None:
        async with serving() as (server, _):
            token = server.register(AttemptId("job.2.1.key"), cancelled)["DISCOMPUTIFY_TOKEN"]
            reader, writer = await connect(server)
            writer.write(request(token))
            assert await closed(reader)
            writer.close()

    run(main())
