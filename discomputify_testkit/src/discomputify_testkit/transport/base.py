"""What every clause of the transport suite uses: what a subclass has to give, and pairs of connected channels."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import attrs
import pytest

from discomputify_core import __version__
from discomputify_core.errors import ChannelClosed
from discomputify_core.interfaces.transport import Address, Channel, Listener, Transport
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Hello, Message
from discomputify_testkit.confs import make_conf

T = TypeVar("T")

#: Seconds within which anything that is expected happens.
DEADLINE = 15.0

DIALLER = Hello("client", "dialler", version=__version__, features={"colour": "blue"})
LISTENER = Hello("master", "listener", version=__version__, features={"number": 7})


@attrs.frozen
class Capabilities:
    """What a transport promises beyond the messages. A clause that needs what is False here is skipped."""

    #: Ends with different keys do not get a channel.
    authenticates_by_key: bool = True
    #: It is spoken over TCP connections, so that the suite can put a wire of its own in between.
    over_tcp: bool = True
    #: Nobody on the wire can read or change messages (needs over_tcp).
    encrypts: bool = True
    #: A peer that is silent for TIMEOUT seconds is given up (needs over_tcp).
    closes_silent_peers: bool = True
    #: Most bytes that it takes from a sender whose peer does not read.
    most_ahead: int = 128 * 1024 * 1024


async def within(awaitable: Awaitable[T], deadline: float = DEADLINE) -> T:
    """The result of *awaitable*, or TimeoutError."""
    return await asyncio.wait_for(awaitable, deadline)


async def received(channel: Channel, count: int) -> list[Message]:
    """The next *count* messages."""
    return [await within(channel.receive()) for _ in range(count)]


async def ends(channel: Channel) -> ChannelClosed:
    """Read *channel* to its end; how it ended."""
    while True:
        try:
            await within(channel.receive())
        except ChannelClosed as closed:
            return closed


class Service:
    """A listener, and the channels that it accepted. Each is served until the test is over."""

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self.accepted: asyncio.Queue[Channel] = asyncio.Queue()
        self._over = asyncio.Event()

    @property
    def address(self) -> Address:
        """Where it listens."""
        assert self.listener is not None
        return self.listener.address

    async def serve(self, channel: Channel) -> None:
        """What the listener calls."""
        self.accepted.put_nowait(channel)
        await self._over.wait()

    async def close(self) -> None:
        """Let go of the channels and stop listening."""
        self._over.set()
        if self.listener is not None:
            await within(self.listener.close())


class TransportSuite(ABC):
    """What a subclass gives."""

    capabilities = Capabilities()

    @abstractmethod
    def make_transport(self, conf: Conf) -> Transport:
        """A new transport of the kind under test."""

    def address(self) -> Address:
        """An address that can be bound here; port 0 where the transport may choose."""
        return Address("127.0.0.1", 0)

    def need(self, *capabilities: str) -> None:
        """Skip the test where the transport lacks one of *capabilities*."""
        for name in capabilities:
            if not getattr(self.capabilities, name):
                pytest.skip(f"the transport does not promise: {name}")

    @contextlib.asynccontextmanager
    async def service(self, conf: Conf, hello: Hello = LISTENER) -> AsyncIterator[Service]:
        """A service at :meth:`address`."""
        service = Service()
        service.listener = await within(self.make_transport(conf).listen(self.address(), hello, service.serve))
        try:
            yield service
        finally:
            await service.close()

    async def dial(self, conf: Conf, address: Address, role: str = LISTENER.role, timeout: float = DEADLINE) -> Channel:
        """A channel to *address*."""
        return await within(self.make_transport(conf).dial(address, role, DIALLER, timeout), timeout + DEADLINE)

    @contextlib.asynccontextmanager
    async def pair(self, conf: Conf | None = None) -> AsyncIterator[tuple[Channel, Channel]]:
        """Both ends of a channel: the dialling one and the served one."""
        conf = conf or make_conf()
        async with self.service(conf) as service:
            near = await self.dial(conf, service.address)
            try:
                yield near, await within(service.accepted.get())
            finally:
                await within(near.close())

    async def free_address(self, conf: Conf) -> Address:
        """An address at which nobody listens."""
        async with self.service(conf) as service:
            return service.address
