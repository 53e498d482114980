"""T-1 … T-12: what is sent arrives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from discomputify_core.errors import OurBug
from discomputify_core.interfaces.transport import Channel
from discomputify_core.model.message import MAX_BODY, Message, RequestId
from discomputify_testkit.running import async_test
from discomputify_testkit.transport.base import DIALLER, LISTENER, TransportSuite, received, within

#: Data of every kind that travels.
KINDS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -(2**63),
    2**64 - 1,
    0.1,
    "",
    "ünï¢ode \U0001f642",
    b"",
    bytes(range(256)),
    [],
    {},
    [1, [2, [3, {"deep": [None]}]]],
    {"a": {"b": {"c": [1.5, "x", b"y", None, True]}}},
    {"long": "x" * 100_000, "many": list(range(5000))},
)


class Messages(TransportSuite):
    """Clauses about messages."""

    @async_test
    async def test_t_01_messages_arrive_in_order_both_ways(self) -> None:
        """T-1."""
        async with self.pair() as (near, far):
            for one, other in ((near, far), (far, near)):
                for number in range(300):
                    await within(one.send(Message("count", number, b"x" * (number % 7 * 1000))))
                got = await received(other, 300)
                assert [message.data for message in got] == list(range(300))
                assert [len(message.body) for message in got] == [number % 7 * 1000 for number in range(300)]

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1024 * 1024 + 1, MAX_BODY])
    @async_test
    async def test_t_02_bodies_of_every_size_arrive_whole(self, size: int) -> None:
        """T-2."""
        body = (bytes(range(251)) * (size // 251 + 1))[:size]
        async with self.pair() as (near, far):
            _, message = await asyncio.gather(within(near.send(Message("body", size, body))), within(far.receive()))
            assert (message.operation, message.data) == ("body", size)
            assert bytes(message.body) == body

    @async_test
    async def test_t_03_a_body_may_be_bytes_bytearray_or_memoryview(self) -> None:
        """T-3."""
        async with self.pair() as (near, far):
            for body in (b"plain", bytearray(b"array"), memoryview(b"a slice of more")[2:7]):
                await within(near.send(Message("body", body=body)))
                assert bytes((await within(far.receive())).body) == bytes(body)

    @pytest.mark.parametrize("data", KINDS, ids=lambda data: repr(data)[:20])
    @async_test
    async def test_t_04_plain_data_arrives_as_it_was(self, data: Any) -> None:
        """T-4."""
        async with self.pair() as (near, far):
            await within(near.send(Message("data", data)))
            got = (await within(far.receive())).data
            assert got == data
            assert type(got) is type(data)

    @async_test
    async def test_t_05_request_ids_and_settled_arrive(self) -> None:
        """T-5."""
        sent = [
            Message("ask", request=RequestId(bytes(range(16)), 1), settled=0),
            Message("ask", request=RequestId(b"\xff" * 16, 2**40), settled=2**40 - 1),
            Message("tell", request=None),
        ]
        async with self.pair() as (near, far):
            for message in sent:
                await within(near.send(message))
            got = await received(far, len(sent))
            assert [(m.operation, m.request, m.settled) for m in got] == [
                (m.operation, m.request, m.settled) for m in sent
            ]

    @async_test
    async def test_t_06_concurrent_sends_arrive_whole_and_once(self) -> None:
        """T-6."""
        async with self.pair() as (near, far):

            async def send_some(sender: int) -> None:
                for number in range(20):
                    await near.send(Message("part", [sender, number], bytes([sender]) * (sender * 997)))

            sending = asyncio.gather(*(send_some(sender) for sender in range(50)))
            got = await received(far, 50 * 20)
            await within(sending)
            assert all(bytes(m.body) == bytes([m.data[0]]) * (m.data[0] * 997) for m in got)
            for sender in range(50):
                assert [m.data[1] for m in got if m.data[0] == sender] == list(range(20))

    @async_test
    async def test_t_07_both_ends_know_what_the_other_said_of_itself(self) -> None:
        """T-7."""
        async with self.pair() as (near, far):
            for channel, said in ((near, LISTENER), (far, DIALLER)):
                peer = channel.peer
                assert (peer.role, peer.name, peer.software, peer.version) == (
                    said.role,
                    said.name,
                    said.software,
                    said.version,
                )
                assert said.features.items() <= peer.features.items()
                assert channel.address

    @async_test
    async def test_t_08_a_body_over_the_limit_is_our_bug_and_harms_nothing(self) -> None:
        """T-8."""
        async with self.pair() as (near, far):
            with pytest.raises(OurBug):
                await within(near.send(Message("big", body=bytes(MAX_BODY + 1))))
            await self._still_works(near, far)

    @pytest.mark.parametrize("data", [object(), {"deep": [{1, 2}]}, 2**64], ids=["object", "set", "integer"])
    @async_test
    async def test_t_09_data_that_cannot_travel_is_our_bug_and_harms_nothing(self, data: Any) -> None:
        """T-9."""
        async with self.pair() as (near, far):
            with pytest.raises(OurBug):
                await within(near.send(Message("odd", data)))
            await self._still_works(near, far)

    @async_test
    async def test_t_10_a_sender_does_not_run_ahead_of_a_reader_without_bound(self) -> None:
        """T-10."""
        body, most = bytes(1024 * 1024), self.capabilities.most_ahead // (1024 * 1024)
        async with self.pair() as (near, far):
            sent = 0

            async def send_all() -> None:
                nonlocal sent
                for number in range(most + 32):
                    await near.send(Message("block", number, body))
                    sent = number + 1

            sending = asyncio.get_running_loop().create_task(send_all())
            before = -1
            while before < sent and not sending.done():  # until it has not moved for a moment
                before = sent
                await asyncio.wait({sending}, timeout=0.5)
            assert not sending.done(), f"it took {sent} MiB that nobody reads"
            got = await received(far, most + 32)
            await within(sending)
            assert [message.data for message in got] == list(range(most + 32))

    @async_test
    async def test_t_11_a_full_direction_does_not_stop_the_other(self) -> None:
        """T-11."""
        body, blocks = bytes(1024 * 1024), self.capabilities.most_ahead // (1024 * 1024) + 32
        async with self.pair() as (near, far):

            async def send_all() -> None:
                for number in range(blocks):
                    await near.send(Message("block", number, body))

            sending = asyncio.get_running_loop().create_task(send_all())
            for number in range(100):
                await within(far.send(Message("small", number)))
                assert (await within(near.receive())).data == number
            assert (await received(far, blocks))[-1].data == blocks - 1
            await within(sending)

    @async_test
    async def test_t_12_channels_of_one_listener_are_apart(self) -> None:
        """T-12."""
        async with self.pair() as (near, far), self.pair() as (near2, far2):
            await within(near.send(Message("one")))
            await within(near2.send(Message("two")))
            await within(near2.close())
            assert (await within(far2.receive())).operation == "two"
            assert (await within(far.receive())).operation == "one"
            await self._still_works(near, far)

    async def _still_works(self, near: Channel, far: Channel) -> None:
        for one, other in ((near, far), (far, near)):
            await within(one.send(Message("ping", 1, b"2")))
            message = await within(other.receive())
            assert (message.operation, message.data, bytes(message.body)) == ("ping", 1, b"2")
