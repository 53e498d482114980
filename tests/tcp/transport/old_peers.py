"""Old clients and a service that knows what to answer them, for the tests of CYPHER/1 over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from discomputify_core.edge.calls import AskedOver, Link
from discomputify_core.edge.serving import Server
from discomputify_core.errors import BadInput
from discomputify_core.interfaces.calls import Asked, Operation, Reply
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Hello
from discomputify_core.model.old_clients import MISSED, OLD_REQUEST, OldAnswer, OldRequest
from discomputify_tcp.cypher1 import Connection, Content
from discomputify_tcp.transport import TcpOptions, TcpTransport
from discomputify_testkit.confs import make_conf


class OldHome:
    """A service that echoes what old clients send, counts it, and does as some operations say."""

    def __init__(self, conf: Conf, *, on: bool = True) -> None:
        self.conf = conf
        self.transport = TcpTransport(conf, TcpOptions(cypher1=on))
        self.asked: list[tuple[OldRequest, AskedOver]] = []
        self.missed: list[OldRequest] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        operations = {OLD_REQUEST: Operation(self._answer), "new": Operation(self._new)}
        self.server = Server(self.transport, Hello("echo", "here", version="2.0"), operations)
        self.address = Address("", 0)

    @property
    def done(self) -> list[str]:
        """Paths of the requests that reached the service."""
        return [request.path for request, _ in self.asked]

    async def _new(self, asked: Asked) -> Reply:
        return Reply(asked.data)

    async def _answer(self, asked: Asked) -> Reply:
        request = from_plain(asked.data, OldRequest)
        assert isinstance(asked, AskedOver)
        if request.operation == MISSED:
            self.missed.append(request)
            raise BadInput("This one does not want to know.")
        self.asked.append((request, asked))
        answer = OldAnswer(request.data)
        if request.operation == "SLOW":
            self.begun.set()
            await self.go_on.wait()
        elif request.operation == "FAIL":
            raise BadInput("That is ün-known.")
        elif request.operation == "BYTES":
            answer = OldAnswer(b"no JSON")
        elif request.operation == "NOTHING":
            return Reply("nothing")
        elif request.operation == "META":
            answer = OldAnswer("DONE", {"FILESIZE": 5})
        elif request.operation == "READ" and isinstance(request.data, int):
            answer = OldAnswer("f" * request.data)
        return Reply(to_plain(answer))


class OldPeer:
    """One connection of an old client."""

    def __init__(self, conf: Conf, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.codec = Connection(
            client=True, encryption_key=str(conf.encryption_key), decryption_key=str(conf.decryption_key)
        )
        self.reader = reader
        self.writer = writer

    def token(self, path: str = "/", operation: str = "DO", data: Any = None, at: float | None = None) -> bytes:
        """A request as bytes for the wire."""
        return self.codec.send(Content(path, operation, data, {"MINE": 1}), time.time() if at is None else at)

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def read(self) -> bytes:
        """The next answer as it came; b"" if the connection was closed instead."""
        try:
            return await asyncio.wait_for(self.reader.readuntil(b"\0"), 15.0)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def answer(self) -> Content | None:
        """The next answer; None if the connection was closed instead."""
        data = await self.read()
        self.codec.receive_data(data)
        event = self.codec.next_event(time.time())
        return event.content if event else None

    async def ask(self, path: str = "/", operation: str = "DO", data: Any = None) -> Content | None:
        """Send a request; its answer."""
        await self.send(self.token(path, operation, data))
        return await self.answer()

    async def closed(self) -> bool:
        """Whether the service closes without a byte more."""
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), 15.0) == b""
        return True


class Peers:
    """Makes connections, and closes them in the end."""

    def __init__(self, home: OldHome) -> None:
        self._home = home
        self._made: list[OldPeer] = []

    async def __call__(self, conf: Conf | None = None) -> OldPeer:
        """A fresh connection; with another key than the service's if *conf* is given."""
        address = self._home.address
        reader, writer = await asyncio.open_connection(address.host, address.port, limit=2**25)
        peer = OldPeer(conf or self._home.conf, reader, writer)
        self._made.append(peer)
        return peer

    async def close(self) -> None:
        """Hang up all."""
        for peer in self._made:
            peer.writer.close()
        for peer in self._made:
            with contextlib.suppress(ConnectionError):
                await peer.writer.wait_closed()


@contextlib.asynccontextmanager
async def old_home(conf: Conf | None = None, *, on: bool = True) -> AsyncIterator[tuple[OldHome, Peers]]:
    """A service on loopback, and what connects old clients to it."""
    home = OldHome(conf or make_conf(), on=on)
    peers = Peers(home)
    (home.address,) = await home.server.open((Address("127.0.0.1", 0),))
    try:
        yield home, peers
    finally:
        home.go_on.set()
        await peers.close()
        await home.server.close()


async def new_client_is_served(home: OldHome) -> None:
    """A CYPHER/2 peer of the same port gets its answer."""
    link = Link(home.transport, home.address, "echo", Hello("client", "me", version="2.0"))
    try:
        assert (await link.call("new", "there", timeout=10.0)).data == "there"
    finally:
        await link.close()
