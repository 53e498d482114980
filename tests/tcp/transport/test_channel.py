"""Channels over real sockets: pace, order, ends, and signs of life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from discomputify_core.errors import ChannelClosed
from discomputify_core.interfaces.transport import Address, Channel
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Hello, Message
from discomputify_tcp.transport import TcpTransport, incoming
from discomputify_testkit.confs import make_conf
from discomputify_testkit.running import run, until

MIB = 1024 * 1024


@asynccontextmanager
async def pair(conf: Conf | None = None) -> AsyncIterator[tuple[Any, Any]]:
    """Both ends of a channel; nobody reads either."""
    transport = TcpTransport(conf or make_conf())
    accepted: asyncio.Queue[Channel] = asyncio.Queue()
    over = asyncio.Event()

    async def serve(channel: Channel) -> None:
        accepted.put_nowait(channel)
        await over.wait()

    listener = await transport.listen(Address("127.0.0.1", 0), Hello("service", version="2.0"), serve)
    near = await transport.dial(listener.address, "service", Hello("client", version="2.0"), 10.0)
    try:
        yield near, await asyncio.wait_for(accepted.get(), 10.0)
    finally:
        over.set()
        await asyncio.gather(near.close(), listener.close())


async def stuck(sending: asyncio.Future[None], near: Any) -> None:
    """Return when *sending* has not moved for a while: the reader's and all the system's buffers are full."""
    before, sent_at = -1.0, 0.0
    while before < sent_at:
        before = near._wire.sent_at
        await asyncio.wait({sending}, timeout=0.3)
        sent_at = near._wire.sent_at
    assert not sending.done()
    assert not near._outgoing._writable


async def end_of(channel: Channel) -> str:
    while True:
        try:
            await asyncio.wait_for(channel.receive(), 15.0)
        except ChannelClosed as closed:
            return str(closed.fields["reason"])


def test_a_slow_reader_slows_its_writer_and_memory_stays_flat() -> None:
    async def main() -> None:
        async with pair() as (near, far):
            sent = 0

            async def send_all() -> None:
                nonlocal sent
                for number in range(150):
                    await near.send(Message("b", number, bytes(MIB)))
                    sent += 1

            sending = asyncio.ensure_future(send_all())
            await stuck(sending, near)
            assert far._wire.stalled
            assert far._incoming._bytes <= incoming.MOST_BYTES + 2 * MIB
            assert near._wire.transport.get_write_buffer_size() <= 4 * MIB
            for number in range(150):
                assert (await asyncio.wait_for(far.receive(), 10.0)).data == number
            await sending

    run(main())


def test_many_small_messages_that_nobody_reads_are_bounded_and_none_is_lost() -> None:
    async def main() -> None:
        async with pair() as (near, far):

            async def send_all() -> None:
                for number in range(20_000):
                    await near.send(Message("n", number, b"x" * 100))

            sending = asyncio.ensure_future(send_all())
            await until(lambda: far._wire.stalled)
            assert len(far._incoming._queue) <= incoming.MOST + 1
            for number in range(20_000):
                assert (await asyncio.wait_for(far.receive(), 10.0)).data == number
            await sending

    run(main())


def test_messages_of_one_turn_of_the_loop_share_a_write() -> None:
    async def main() -> None:
        async with pair() as (near, far):
            writes: list[list[bytes]] = []
            write = near._wire.write

            def count(buffers: list[bytes]) -> None:
                writes.append(buffers)
                write(buffers)

            near._wire.write = count
            for number in range(100):
                await near.send(Message("n", number))
            for number in range(100):
                assert (await asyncio.wait_for(far.receive(), 10.0)).data == number
            assert len(writes) == 1

    run(main())


def test_big_and_small_messages_of_many_senders_arrive_whole() -> None:
    async def main() -> None:
        async with pair() as (near, far):

            async def sender(who: int) -> None:
                for number in range(8):
                    await near.send(Message("m", [who, number], bytes([who]) * (who * 200_000)))

            senders = asyncio.gather(*(sender(who) for who in range(12)))
            got = [await asyncio.wait_for(far.receive(), 10.0) for _ in range(96)]
            await senders
            for message in got:
                assert message.body == bytes([message.data[0]]) * (message.data[0] * 200_000)
            for who in range(12):
                assert [m.data[1] for m in got if m.data[0] == who] == list(range(8))

    run(main())


def test_a_send_that_is_cancelled_half_way_does_not_harm_the_stream() -> None:
    async def main() -> None:
        async with pair() as (near, far):
            body = bytearray(b"1" * (16 * MIB))
            for number in range(2):
                await near.send(Message("before", number, bytes(16 * MIB)))
            sending = asyncio.ensure_future(near.send(Message("cut", body=body)))
            await until(lambda: near._wire.codec.borrowed)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            body[:] = b"2" * len(body)
            following = asyncio.ensure_future(near.send(Message("after")))
            for operation in ("before", "before", "cut", "after"):
                message = await asyncio.wait_for(far.receive(), 10.0)
                assert message.operation == operation
                if operation == "cut":
                    assert message.body == b"1" * (16 * MIB)
            await following

    run(main())


def test_a_send_that_is_cancelled_while_it_waits_is_not_sent() -> None:
    async def main() -> None:
        async with pair() as (near, far):

            async def send_all() -> None:
                for number in range(80):
                    await near.send(Message("b", number, bytes(MIB)))

            sending = asyncio.ensure_future(send_all())
            await stuck(sending, near)
            waiting = asyncio.ensure_future(near.send(Message("never")))
            await asyncio.wait({waiting}, timeout=0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            got = [await asyncio.wait_for(far.receive(), 10.0) for _ in range(80)]
            await sending
            await near.close()
            assert {message.operation for message in got} == {"b"}
            assert await end_of(far) == "closed by the peer"

    run(main())


def test_what_was_sent_before_a_close_arrives_even_if_much_is_unread_the_other_way() -> None:
    async def main() -> None:
        async with pair() as (near, far):
            for _ in range(200):
                await far.send(Message("unread", body=bytes(20_000)))
            for number in range(20):
                await near.send(Message("last words", number, bytes(MIB)))
            closing = asyncio.ensure_future(near.close("done"))
            assert [(await asyncio.wait_for(far.receive(), 10.0)).data for _ in range(20)] == list(range(20))
            assert await end_of(far) == "closed by the peer"
            await closing

    run(main())


def test_a_peer_that_never_reads_cannot_hold_up_a_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discomputify_tcp.transport.channel.CLOSE_WITHIN", 0.3)

    async def main() -> None:
        async with pair() as (near, _):
            sending = asyncio.ensure_future(_for_ever(near))
            await stuck(sending, near)
            await asyncio.wait_for(near.close(), 5.0)
            with pytest.raises(ChannelClosed):
                await asyncio.wait_for(sending, 5.0)

    run(main())


async def _for_ever(channel: Channel) -> None:
    while True:
        await channel.send(Message("b", body=bytes(MIB)))


def test_a_cancelled_close_still_closes() -> None:
    async def main() -> None:
        async with pair() as (near, far):
            closing = asyncio.ensure_future(near.close())
            await asyncio.wait({closing}, timeout=0)
            closing.cancel()
            assert await end_of(far) == "closed by the peer"
            await near.close()
            assert near._wire.gone.is_set()

    run(main())


def test_a_receiver_that_gives_up_passes_its_message_on() -> None:
    async def main() -> None:
        async with pair() as (near, far):
            first, second = (asyncio.ensure_future(far.receive()) for _ in range(2))
            await asyncio.wait({first}, timeout=0.05)
            far._wake_one()  # as when a message arrives in the turn in which the receiver is cancelled
            first.cancel()
            await near.send(Message("for whom"))
            assert (await asyncio.wait_for(second, 10.0)).operation == "for whom"
            with pytest.raises(asyncio.CancelledError):
                await first

    run(main())


def test_a_connection_that_breaks_within_a_message_delivers_what_was_whole() -> None:
    async def main() -> None:
        async with pair() as (near, far):
            await near.send(Message("whole"))
            await near._outgoing.flush()
            near._wire.transport.write(b"\x00\x00\x01")
            near._wire.transport.close()
            assert (await asyncio.wait_for(far.receive(), 10.0)).operation == "whole"
            assert await end_of(far) == "closed by the peer within a message"

    run(main())


def test_a_silent_peer_is_closed_with_the_reason() -> None:
    async def main() -> None:
        async with pair(make_conf(timeout=0.6)) as (near, far):
            near._liveness.stop()
            near._outgoing.pong = lambda: None
            assert await end_of(far) == "silent for 0.6 s"

    run(main())


def test_idle_ends_exchange_pings() -> None:
    async def main() -> None:
        async with pair(make_conf(timeout=0.6)) as (near, far):
            pings = 0
            pong = far._outgoing.pong

            def count() -> None:
                nonlocal pings
                pings += 1
                pong()

            far._outgoing.pong = count
            far._liveness.stop()  # it only answers
            await until(lambda: pings >= 6)  # 1.2 s: twice the silence that would close
            await near.send(Message("x"))
            assert (await asyncio.wait_for(far.receive(), 5.0)).operation == "x"

    run(main())


def test_a_slow_reader_is_no_silent_peer() -> None:
    async def main() -> None:
        async with pair(make_conf(timeout=0.6)) as (near, far):
            sending = asyncio.ensure_future(_count(near, 80))
            await stuck(sending, near)
            done, _ = await asyncio.wait({sending}, timeout=1.5)
            assert not done
            assert len([await asyncio.wait_for(far.receive(), 10.0) for _ in range(80)]) == 80
            await sending

    run(main())


async def _count(channel: Channel, count: int) -> None:
    for number in range(count):
        await channel.send(Message("b", number, bytes(MIB)))


def test_a_stall_of_this_process_is_not_the_peers_silence() -> None:
    async def main() -> None:
        async with pair(make_conf(timeout=0.6)) as (near, far):
            loop = asyncio.get_running_loop()
            far._liveness._due = loop.time() - 10.0  # as when this process was stopped for ten seconds
            far._wire.heard_at = loop.time() - 10.0
            far._liveness._look()
            await near.send(Message("x"))
            assert (await asyncio.wait_for(far.receive(), 5.0)).operation == "x"
            far._liveness.stop()

    run(main())


def test_who_taps_a_channel_gets_messages_first_but_never_before_older_ones() -> None:
    async def main() -> None:
        async with pair() as (near, far):
            tapped: list[Any] = []

            def take(message: Message) -> bool:
                if message.data % 2:
                    return False
                tapped.append(message.data)
                return True

            await near.send(Message("a", 0))
            await until(lambda: not far._incoming.empty)
            far.tap(take)
            await near.send(Message("a", 2))
            await until(lambda: len(far._incoming._queue) == 2)
            assert [(await far.receive()).data for _ in range(2)] == [0, 2], "an older one waited"
            for number in (4, 6, 7, 8):
                await near.send(Message("a", number))
            await until(lambda: len(far._incoming._queue) == 2)
            assert tapped == [4, 6]
            assert [(await far.receive()).data for _ in range(2)] == [7, 8]
            await near.send(Message("a", 10))
            await until(lambda: tapped == [4, 6, 10])

    run(main())
