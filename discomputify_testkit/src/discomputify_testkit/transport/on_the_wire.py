"""T-60 … T-66: what happens on a bad wire, and what strangers on it learn. For transports over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from discomputify_core.interfaces.transport import Channel
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Message
from discomputify_testkit.confs import make_conf
from discomputify_testkit.running import async_test, until
from discomputify_testkit.transport.base import DEADLINE, TransportSuite, ends, within
from discomputify_testkit.wire import Wire, open_wire


class OnTheWire(TransportSuite):
    """Clauses about wires."""

    @contextlib.asynccontextmanager
    async def wired(self, conf: Conf) -> AsyncIterator[tuple[Channel, Channel, Wire]]:
        """Both ends of a channel and the wire between them."""
        async with self.service(conf) as service, open_wire(service.address) as wire:
            near = await self.dial(conf, wire.address)
            try:
                yield near, await within(service.accepted.get()), wire
            finally:
                await within(near.close())

    @async_test
    async def test_t_60_silence_closes_both_ends(self) -> None:
        """T-60."""
        self.need("over_tcp", "closes_silent_peers")
        async with self.wired(make_conf(timeout=1.0)) as (near, far, wire):
            wire.stall()
            closed = await within(asyncio.gather(ends(near), ends(far)))
            assert all(error.fields["reason"] for error in closed)

    @async_test
    async def test_t_61_an_idle_channel_stays_open(self) -> None:
        """T-61."""
        self.need("over_tcp", "closes_silent_peers")
        async with self.wired(make_conf(timeout=1.5)) as (near, far, _):
            reading = asyncio.get_running_loop().create_task(far.receive())
            # What must not happen within more than TIMEOUT is that the reader is told of an end.
            done, _ = await asyncio.wait({reading}, timeout=4.0)
            assert not done
            await within(near.send(Message("still here")))
            assert (await within(reading)).operation == "still here"

    @async_test
    async def test_t_62_a_cut_is_seen_by_both_ends(self) -> None:
        """T-62."""
        self.need("over_tcp")
        async with self.wired(make_conf()) as (near, far, wire):
            wire.cut()
            closed = await within(asyncio.gather(ends(near), ends(far)))
            assert all(error.fields["reason"] for error in closed)

    @async_test
    async def test_t_63_a_damaged_message_is_never_delivered(self) -> None:
        """T-63."""
        self.need("over_tcp", "encrypts")
        async with self.wired(make_conf(timeout=5.0)) as (near, far, wire):
            await within(near.send(Message("good", body=b"x" * 1000)))
            assert bytes((await within(far.receive())).body) == b"x" * 1000
            wire.damage()
            await within(near.send(Message("bad", body=b"y" * 1000)))
            await ends(far)
            await ends(near)

    @async_test
    async def test_t_64_nobody_on_the_wire_can_read_anything(self) -> None:
        """T-64."""
        self.need("over_tcp", "encrypts")
        conf = make_conf()
        async with self.wired(conf) as (near, far, wire):
            secret = b"nobody-may-read-this"
            await within(near.send(Message(secret.decode(), {"data": secret.decode()}, secret * 100)))
            assert bytes((await within(far.receive())).body) == secret * 100
            assert len(wire.recorded) > 100 * len(secret)
            for text in (secret, str(conf.encryption_key).encode(), str(conf.decryption_key).encode()):
                assert text not in wire.recorded

    def test_t_65_strangers_are_turned_away_and_named_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        """T-65."""
        self.need("over_tcp", "authenticates_by_key")
        with caplog.at_level(logging.WARNING):
            self._strangers(caplog)

    @async_test
    async def _strangers(self, caplog: pytest.LogCaptureFixture) -> None:
        conf = make_conf()
        async with self.service(conf) as service:
            near = await self.dial(conf, service.address)
            far = await within(service.accepted.get())
            for noise in (b"GET / HTTP/1.0\r\n\r\n", bytes(range(256)) * 40, b"\xff" * 8):
                reader, writer = await asyncio.open_connection(service.address.host, service.address.port)
                with contextlib.suppress(ConnectionError):
                    writer.write(noise)
                    writer.write_eof()
                    await within(reader.read(), 2 * DEADLINE)
                writer.close()
            await until(lambda: any(service.address.host in record.getMessage() for record in caplog.records))
            await within(near.send(Message("undisturbed")))
            assert (await within(far.receive())).operation == "undisturbed"
            assert service.accepted.empty()
            await within(near.close())

    @async_test
    async def test_t_66_strangers_that_say_nothing_keep_nobody_out(self) -> None:
        """T-66."""
        self.need("over_tcp", "authenticates_by_key")
        conf = make_conf()
        async with self.service(conf) as service:
            idle = [await asyncio.open_connection(service.address.host, service.address.port) for _ in range(200)]
            near = await self.dial(conf, service.address)
            far = await within(service.accepted.get())
            await within(near.send(Message("undisturbed")))
            assert (await within(far.receive())).operation == "undisturbed"
            await within(near.close())
            for _, writer in idle:
                writer.close()
