"""What goes wrong between here and the server: broken connections, a server that ends, clients that die."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pytest

from discomputify_core.errors import BadConf, ChannelClosed, MemoryFull, MemoryLost, PeerBroke, Unreachable
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.memory import Add, Append, Get, Lock, Member, Pop, Put, Scope, Unlock, Value
from discomputify_redis import server as server_module
from discomputify_redis import watch as watch_module
from discomputify_redis.memory import RedisMemory
from discomputify_redis.options import RedisOptions
from discomputify_testkit.confs import make_conf
from discomputify_testkit.memory.base import eventually
from discomputify_testkit.running import run, until

from .redis_kit import RedisServer, client, find_program, free_port

ONE = Value("json", b"1")


def member(part: int = 1, key: str = "k") -> Member:
    return Member(Scope(ProcessId("job"), key), AttemptId(f"a{part}"), part, 1, 3)


@attrs.define
class Cutter:
    """Stands before a server and cuts connections: while ``answers_lost`` is above 0, in the place of an answer."""

    port: int
    answers_lost: int = 0
    cuts: int = 0
    writers: set[asyncio.StreamWriter] = attrs.field(factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers |= {writer, there[1]}
        forth = asyncio.ensure_future(self._pass(reader, there[1], lossy=False))
        back = asyncio.ensure_future(self._pass(there[0], writer, lossy=True))
        await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
        for task in (forth, back):
            task.cancel()
        for each in (writer, there[1]):
            each.close()
            with contextlib.suppress(OSError):
                await each.wait_closed()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lossy: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if lossy and self.answers_lost > 0:
                    self.answers_lost -= 1
                    self.cuts += 1
                    return
                writer.write(data)
                await writer.drain()


@contextlib.asynccontextmanager
async def cutter(options: RedisOptions) -> AsyncIterator[tuple[Cutter, RedisOptions]]:
    """A cutter, and options that lead through it."""
    cut = Cutter(urlsplit(options.url).port or 0)
    listener = await asyncio.start_server(cut.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield cut, attrs.evolve(options, url=f"redis://127.0.0.1:{port}/0")
    finally:
        listener.close()
        for writer in cut.writers:
            writer.close()
        await asyncio.sleep(0)


def test_answers_that_are_lost_are_not_earned_twice(options: RedisOptions) -> None:
    async def counted() -> None:
        async with cutter(options) as (cut, through), client(through) as memory:
            one, two = member(), member(2)
            await memory.do(two, Get("x"))
            for number in range(1, 16):
                cut.answers_lost = 1
                assert (await memory.do(one, Add("n"))).number == number
                cut.answers_lost = 1
                assert (await memory.do(one, Append("list", ONE))).number == 1
                cut.answers_lost = 1
                assert (await memory.do(one, Pop("list"))).found
                cut.answers_lost = 1
                token = int((await memory.do(one, Lock("l", 600.0))).number)
                assert token == number
                cut.answers_lost = 1
                await memory.do(one, Unlock("l", token))
            assert cut.cuts > 60
            waiting = asyncio.ensure_future(memory.do(two, Pop("list"), 20.0))
            cut.answers_lost = 3
            await memory.do(one, Append("list", ONE))
            assert (await waiting).found
            assert not (await memory.do(one, Pop("list"))).found

    run(counted())


@pytest.mark.parametrize("keeps", [False, True])
def test_a_server_that_is_started_again_has_lost_everything(tmp_path: Path, keeps: bool) -> None:
    """Also one that reads an old state from a file: what was done after that is lost."""
    find_program()
    server = RedisServer(tmp_path, *(("--save", "3600 1") if keeps else ()))
    server.start()

    async def lost() -> None:
        options = RedisOptions(url=server.url, prefix="p")
        async with client(options) as memory, client(options) as other:
            told: list[str] = []
            others: list[str] = []
            memory.on_lost, other.on_lost = told.append, others.append
            await memory.do(member(), Put("a", ONE))
            assert (await other.do(member(2), Get("a"))).found
            table = memory.table
            assert table == other.table != ""
            waiting = [asyncio.ensure_future(memory.do(member(), Get("w"), 20.0))]
            waiting += [asyncio.ensure_future(memory.do(member(), Lock(f"l{n}", 60.0), 20.0)) for n in range(2)]
            await until(lambda: waiting[1].done() and waiting[2].done())
            server.stop(kill=not keeps)
            server.start()
            with pytest.raises(MemoryLost, match=f"127.0.0.1:{server.port}"):
                await waiting[0]
            await until(lambda: told and others)
            assert not (await memory.do(member(), Get("a"))).found
            assert not (await other.do(member(2), Get("a"))).found
            assert memory.table == other.table != table
            assert (len(told), len(others)) == (1, 1)
            assert "lost" in told[0]

    try:
        run(lost())
    finally:
        server.stop()


def test_a_server_that_is_gone_is_a_loss_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "DEAD", 0.3)
    monkeypatch.setattr(server_module, "PATIENCE", 1.0)
    find_program()
    server = RedisServer(tmp_path)
    server.start()

    async def lost() -> None:
        async with client(RedisOptions(url=server.url)) as memory:
            told: list[str] = []
            memory.on_lost = told.append
            waiting = asyncio.ensure_future(memory.do(member(), Get("w"), 60.0))
            await until(lambda: memory.table)
            server.stop()
            with pytest.raises((MemoryLost, Unreachable)):
                await waiting
            await until(lambda: told)
            with pytest.raises(Unreachable, match=r"'url' in the section 'redis'") as caught:
                await memory.do(member(), Get("a"))
            assert caught.value.fields["address"] == f"127.0.0.1:{server.port}"
            assert len(told) == 1

    try:
        run(lost())
    finally:
        server.stop()


def test_what_the_dead_waited_for_goes_to_others(options: RedisOptions) -> None:
    async def served() -> None:
        async with client(options) as memory:
            dying = RedisMemory(make_conf(), options)
            token = int((await memory.do(member(), Lock("l", 600.0))).number)
            first = [
                asyncio.ensure_future(dying.do(member(2), command, 60.0)) for command in (Lock("l", 600.0), Pop("q"))
            ]

            async def queued() -> bool:
                rows = (await memory.look(member().scope)).rows
                return sum(len(row.waiting) for row in rows) == 2

            await eventually(queued)
            await dying._server.close()  # as if its process had been killed: it says nothing to the server
            second = [
                asyncio.ensure_future(memory.do(member(3), command, 20.0)) for command in (Lock("l", 600.0), Pop("q"))
            ]
            await memory.do(member(), Append("q", ONE))
            await memory.do(member(), Unlock("l", token))
            answers = await asyncio.gather(*second)
            assert all(answer.found for answer in answers)
            assert answers[0].number > token
            for task in first:
                with pytest.raises(ChannelClosed):
                    await task
            await dying.close()

    run(served())


def test_a_server_that_nobody_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "PATIENCE", 0.3)

    async def refused() -> None:
        async with client(RedisOptions(url=f"redis://:secret@127.0.0.1:{free_port()}/0")) as memory:
            for call in (memory.do(member(), Get("a")), memory.look(member().scope), memory.clear(member().scope)):
                with pytest.raises(Unreachable, match="'url'") as caught:
                    await call
                assert "secret" not in str(caught.value)
            assert memory.table == ""

    run(refused())


def test_what_is_no_redis_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "PATIENCE", 0.3)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n" * 3)
        await reader.read(1)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def refused() -> None:
        listener = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with client(RedisOptions(url=f"redis://127.0.0.1:{port}/0")) as memory:
            with pytest.raises((PeerBroke, Unreachable), match=str(port)):
                await memory.do(member(), Get("a"))
        listener.close()
        await listener.wait_closed()

    run(refused())


def test_passwords_users_databases_and_eviction(tmp_path: Path) -> None:
    find_program()
    server = RedisServer(tmp_path, "--requirepass", "right one")
    server.start()

    async def asked(url: str) -> None:
        async with client(RedisOptions(url=url)) as memory:
            assert (await memory.do(member(key=secrets.token_hex(3)), Add("n"))).number == 1

    async def refused(url: str, match: str) -> None:
        with pytest.raises(BadConf, match=match) as caught:
            await asked(url)
        assert caught.value.fields["problems"][0].endswith("@ redis.url")
        assert "one" not in str(caught.value)

    async def all_of_it() -> None:
        place = f"127.0.0.1:{server.port}"
        await refused(f"redis://{place}/0", "user or password")
        await refused(f"redis://:wrong%20one@{place}/0", "user or password")
        await refused(f"redis://somebody:right%20one@{place}/0", "user or password")
        await refused(f"redis://:right%20one@{place}/99", "no database of that number")
        await asked(f"redis://:right%20one@{place}/0")
        await asked(f"redis://:right%20one@{place}/3")
        login = ("AUTH", "right one")
        rights = [
            "~{discomputify}*",
            "&{discomputify}*",
            "+@read",
            "+@write",
            "+@scripting",
            "+@pubsub",
            "+@connection",
        ]
        server.say_all(login, ("ACL", "SETUSER", "bounded", "on", ">pw", *rights, "+info"))
        await refused(f"redis://bounded:pw@{place}/0", "user or password")
        server.say_all(login, ("ACL", "SETUSER", "bounded", "+time"))
        await asked(f"redis://bounded:pw@{place}/0")
        server.say_all(login, ("CONFIG", "SET", "maxmemory", "100mb"))
        await asked(f"redis://:right%20one@{place}/0")
        server.say_all(login, ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"))
        await refused(f"redis://:right%20one@{place}/0", "maxmemory-policy noeviction")
        server.say_all(
            login, ("CONFIG", "SET", "maxmemory-policy", "noeviction"), ("CONFIG", "SET", "maxmemory", "1mb")
        )
        with pytest.raises(MemoryFull) as caught:
            await asked(f"redis://:right%20one@{place}/0")
        assert caught.value.fields["limit"] == "maxmemory"
        server.say_all(login, ("CONFIG", "SET", "maxmemory", "0"), ("REPLICAOF", "127.0.0.1", "1"))
        await refused(f"redis://:right%20one@{place}/0", "replica")

    try:
        run(all_of_it())
    finally:
        server.stop()


def test_closing_while_the_server_hangs_ends_soon(tmp_path: Path) -> None:
    find_program()
    server = RedisServer(tmp_path)
    server.start()

    async def closed() -> None:
        memory = RedisMemory(make_conf(), RedisOptions(url=server.url))
        waiting = asyncio.ensure_future(memory.do(member(), Get("a"), 60.0))
        await until(lambda: memory.table)
        server.stop()
        started = time.monotonic()
        await memory.close()
        assert time.monotonic() - started < 10.0
        with pytest.raises((ChannelClosed, MemoryLost)):
            await waiting

    try:
        run(closed())
    finally:
        server.stop()
