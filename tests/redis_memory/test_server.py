"""What is left in the server, what of the conf cannot be used, and servers of a Redis Cluster."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import attrs
import pytest

from discomputify_core.errors import AttemptOver, BadConf, MemoryFull
from discomputify_core.hookspecs import PROJECT
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.memory import (
    BARRIER,
    DONE,
    Add,
    Append,
    Get,
    Limits,
    Lock,
    Meet,
    Member,
    Over,
    Pop,
    Put,
    Scope,
    Value,
)
from discomputify_redis import hooks
from discomputify_redis.memory import RedisMemory
from discomputify_redis.options import RedisOptions
from discomputify_redis.scripts import LIBRARIES, script
from discomputify_testkit.confs import make_conf
from discomputify_testkit.running import run

from .redis_kit import DEADLINE, RedisServer, client, find_program, free_port, options_with

ONE = Value("json", b"1")


def member(part: int = 1, key: str = "k", total: int = 2) -> Member:
    return Member(Scope(ProcessId("job"), key), AttemptId(f"a{part}"), part, 1, total)


async def use(memory: RedisMemory, key: str) -> None:
    """A bit of everything, for a job of two parts."""
    one, two = member(1, key), member(2, key)
    await memory.do(one, Put("a", ONE, ephemeral=True))
    assert (await memory.do(two, Add("a"))).number == 2
    await memory.do(one, Append("list", ONE))
    assert (await memory.do(two, Pop("list"))).found
    assert (await memory.do(one, Lock("l", 60.0))).found
    waiting = asyncio.ensure_future(memory.do(one, Get("w"), 20.0))
    await asyncio.gather(*(memory.do(each, Meet(BARRIER, "b", 1), 20.0) for each in (one, two)))
    await memory.do(two, Put("w", ONE))
    assert (await waiting).found
    await memory.ended(one.scope, 2, [Over(1, 1, one.attempt, DONE)])
    assert not (await memory.do(two, Get("a"))).found


def test_a_job_that_is_cleared_leaves_one_small_key_that_expires(server: RedisServer, options: RedisOptions) -> None:
    async def cleared() -> None:
        async with client(options) as memory:
            await use(memory, "x/{y}")
            assert len(server.keys(options.prefix)) == 4
            await memory.clear(member(key="x/{y}").scope)
            await memory.ended(member(key="x/{y}").scope, 2, [Over(2, 1, AttemptId("a2"), DONE)])
            with pytest.raises(AttemptOver, match="cleared"):
                await memory.do(member(2, "x/{y}"), Get("a"))
            tombstone, table = server.keys(options.prefix)
            assert table == f"{{{options.prefix}}}:table"
            assert 3000 < int(server.say("TTL", tombstone)[1:]) <= 3600
            assert server.say("TTL", table) == b":-1\r\n"

    run(cleared())


def test_prefixes_are_apart(server: RedisServer, options: RedisOptions) -> None:
    async def apart() -> None:
        other = attrs.evolve(options, prefix=options.prefix + "x")
        async with client(options) as memory, client(other) as another:
            await memory.do(member(), Put("a", ONE))
            assert not (await another.do(member(), Get("a"))).found
            assert memory.table != another.table

    run(apart())


def test_large_answers_do_not_stay_with_the_server(server: RedisServer, options: RedisOptions) -> None:
    async def popped() -> None:
        async with client(options) as memory:
            for _ in range(3):
                await memory.do(member(), Append("list", Value("bytes", b"x" * 3_000_000)))
                answer = await memory.do(member(), Pop("list"))
                assert answer.value is not None
                assert len(answer.value.data) == 3_000_000
            used = [int(server.say("MEMORY", "USAGE", key)[1:]) for key in server.keys(options.prefix)]
            assert sum(used) < 50_000

    run(popped())


def test_full_names_the_option(options: RedisOptions) -> None:
    async def filled() -> None:
        async with client(options_with(options, Limits(value_bytes=1000))) as memory:
            with pytest.raises(MemoryFull, match=r"1,001 bytes .* 1,000 .*'value_bytes' in the section 'redis'"):
                await memory.do(member(), Put("a", Value("bytes", b"x" * 1001)))

    run(filled())


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (RedisOptions(url="http://host/0"), "redis.url"),
        (RedisOptions(url="redis://:secret@host:99999/0"), "redis.url"),
        (RedisOptions(url="redis://:secret@host/zero"), "redis.url"),
        (RedisOptions(url="redis://:secret@/0"), "redis.url"),
        (RedisOptions(url="unix://"), "redis.url"),
        (RedisOptions(url=""), "redis.url"),
        (RedisOptions(prefix="a{b}"), "redis.prefix"),
        (RedisOptions(prefix=""), "redis.prefix"),
    ],
)
def test_what_of_the_conf_cannot_be_used(options: RedisOptions, wrong: str) -> None:
    (problem,) = RedisMemory.check(make_conf(), options)
    assert problem.endswith(f" @ {wrong}")
    with pytest.raises(BadConf) as caught:
        RedisMemory(make_conf(), options)
    assert caught.value.fields["problems"] == [problem]
    assert "secret" not in str(caught.value)


def test_the_url_is_secret_and_good_ones_are_taken() -> None:
    good = ["redis://h", "redis://h:1/2", "rediss://user:secret@[::1]:6380/0", "unix:///run/redis.sock?db=1"]
    for url in good:
        options = RedisOptions(url=url)
        assert RedisMemory.check(make_conf(), options) == []
        assert "secret" not in repr(options) + options.where


def test_it_is_registered_and_all_scripts_are_there() -> None:
    assert hooks.discomputify_register_memories() == {"redis": "discomputify_redis.memory:RedisMemory"}
    assert hasattr(hooks.discomputify_register_memories, f"{PROJECT}_impl")
    for name in LIBRARIES:
        assert script(name).text


def test_each_server_of_a_cluster_may_be_named(tmp_path: Path) -> None:
    find_program()
    servers = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        servers.append(RedisServer(tmp_path / name, *bus))
    try:
        for server, slots in zip(servers, (("0", "8191"), ("8192", "16383")), strict=True):
            server.start()
            assert server.say("CLUSTER", "ADDSLOTSRANGE", *slots) == b"+OK\r\n"
        bus_port = servers[1].bus_port
        servers[0].say("CLUSTER", "MEET", "127.0.0.1", str(servers[1].port), bus_port)
        until = time.monotonic() + DEADLINE
        while any(b"cluster_state:ok" not in server.say("CLUSTER", "INFO") for server in servers):
            assert time.monotonic() < until, "the cluster did not come to be"

        async def used() -> None:
            for number, server in enumerate(servers):
                for prefix in ("a", "b", "c"):  # some on each server
                    async with client(RedisOptions(url=server.url, prefix=prefix)) as memory:
                        await use(memory, f"k{number}")

        run(used())
        assert all(any(server.keys(prefix) for prefix in ("a", "b", "c")) for server in servers)
    finally:
        for server in servers:
            server.stop()
