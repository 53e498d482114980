"""Small pieces behind old clients: ids of requests, bytes that were read ahead, a connection that changes hands."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any, cast

from discomputify_core.model.old_clients import MISSED, OldRequest
from discomputify_tcp.cypher2 import Event
from discomputify_tcp.transport import old_clients
from discomputify_tcp.transport.complaints import Complaints
from discomputify_tcp.transport.old_clients import OldClients
from discomputify_tcp.transport.old_stream import OldStream
from discomputify_tcp.transport.wire import Heir, Owner, Wire
from discomputify_testkit.confs import make_conf
from discomputify_testkit.running import async_test

from .old_peers import old_home


class Socket:
    """As much of an asyncio transport as is needed; remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")

    def set_protocol(self, protocol: object) -> None:
        self.told.append(protocol)

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def is_closing(self) -> bool:
        return False


def arrive(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    while data:
        space = memoryview(protocol.get_buffer(-1))
        size = min(len(space), len(data))
        space[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]


def test_requests_of_all_connections_are_numbered_and_settled_together(monkeypatch: Any) -> None:
    monkeypatch.setattr(old_clients, "MAX_OPEN", 3)
    shared = OldClients(make_conf(), Complaints(lambda: 0.0))
    (one, settled), (two, _) = shared.ask(), shared.ask()
    assert (one.number, two.number, settled) == (1, 2, 1)
    assert one.client == two.client
    shared.settle(two)
    assert shared.ask()[1] == 1
    shared.settle(one)
    assert shared.ask()[1] == 3
    # One that is never answered does not hold up the others for ever.
    assert [shared.ask()[1] for _ in range(3)] == [3, 4, 5]


@async_test
async def test_bytes_that_come_while_none_are_wanted_are_kept_for_later() -> None:
    fed: list[bytes] = []

    def feed(data: bytes) -> bool:
        fed.append(data)
        return b"." not in data

    socket = Socket()
    stream = OldStream(cast(asyncio.Transport, socket), feed)
    arrive(stream, b"one.")
    arrive(stream, b"two")
    arrive(stream, b"three.")
    assert fed == [b"one."]
    assert await stream.more()
    assert fed == [b"one.", b"twothree."]
    waiting = asyncio.ensure_future(stream.more())
    await asyncio.sleep(0)
    arrive(stream, b"four")
    assert await asyncio.wait_for(waiting, 5.0)
    stream.eof_received()
    assert not await stream.more()
    assert socket.told == ["pause", "pause", "resume", "resume"]


class Answer:
    """Something big that is being sent."""


@async_test
async def test_what_was_sent_is_let_go_when_the_connection_breaks() -> None:
    stream = OldStream(cast(asyncio.Transport, Socket()), lambda data: True)

    async def send(answer: Answer) -> None:
        await stream.write(b"a part of it")
        stream.connection_lost(ConnectionResetError())
        await stream.write(b"the rest")

    gc.disable()
    try:
        answer = Answer()
        sent = weakref.ref(answer)
        try:
            await send(answer)
        except ConnectionResetError:
            del answer
        assert sent() is None
    finally:
        gc.enable()


class Taker(Heir):
    """Takes over."""

    def __init__(self) -> None:
        self.taken = b""

    def take(self, data: bytes) -> None:
        self.taken += data


class Giver(Owner):
    """Hands the connection over as soon as something comes."""

    def __init__(self) -> None:
        self.taker = Taker()

    def choose(self, begin: bytes) -> Heir:
        return self.taker

    def full(self) -> bool:
        raise AssertionError

    def on_event(self, event: Event) -> None:
        raise AssertionError

    def on_broken(self, error: Exception) -> None:
        raise AssertionError

    def on_end(self, reason: str, *, orderly: bool) -> None:
        raise AssertionError

    def on_writable(self, writable: bool) -> None:
        raise AssertionError

    def on_made(self) -> None:
        pass


@async_test
async def test_what_an_event_loop_still_brings_to_the_wire_goes_to_its_heir() -> None:
    socket, owner = Socket(), Giver()
    wire = Wire(owner, None)
    wire.connection_made(cast(asyncio.Transport, socket))
    data = bytes(range(256)) * 64
    arrive(wire, data)
    assert owner.taker.taken == data
    assert socket.told == [owner.taker]


@async_test
async def test_a_service_counts_from_a_full_second_on() -> None:
    async with old_home() as (home, peers):
        started = int(time.time())
        peer = await peers()
        await peer.send(peer.token("before", at=started - 1) + peer.token("after", at=started))
        assert [(await peer.read()) != b"", (await peer.read()) != b""] == [True, True]
        assert home.done == ["after"]
        # The service is told of what may have been lost, since old clients do not care about a no.
        assert home.missed == [OldRequest("before", MISSED, ["DO", None], {"MINE": 1})]
