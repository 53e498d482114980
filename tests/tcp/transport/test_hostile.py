"""Whatever strangers send to a service's port, it serves the others, with bounded memory and one line of log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import Any

import pytest

from discomputify_core.errors import ChannelClosed
from discomputify_core.model.message import Hello, Message
from discomputify_tcp.cypher2 import Connection, derive_psk
from discomputify_tcp.transport import arrival, listening
from discomputify_testkit.running import run, until


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "discomputify.tcp"]


async def knock(home: Any, data: bytes) -> bytes:
    """Send *data* and read until the service closes."""
    reader, writer = await asyncio.open_connection(home.address.host, home.address.port)
    try:
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(reader.read(), 10.0)
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "does not speak CYPHER/2"),
        (b"\xff\xff\xff\xff" * 4, "does not speak CYPHER/2"),
        (b"CYP\x03", "version 3"),
        (b"CYPHER", "version 72"),
        (b"CURIOUS", "something else"),
        (b"CYP\x02\xff\xff" + b"x" * 100, "announced 65535 bytes"),
        (b"CYP\x02\x00\x05hello", "too short"),
        (b"CYP\x02\x00\x60" + bytes(96), "key differs"),
        (b"gAAAAABl" + b"x" * 100, "An old client connected"),
        (os.urandom(100_000).replace(b"C", b"D", 1), ""),
    ],
    ids=["http", "4 GiB", "version", "almost", "other", "length", "short", "unkeyed", "cypher1", "random"],
)
def test_strangers_get_no_byte_and_one_line(
    house: Any, data: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with house() as home:
            assert await knock(home, data) == b""
            await home.still_serves()
            assert len(home.served) == 1

    with caplog.at_level(logging.WARNING):
        run(main())
    (line,) = lines(caplog)
    assert "127.0.0.1:" in line
    assert reason in line


def test_who_says_nothing_or_stops_half_way_is_closed_in_time(
    house: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(arrival, "WITHIN", 0.2)

    async def main() -> None:
        async with house() as home:
            assert await knock(home, b"") == b""
            assert await knock(home, b"CYP\x02\x00") == b""
            await home.still_serves()

    run(main())
    assert len([line for line in lines(caplog) if "did not authenticate itself within 0.2 s" in line]) == 2


def test_who_leaves_before_the_handshake_is_named(house: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with house() as home:
            _, writer = await asyncio.open_connection(home.address.host, home.address.port)
            writer.close()
            await writer.wait_closed()
            await until(lambda: lines(caplog))

    run(main())
    assert "before it had authenticated itself" in lines(caplog)[0]


def test_five_hundred_silent_peers_cost_128_places_and_keep_nobody_out(house: Any) -> None:
    async def main() -> None:
        async with house() as home:
            silent = await asyncio.gather(
                *(asyncio.open_connection(home.address.host, home.address.port) for _ in range(500))
            )
            await home.still_serves()
            assert len(home.listener._arrivals) <= listening.MAX_ARRIVALS
            # The oldest were closed for new ones; the youngest still wait.
            for reader, _ in silent[:100]:
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.wait_for(reader.read(), 5.0) == b""
            for _, writer in silent:
                writer.close()
            await until(lambda: not home.listener._arrivals)

    run(main())


def test_a_replayed_first_message_reaches_nobody(house: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with house() as home:
            key = str(home.conf.encryption_key).encode()
            psk = derive_psk(key, key)
            hello = Hello("client", version="2.0")
            recorded = Connection(client=True, psk=psk, ephemeral=os.urandom(32), hello=hello).start()
            await knock(home, recorded + (40).to_bytes(4, "big") + bytes(40))
            await knock(home, recorded + b"\xff\xff\xff\xff")
            await home.still_serves()
            assert len(home.served) == 1

    run(main())
    assert len(lines(caplog)) == 2


def test_a_peer_with_the_key_that_breaks_the_protocol_loses_its_own_channel_only(
    house: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with house() as home:
            good, bad = await home.dial(), await home.dial()
            bad._wire.transport.write(b"\xff\xff\xff\xff")
            with pytest.raises(ChannelClosed):
                await asyncio.wait_for(bad.receive(), 10.0)
            await bad.close()
            await good.send(Message("x"))
            assert await asyncio.wait_for(good.receive(), 10.0) == Message("x")
            await good.close()

    run(main())
    (line,) = lines(caplog)
    assert "broke the protocol" in line
    assert "4294967295" in line


def test_a_flood_of_pings_that_nobody_reads_the_answers_of_is_bounded(house: Any) -> None:
    async def main() -> None:
        async with house() as home:
            channel = await home.dial()
            channel._wire.transport.pause_reading()
            for _ in range(200):
                for _ in range(1000):
                    channel._wire.codec.ping()
                channel._outgoing._kick()
                await channel._outgoing.flush()
            await home.still_serves()
            (other,) = [served for served in home.served if served.address != channel.address][:1]
            assert other._wire.codec.pending <= 512 * 1024
            assert other._wire.transport.get_write_buffer_size() <= 4 * 1024 * 1024
            channel._wire.transport.abort()
            await channel.close()

    run(main())


def test_closing_a_listener_tells_waiting_strangers_nothing(house: Any) -> None:
    async def main() -> None:
        async with house() as home:
            reader, writer = await asyncio.open_connection(home.address.host, home.address.port)
            await until(lambda: home.listener._arrivals)
            await home.listener.close()
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 5.0) == b""
            writer.close()

    run(main())
