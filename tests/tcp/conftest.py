"""What the transport's tests share: a transport with a fresh key, and services that end with the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import attrs
import pytest

from discomputify_core.errors import ChannelClosed
from discomputify_core.interfaces.transport import Address, Channel, Listener
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Hello, Message
from discomputify_tcp.transport import TcpTransport
from discomputify_testkit.confs import make_conf


@attrs.define
class House:
    """A service that answers every message with itself, and what is needed to talk to it."""

    conf: Conf
    transport: TcpTransport
    listener: Listener
    served: list[Channel]

    @property
    def address(self) -> Address:
        return self.listener.address

    async def dial(self, version: str = "2.0", transport: TcpTransport | None = None, role: str = "echo") -> Channel:
        hello = Hello("client", "me", version=version)
        return await (transport or self.transport).dial(self.address, role, hello, 10.0)

    async def still_serves(self) -> None:
        channel = await self.dial()
        await channel.send(Message("still", 1, b"there"))
        assert await asyncio.wait_for(channel.receive(), 10.0) == Message("still", 1, b"there")
        await channel.close()


@contextlib.asynccontextmanager
async def _house(conf: Conf | None = None, host: str = "127.0.0.1") -> AsyncIterator[House]:
    conf = conf or make_conf()
    transport = TcpTransport(conf)
    served: list[Channel] = []

    async def serve(channel: Channel) -> None:
        served.append(channel)
        with contextlib.suppress(ChannelClosed):
            while True:
                await channel.send(await channel.receive())

    listener = await transport.listen(Address(host, 0), Hello("echo", "here", version="2.0"), serve)
    try:
        yield House(conf, transport, listener, served)
    finally:
        await listener.close()


@pytest.fixture
def house() -> Callable[..., AbstractAsyncContextManager[House]]:
    """Opens a :class:`House`; arguments: a conf, a host."""
    return _house
