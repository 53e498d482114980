"""A transport inside one process: channels between tasks, over networks that are only dictionaries.

It keeps every promise of interfaces/transport.py that has to do with messages, keys and roles, and none that has to
do with wires: nothing is encrypted and nothing goes silent.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

import attrs

from discomputify_core.errors import AddressInUse, DiscomputifyError, KeysDiffer, OurBug, Refused, Unreachable
from discomputify_core.interfaces.transport import Address, Channel, Listener, Serve, Transport
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import MAX_BODY, Hello, Message
from discomputify_testkit.fakes.memory_pipe import MemoryPipe
from discomputify_testkit.fakes.options import MemoryOptions
from discomputify_testkit.plain import round_trip

log = logging.getLogger("discomputify.memory")

#: Seconds that a closing listener gives its serving tasks to notice.
CLOSE = 1.0


class MemoryNetwork:
    """What is bound where."""

    def __init__(self) -> None:
        self.listeners: dict[Address, MemoryListener] = {}
        self.ports = itertools.count(20_000)


#: By space.
_networks: dict[str, MemoryNetwork] = {}


class MemoryChannel(Channel):
    """One end of a channel."""

    def __init__(self, peer: Hello, address: str, incoming: MemoryPipe, outgoing: MemoryPipe) -> None:
        self.peer = from_plain(round_trip(to_plain(peer)), Hello)
        self.address = address
        self._incoming = incoming
        self._outgoing = outgoing

    async def send(self, message: Message) -> None:
        """See :meth:`Channel.send`."""
        if len(message.body) > MAX_BODY:
            raise OurBug(f"A body of {len(message.body)} bytes was to be sent; at most {MAX_BODY} may be.")
        body = memoryview(bytes(message.body))
        await self._outgoing.put(attrs.evolve(message, data=round_trip(message.data), body=body))

    async def receive(self) -> Message:
        """See :meth:`Channel.receive`."""
        return await self._incoming.take()

    async def close(self, reason: str = "") -> None:
        """See :meth:`Channel.close`."""
        here, there = "closed by this side", "closed by the peer" + (f" ({reason})" if reason else "")
        await self._outgoing.end(writer=here, reader=there, drop=False)
        await self._incoming.end(writer=there, reader=here, drop=True)


class MemoryListener(Listener):
    """A bound address of a network."""

    def __init__(self, network: MemoryNetwork, address: Address, conf: Conf, hello: Hello, serve: Serve) -> None:
        self.address = address
        self.conf = conf
        self.hello = hello
        self._network = network
        self._serve = serve
        self._serving: dict[asyncio.Task[None], MemoryChannel] = {}

    def accept(self, dialler: Hello) -> MemoryChannel:
        """A new channel's far end; the near one is served from now on."""
        there, here = MemoryPipe(), MemoryPipe()
        near = MemoryChannel(dialler, f"memory:{dialler.name or dialler.role}", there, here)
        task = asyncio.get_running_loop().create_task(self._run(near))
        self._serving[task] = near
        task.add_done_callback(self._serving.pop)
        return MemoryChannel(self.hello, str(self.address), here, there)

    async def _run(self, channel: MemoryChannel) -> None:
        try:
            await self._serve(channel)
        except DiscomputifyError as error:
            log.warning("serving %s ended: %s", channel.address, error)
        except Exception:  # one connection's trouble is not the listener's
            log.exception("serving %s failed", channel.address)
        finally:
            await channel.close()

    async def close(self) -> None:
        """See :meth:`Listener.close`."""
        if self._network.listeners.get(self.address) is self:
            del self._network.listeners[self.address]
        for channel in list(self._serving.values()):
            await channel.close("the service stops")
        tasks = set(self._serving) - {asyncio.current_task()}
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=CLOSE)
            for task in stuck:
                task.cancel()


class MemoryTransport(Transport):
    """See the module. All transports of one space reach each other."""

    name = "memory"
    options = MemoryOptions

    def __init__(self, conf: Conf, options: Any = None) -> None:
        self._conf = conf
        self._network = _networks.setdefault((options or MemoryOptions()).space, MemoryNetwork())

    async def listen(self, address: Address, hello: Hello, serve: Serve) -> Listener:
        """See :meth:`Transport.listen`."""
        if address.port == 0:
            address = Address(address.host, next(self._network.ports))
        if address in self._network.listeners:
            raise AddressInUse(f"{address} is in use by another service of this process.", address=str(address))
        listener = MemoryListener(self._network, address, self._conf, hello, serve)
        self._network.listeners[address] = listener
        return listener

    async def dial(self, address: Address, role: str, hello: Hello, timeout: float) -> Channel:
        """See :meth:`Transport.dial`."""
        listener = self._network.listeners.get(address)
        if listener is None:
            raise Unreachable(f"Nothing listens at {address} in this process.", address=str(address))
        ours = (self._conf.encryption_key, self._conf.decryption_key)
        if ours != (listener.conf.decryption_key, listener.conf.encryption_key):
            log.warning("refused %s at %s: its key differs", hello.name or hello.role, address)
            raise KeysDiffer(f"The service at {address} holds another key: copy its conf here.", address=str(address))
        if listener.hello.role != role:
            raise Refused(
                f"{address} is a {listener.hello.role}, not a {role}: check the conf's addresses.",
                address=str(address),
                role=listener.hello.role,
            )
        return listener.accept(hello)
