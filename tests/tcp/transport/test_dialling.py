"""What a client is told about services that are not what it dialled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from discomputify_core.errors import AddressInUse, KeysDiffer, Refused, Unreachable, VersionsDiffer
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.message import Hello, Message
from discomputify_tcp.transport import TcpTransport
from discomputify_testkit.confs import make_conf
from discomputify_testkit.running import run, until

HELLO = Hello("client", version="2.0")
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def stranger(talk: Talk) -> AsyncIterator[Address]:
    """A service of another kind."""
    writers: list[asyncio.StreamWriter] = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await talk(reader, writer)

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(writer.wait_closed(), 5.0)


def dial_a_stranger(talk: Talk, timeout: float = 10.0) -> None:
    async def main() -> None:
        async with stranger(talk) as address:
            await TcpTransport(make_conf()).dial(address, "master", HELLO, timeout)

    run(main())


def test_a_web_server_is_refused_as_something_else() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with pytest.raises(Refused, match="not a discomputify service") as caught:
        dial_a_stranger(talk)
    assert not isinstance(caught.value, (KeysDiffer, VersionsDiffer))


def test_a_service_that_closes_after_our_first_message_most_likely_has_another_key() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.close()

    with pytest.raises(KeysDiffer, match=r"CYPHER/1.*not a discomputify port"):
        dial_a_stranger(talk)


def test_a_service_that_answers_under_another_key() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.write((100).to_bytes(2, "big") + bytes(range(100)))

    with pytest.raises(KeysDiffer, match="another key"):
        dial_a_stranger(talk)


def test_a_reset_is_no_verdict_about_the_key() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        sock: Any = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    with pytest.raises(Unreachable, match="in the handshake"):
        dial_a_stranger(talk)


def test_a_silent_service_costs_no_more_than_the_timeout() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:\d+ did not answer within 0.3 s") as caught:
        dial_a_stranger(talk, timeout=0.3)
    assert "shaking hands" in str(caught.value)


def test_an_unknown_name_is_unreachable() -> None:
    async def main() -> None:
        await TcpTransport(make_conf()).dial(Address("no-such-host.invalid", 5), "master", HELLO, 10.0)

    with pytest.raises(Unreachable, match=r"no-such-host\.invalid:5"):
        run(main())


@pytest.mark.parametrize("host", ["a" * 70, "no-such-host.invalid"])
def test_an_unknown_name_cannot_be_listened_at(host: str) -> None:
    async def main() -> None:
        async def serve(channel: object) -> None:
            """Never called."""

        await TcpTransport(make_conf()).listen(Address(host, 0), HELLO, serve)

    with pytest.raises(AddressInUse, match=host):
        run(main())


def test_another_role_is_refused_with_both_names(house: Any) -> None:
    async def main() -> None:
        async with house() as home:
            with pytest.raises(Refused, match=r"'echo', not 'master'"):
                await home.dial(role="master")
            await until(lambda: not home.listener._arrivals)
            assert not home.served

    run(main())


@pytest.mark.parametrize("version", ["3.0.0", "1.9", "", "20.0"])
def test_another_major_version_is_refused_with_both_versions_on_both_sides(
    house: Any, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with house() as home:
            told: list[tuple[Hello, str, str]] = []
            home.transport.on_refused = lambda *what: told.append(what)
            with pytest.raises(VersionsDiffer) as caught:
                await home.dial(version=version)
            for text in (repr(version), "'2.0'", "pip install -U discomputify-core discomputify-tcp"):
                assert text in str(caught.value)
            await until(lambda: told)
            hello, address, reason = told[0]
            assert (hello.name, hello.version) == ("me", version)
            assert address in reason
            assert "pip install" in reason
            assert not home.served

    with caplog.at_level(logging.WARNING, "discomputify.tcp"):
        run(main())
    assert any("refused 'client' 'me'" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("version", ["2.0", "2.17.3", "2.0.0a1", "2"])
def test_releases_of_one_major_version_work_together(house: Any, version: str) -> None:
    async def main() -> None:
        async with house() as home:
            channel = await home.dial(version=version)
            await channel.send(Message("x"))
            await channel.receive()
            assert home.served[0].peer.version == version
            await channel.close()

    run(main())


def test_wrong_key_is_told_apart_on_both_sides_and_shows_no_key(house: Any, caplog: pytest.LogCaptureFixture) -> None:
    conf, other = make_conf(), make_conf()

    async def main() -> None:
        async with house(conf) as home:
            with pytest.raises(KeysDiffer, match="ENCRYPTION_KEY"):
                await home.dial(transport=TcpTransport(other))
            await until(lambda: caplog.records)
            await home.still_serves()

    with caplog.at_level(logging.DEBUG):
        run(main())
    (line,) = [record.getMessage() for record in caplog.records if record.name == "discomputify.tcp"]
    assert "127.0.0.1:" in line
    assert "key differs" in line
    everything = caplog.text + repr(vars(TcpTransport(conf)).keys())
    for secret in (conf.encryption_key, other.encryption_key):
        assert str(secret) not in everything
        assert str(secret).encode().hex() not in everything


def test_ipv6_and_names_work_alike(house: Any) -> None:
    async def main(host: str) -> None:
        async with house(host=host) as home:
            await home.still_serves()
            if host == "::1":
                assert str(home.address).startswith("[::1]:")

    run(main("localhost"))
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    run(main("::1"))


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_an_address_can_be_bound_again_at_once(house: Any) -> None:
    async def main() -> None:
        async with house() as home:
            address = home.address
            channels = [await home.dial() for _ in range(3)]
        for channel in channels:
            await channel.close()

        async def serve(channel: object) -> None:
            """Nobody comes."""

        listener = await home.transport.listen(address, HELLO, serve)
        assert listener.address == address
        await listener.close()

    run(main())


def test_a_dial_that_is_cancelled_leaves_nothing_open() -> None:
    async def main() -> None:
        heard = asyncio.Event()
        ended = asyncio.Event()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(4)
            heard.set()
            await reader.read()
            ended.set()

        async with stranger(talk) as address:
            dialling = asyncio.ensure_future(TcpTransport(make_conf()).dial(address, "master", HELLO, 20.0))
            await asyncio.wait_for(heard.wait(), 5.0)
            dialling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialling
            await asyncio.wait_for(ended.wait(), 5.0)

    run(main())
