"""T-40 … T-48: who gets a channel, and what is said to who does not."""

from __future__ import annotations

import asyncio

import attrs
import pytest

from discomputify_core.errors import AddressInUse, KeysDiffer, Refused, Unreachable
from discomputify_core.interfaces.transport import Address, Channel
from discomputify_core.model.message import Message
from discomputify_testkit.confs import fresh_key, make_conf
from discomputify_testkit.running import async_test
from discomputify_testkit.transport.base import DEADLINE, LISTENER, TransportSuite, within


class Dialling(TransportSuite):
    """Clauses about listening and dialling."""

    @async_test
    async def test_t_40_a_service_of_another_role_is_refused(self) -> None:
        """T-40."""
        conf = make_conf()
        async with self.service(conf) as service:
            with pytest.raises(Refused) as caught:
                await self.dial(conf, service.address, role="ftp_node")
            assert "ftp_node" in str(caught.value)
            assert LISTENER.role in str(caught.value)

    @async_test
    async def test_t_41_another_key_is_refused_and_never_served(self) -> None:
        """T-41."""
        self.need("authenticates_by_key")
        conf = make_conf()
        async with self.service(conf) as service:
            with pytest.raises(KeysDiffer) as caught:
                await self.dial(make_conf(), service.address)
            assert str(service.address.port) in str(caught.value)
            near = await self.dial(conf, service.address)
            accepted = await within(service.accepted.get())
            await within(near.send(Message("mine")))
            assert (await within(accepted.receive())).operation == "mine"
            assert service.accepted.empty()
            await within(near.close())

    @async_test
    async def test_t_42_the_keys_of_two_ends_are_crossed(self) -> None:
        """T-42."""
        self.need("authenticates_by_key")
        conf = make_conf(encryption_key=fresh_key(), decryption_key=fresh_key())
        crossed = attrs.evolve(conf, encryption_key=conf.decryption_key, decryption_key=conf.encryption_key)
        async with self.service(conf) as service:
            near = await self.dial(crossed, service.address)
            await within(near.close())
            for half in (
                attrs.evolve(crossed, encryption_key=fresh_key()),
                attrs.evolve(crossed, decryption_key=fresh_key()),
            ):
                with pytest.raises(KeysDiffer):
                    await self.dial(half, service.address)

    @async_test
    async def test_t_43_where_nobody_listens_is_unreachable(self) -> None:
        """T-43."""
        conf = make_conf()
        address = await self.free_address(conf)
        with pytest.raises(Unreachable) as caught:
            await within(self.dial(conf, address, timeout=2.0))
        assert address.host in str(caught.value)
        assert str(address.port) in str(caught.value)

    @async_test
    async def test_t_44_who_accepts_and_says_nothing_is_unreachable(self) -> None:
        """T-44."""
        self.need("over_tcp")
        held: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
        try:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Unreachable) as caught:
                await within(self.dial(make_conf(), Address("127.0.0.1", port), timeout=1.0))
            assert str(port) in str(caught.value)
        finally:
            server.close()
            for writer in held:
                writer.close()

    @async_test
    async def test_t_45_an_address_is_bound_once(self) -> None:
        """T-45."""
        conf = make_conf()
        async with self.service(conf) as service:
            with pytest.raises(AddressInUse) as caught:
                await within(self.make_transport(conf).listen(service.address, LISTENER, service.serve))
            assert str(service.address.port) in str(caught.value)
            near = await self.dial(conf, service.address)
            await within(near.close())

    @async_test
    async def test_t_46_an_address_of_another_machine_cannot_be_bound(self) -> None:
        """T-46."""
        self.need("over_tcp")

        async def serve(channel: Channel) -> None:
            raise AssertionError(channel.address)

        with pytest.raises(AddressInUse) as caught:  # 192.0.2.0/24 is for documentation and nobody's
            await within(self.make_transport(make_conf()).listen(Address("192.0.2.1", 0), LISTENER, serve))
        assert "192.0.2.1" in str(caught.value)

    @async_test
    async def test_t_47_a_listener_knows_its_real_port(self) -> None:
        """T-47."""
        conf = make_conf()
        async with self.service(conf) as one, self.service(conf) as two:
            assert one.address.port
            assert one.address != two.address
            assert one.address.host == self.address().host

    @async_test
    async def test_t_48_many_dial_at_once(self) -> None:
        """T-48."""
        conf = make_conf()
        async with self.service(conf) as service:
            channels = await within(
                asyncio.gather(*(self.dial(conf, service.address) for _ in range(40))), 2 * DEADLINE
            )
            for number, channel in enumerate(channels):
                await within(channel.send(Message("number", number)))
            accepted = [await within(service.accepted.get()) for _ in channels]
            numbers = [(await within(channel.receive())).data for channel in accepted]
            assert sorted(numbers) == list(range(40))
            for channel in channels:
                await within(channel.close())
