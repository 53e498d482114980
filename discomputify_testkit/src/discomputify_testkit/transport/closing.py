"""T-20 … T-29: how channels and listeners end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from discomputify_core.errors import ChannelClosed, Unreachable
from discomputify_core.interfaces.transport import Channel
from discomputify_core.model.message import Message
from discomputify_testkit.confs import make_conf
from discomputify_testkit.running import async_test
from discomputify_testkit.transport.base import LISTENER, TransportSuite, ends, received, within


class Closing(TransportSuite):
    """Clauses about ends."""

    @async_test
    async def test_t_20_a_close_is_seen_by_the_other_side(self) -> None:
        """T-20."""
        for closes_near in (True, False):
            async with self.pair() as (near, far):
                closing, other = (near, far) if closes_near else (far, near)
                waiting = asyncio.get_running_loop().create_task(ends(other))
                await within(closing.close("the test says so"))
                closed = await within(waiting)
                assert closed.fields["reason"]

    @async_test
    async def test_t_21_what_was_sent_before_a_close_is_delivered(self) -> None:
        """T-21."""
        async with self.pair() as (near, far):
            for number in range(50):
                await within(near.send(Message("last words", number, bytes(number * 100))))
            await within(near.close())
            got = await received(far, 50)
            assert [(message.data, len(message.body)) for message in got] == [(n, n * 100) for n in range(50)]
            await ends(far)

    @async_test
    async def test_t_22_a_closed_channel_neither_sends_nor_receives(self) -> None:
        """T-22."""
        async with self.pair() as (near, far):
            waiting = asyncio.get_running_loop().create_task(ends(near))
            await within(near.close())
            assert (await within(waiting)).fields["reason"]
            await ends(near)
            with pytest.raises(ChannelClosed):
                await within(near.send(Message("late")))
            await ends(far)
            with pytest.raises(ChannelClosed):
                await within(far.send(Message("late")))

    @async_test
    async def test_t_23_closing_twice_is_closing_once(self) -> None:
        """T-23."""
        async with self.pair() as (near, far):
            await within(asyncio.gather(near.close("one"), near.close("two")))
            await within(near.close())
            await ends(far)
            await within(far.close())

    @async_test
    async def test_t_24_a_sender_that_waits_for_room_is_woken_by_the_close(self) -> None:
        """T-24."""
        async with self.pair() as (near, far):

            async def send_for_ever() -> None:
                while True:
                    await near.send(Message("block", body=bytes(1024 * 1024)))

            sending = asyncio.get_running_loop().create_task(send_for_ever())
            await within(far.receive())
            await within(far.close())
            with pytest.raises(ChannelClosed):
                await within(sending)

    @async_test
    async def test_t_25_closing_a_listener_closes_its_channels_and_frees_its_address(self) -> None:
        """T-25."""
        conf = make_conf()
        async with self.service(conf) as service:
            channels = [await self.dial(conf, service.address) for _ in range(5)]
            accepted = [await within(service.accepted.get()) for _ in range(5)]
            assert service.listener is not None
            await within(service.listener.close())
            for channel in (*channels, *accepted):
                await ends(channel)
            with pytest.raises(Unreachable):
                await self.dial(conf, service.address, timeout=2.0)
            await within(service.listener.close())
            again = await within(self.make_transport(conf).listen(service.address, LISTENER, service.serve))
            assert again.address == service.address
            await within(again.close())
            for channel in channels:
                await within(channel.close())

    @async_test
    async def test_t_26_the_channel_is_closed_when_serve_returns(self) -> None:
        """T-26."""
        conf = make_conf()

        async def serve(channel: Channel) -> None:
            await channel.send(Message("goodbye"))

        listener = await within(self.make_transport(conf).listen(self.address(), LISTENER, serve))
        try:
            near = await self.dial(conf, listener.address)
            assert (await within(near.receive())).operation == "goodbye"
            await ends(near)
            await within(near.close())
        finally:
            await within(listener.close())

    def test_t_27_a_serve_that_raises_harms_its_own_channel_only(self, caplog: pytest.LogCaptureFixture) -> None:
        """T-27."""
        with caplog.at_level(logging.WARNING):
            self._serve_that_raises()
        assert any("as the test wants" in str(record.exc_info) + record.getMessage() for record in caplog.records)

    @async_test
    async def _serve_that_raises(self) -> None:
        conf = make_conf()

        async def serve(channel: Channel) -> None:
            message = await channel.receive()
            if message.operation == "fail":
                raise RuntimeError("as the test wants")
            await channel.send(Message("fine"))

        listener = await within(self.make_transport(conf).listen(self.address(), LISTENER, serve))
        try:
            good, bad = await self.dial(conf, listener.address), await self.dial(conf, listener.address)
            await within(bad.send(Message("fail")))
            await ends(bad)
            later = await self.dial(conf, listener.address)
            for channel in (good, later):
                await within(channel.send(Message("work")))
                assert (await within(channel.receive())).operation == "fine"
            for channel in (good, bad, later):
                await within(channel.close())
        finally:
            await within(listener.close())
