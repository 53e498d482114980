"""Calls: deadlines, reconnects, requests done once, nothing left behind. Over the in-memory transport."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from discomputify_core.edge import calls, peers
from discomputify_core.edge.calls import Link, Peer
from discomputify_core.edge.deadline import within
from discomputify_core.edge.serving import Server
from discomputify_core.errors import (
    AddressInUse,
    BadInput,
    ChannelClosed,
    NameTaken,
    OurBug,
    PeerBroke,
    Refused,
    Unreachable,
)
from discomputify_core.interfaces.calls import Asked, Operation, Reply
from discomputify_core.interfaces.transport import Address, Channel
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import ANSWER, Hello, Message
from discomputify_testkit.confs import fresh_key, make_conf
from discomputify_testkit.fakes.memory_transport import MemoryTransport
from discomputify_testkit.fakes.options import MemoryOptions
from discomputify_testkit.running import run, until

HELLO = Hello("client", "tester")
SERVICE = Hello("service")
PORT = Address("here", 1)


class World:
    """A service with a few operations, and a network of its own."""

    def __init__(self) -> None:
        self.conf: Conf = make_conf()
        self.space = MemoryOptions(space=fresh_key())
        self.transport = MemoryTransport(self.conf, self.space)
        self.done: list[Any] = []
        self.peers: list[Peer] = []
        self.closed: list[Peer] = []
        self.release = asyncio.Event()
        self.began = asyncio.Event()
        self.server: Server | None = None
        self.links: list[Link] = []

    async def serve(self) -> None:
        self.server = Server(
            self.transport,
            SERVICE,
            {
                "echo": Operation(self._echo),
                "count": Operation(self._count, changes=True),
                "slow": Operation(self._slow, changes=True),
                "wait": Operation(self._wait),
                "refuse": Operation(self._refuse),
                "bug": Operation(self._bug),
                "huge": Operation(self._huge),
            },
            on_close=self.closed.append,
        )
        await self.server.open((PORT,))

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.close()
            self.server = None

    def link(self, **more: Any) -> Link:
        link = Link(MemoryTransport(self.conf, self.space), PORT, "service", HELLO, **more)
        self.links.append(link)
        return link

    async def cut(self) -> None:
        """Break every connection at the service's end."""
        await asyncio.gather(*(peer.close() for peer in self.peers))

    def _note(self, asked: Asked) -> None:
        assert isinstance(asked, calls.AskedOver)
        assert asked.over is not None
        if asked.over not in self.peers:
            self.peers.append(asked.over)

    async def _echo(self, asked: Asked) -> Reply:
        self._note(asked)
        return Reply(asked.data, asked.body)

    async def _count(self, asked: Asked) -> Reply:
        self._note(asked)
        self.done.append(asked.data)
        return Reply(len(self.done))

    async def _slow(self, asked: Asked) -> Reply:
        self._note(asked)
        self.began.set()
        await self.release.wait()
        self.done.append(asked.data)
        return Reply(len(self.done))

    async def _wait(self, asked: Asked) -> Reply:
        self._note(asked)
        self.began.set()
        await self.release.wait()
        return Reply("released")

    async def _refuse(self, asked: Asked) -> Reply:
        raise BadInput("not like this", key="value")

    async def _bug(self, asked: Asked) -> Reply:
        raise ZeroDivisionError("secret details")

    async def _huge(self, asked: Asked) -> Reply:
        return Reply(object())


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    made = World()
    await made.serve()
    try:
        yield made
    finally:
        made.release.set()
        for link in made.links:
            await link.close()
        await made.stop()


def test_answers_and_errors_come_back_typed() -> None:
    async def main() -> None:
        async with world() as here:
            link = here.link()
            reply = await link.call("echo", {"a": [1, 2]}, b"body")
            assert (reply.data, bytes(reply.body)) == ({"a": [1, 2]}, b"body")
            with pytest.raises(BadInput, match="not like this") as caught:
                await link.call("refuse")
            assert caught.value.fields == {"key": "value"}
            with pytest.raises(Refused, match="does not know the operation 'nothing'"):
                await link.call("nothing")

    run(main())


def test_a_bug_in_a_handler_is_told_without_its_details(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with world() as here:
            with pytest.raises(OurBug, match="ZeroDivisionError") as caught:
                await here.link().call("bug")
            assert "secret" not in str(caught.value)

    run(main())
    assert "secret details" in caplog.text


def test_an_answer_that_cannot_be_sent_is_told_and_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with world() as here:
            link = here.link()
            with pytest.raises(OurBug, match="cannot travel"):
                await link.call("huge", timeout=5)
            assert (await link.call("echo", 1)).data == 1

    run(main())
    assert "the answer to 'huge' cannot be sent" in caplog.text


def test_a_request_that_cannot_be_sent_fails_at_once_and_alone() -> None:
    async def main() -> None:
        async with world() as here:
            link = here.link()
            with pytest.raises(OurBug):
                await link.call("echo", object())
            assert (await link.call("echo", 1)).data == 1

    run(main())


def test_many_calls_at_once_over_one_connection() -> None:
    async def main() -> None:
        async with world() as here:
            link = here.link()
            replies = await asyncio.gather(*(link.call("echo", number) for number in range(2000)))
            assert [reply.data for reply in replies] == list(range(2000))
            assert len(here.peers) == 1

    run(main())


def test_more_requests_than_are_worked_on_at_once_wait_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "MAX_HELD", 4 * peers.EACH)

    async def main() -> None:
        async with world() as here:
            link = here.link()
            asked = [asyncio.ensure_future(link.call("wait")) for _ in range(20)]
            await here.began.wait()
            here.release.set()
            assert {(await each).data for each in asked} == {"released"}

    run(main())


def test_a_call_has_a_deadline() -> None:
    async def main() -> None:
        async with world() as here:
            with pytest.raises(Unreachable, match="did not answer 'wait' within"):
                await here.link().call("wait", timeout=0.05)

    run(main())


def test_nobody_there_is_told_within_the_deadline() -> None:
    async def main() -> None:
        here = World()
        with pytest.raises(Unreachable, match="here:1"):
            await here.link().call("echo", timeout=0.2)

    run(main())


def test_a_waiting_call_is_not_held_up_by_anothers_longer_deadline() -> None:
    async def main() -> None:
        here = World()
        link = here.link()
        patient = asyncio.ensure_future(link.call("echo", 1, timeout=20))
        await asyncio.sleep(0)
        with pytest.raises(Unreachable):
            await link.call("echo", 2, timeout=0.1)
        await here.serve()
        assert (await patient).data == 1
        await link.close()
        await here.stop()

    run(main())


def test_a_call_survives_a_reconnect_and_is_done_once() -> None:
    async def main() -> None:
        async with world() as here:
            link = here.link()
            asked = asyncio.ensure_future(link.call("slow", "x", timeout=20))
            await here.began.wait()
            await here.cut()
            await until(lambda: here.closed)
            here.release.set()
            assert (await asked).data == 1
            assert here.done == ["x"]

    run(main())


def test_a_request_asked_again_while_it_is_worked_on_waits_for_the_same_answer() -> None:
    async def main() -> None:
        async with world() as here:
            link = here.link()
            asked = asyncio.ensure_future(link.call("slow", "x", timeout=20))
            await here.began.wait()
            await here.cut()
            await until(lambda: here.closed and link.peer is not None)
            await link.call("echo")  # the new connection is in use, and the first call is asked again over it
            here.release.set()
            assert (await asked).data == 1
            assert here.done == ["x"]

    run(main())


def test_a_service_that_was_restarted_is_asked_again() -> None:
    async def main() -> None:
        async with world() as here:
            link = here.link()
            assert (await link.call("count", 1)).data == 1
            await here.stop()
            asked = asyncio.ensure_future(link.call("count", 2, timeout=20))
            await asyncio.sleep(0)
            await here.serve()
            assert (await asked).data == 2

    run(main())


def test_a_service_that_drops_connections_is_not_hammered() -> None:
    async def main() -> None:
        here = World()
        accepted = 0

        async def drop(channel: Channel) -> None:
            nonlocal accepted
            accepted += 1
            await channel.close("no")

        listener = await here.transport.listen(PORT, SERVICE, drop)
        link = here.link()
        with pytest.raises(Unreachable, match="broke"):
            await link.call("echo", timeout=0.6)
        assert 1 < accepted < 20
        await link.close()
        await listener.close()

    run(main())


def test_closing_a_link_ends_calls_under_way() -> None:
    async def main() -> None:
        async with world() as here:
            link = here.link()
            asked = asyncio.ensure_future(link.call("wait"))
            await here.began.wait()
            await link.close()
            with pytest.raises(ChannelClosed):
                await asked
            with pytest.raises(ChannelClosed):
                await link.call("echo")

    run(main())


def test_closing_a_link_ends_its_search_for_a_service() -> None:
    async def main() -> None:
        here = World()
        link = here.link()
        asked = asyncio.ensure_future(link.call("echo", timeout=60))
        await asyncio.sleep(0.1)
        await link.close()
        with pytest.raises(ChannelClosed):
            await within(2, asked)

    run(main())


def test_a_link_closed_while_it_greets_leaves_no_connection() -> None:
    async def main() -> None:
        async with world() as here:
            greeting, go_on = asyncio.Event(), asyncio.Event()

            async def greet(peer: Peer) -> None:
                await peer.call("echo")
                greeting.set()
                await go_on.wait()

            link = here.link(greet=greet)
            asked = asyncio.ensure_future(link.call("echo"))
            await greeting.wait()
            closing = asyncio.ensure_future(link.close())
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(ChannelClosed):
                await asked
            await closing
            await until(lambda: here.closed)

    run(main())


def test_a_cancelled_call_while_greeting_leaves_no_connection() -> None:
    async def main() -> None:
        async with world() as here:
            greeting = asyncio.Event()

            async def greet(peer: Peer) -> None:
                await peer.call("echo")
                greeting.set()
                await asyncio.get_running_loop().create_future()

            link = here.link(greet=greet)
            asked = asyncio.ensure_future(link.call("echo"))
            await greeting.wait()
            asked.cancel()
            await asyncio.wait([asked])
            assert asked.cancelled()
            await until(lambda: here.closed)
            assert link.peer is None

    run(main())


def test_a_refused_greeting_reaches_the_caller_and_the_next_call_greets_again() -> None:
    async def main() -> None:
        async with world() as here:
            greeted: list[Peer] = []

            async def greet(peer: Peer) -> None:
                greeted.append(peer)
                if len(greeted) == 1:
                    raise NameTaken("another has the name")

            link = here.link(greet=greet)
            with pytest.raises(NameTaken):
                await link.call("echo")
            assert (await link.call("echo", 1)).data == 1
            assert len(greeted) == 2

    run(main())


def test_a_cancelled_caller_does_not_disturb_the_others() -> None:
    async def main() -> None:
        async with world() as here:
            link = here.link()
            first = asyncio.ensure_future(link.call("wait"))
            second = asyncio.ensure_future(link.call("wait"))
            await here.began.wait()
            first.cancel()
            await asyncio.wait([first])
            here.release.set()
            assert (await second).data == "released"

    run(main())


def test_both_sides_may_ask() -> None:
    async def main() -> None:
        async with world() as here:

            async def name(asked: Asked) -> Reply:
                return Reply(f"answer to {asked.data}")

            link = here.link(operations={"name": Operation(name)})
            await link.call("echo")
            assert (await here.peers[0].call("name", "you")).data == "answer to you"
            await link.close()
            with pytest.raises(ChannelClosed):
                await here.peers[0].call("name")

    run(main())


def test_pushes_are_handled_in_order_and_their_failures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        seen: list[Any] = []
        last = asyncio.Event()

        async def take(asked: Asked) -> Reply:
            await asyncio.sleep(0.01 if asked.data == 1 else 0)
            seen.append(asked.data)
            if asked.data == 2:
                raise BadInput("two is not liked")
            if asked.data == 3:
                last.set()
            return Reply()

        async with world() as here:
            link = here.link(operations={"take": Operation(take)})
            await link.call("echo")
            for number in (1, 2, 3):
                await here.peers[0].push("take", number)
            await last.wait()
            assert seen == [1, 2, 3]

    run(main())
    assert "two is not liked" in caplog.text


def test_nonsense_for_an_answer_is_the_peers_fault() -> None:
    async def main() -> None:
        here = World()

        async def serve(channel: Channel) -> None:
            while True:
                message = await channel.receive()
                await channel.send(Message("unasked", 1))
                await channel.send(attrs.evolve(message, operation=ANSWER, request=None))
                await channel.send(attrs.evolve(message, operation=ANSWER, data=["neither"]))
                await channel.send(attrs.evolve(message, operation=ANSWER, data={"ok": "a second answer"}))

        listener = await here.transport.listen(PORT, SERVICE, serve)
        link = here.link()
        with pytest.raises(PeerBroke, match="neither a result nor an error"):
            await link.call("echo")
        await link.close()
        await listener.close()

    run(main())


def test_a_server_that_cannot_bind_one_address_binds_none() -> None:
    async def main() -> None:
        async with world() as here:
            other = Address("here", 2)
            second = Server(here.transport, SERVICE, {})
            with pytest.raises(AddressInUse, match="here:1"):
                await second.open((other, PORT))
            await second.open((other,))
            await second.close()

    run(main())


def test_request_ids_say_what_is_settled() -> None:
    ids = calls.RequestIds()
    first, second, third = ids.take(), ids.take(), ids.take()
    assert ids.settled == first.number
    ids.settle(second)
    assert ids.settled == first.number
    ids.settle(first)
    assert ids.settled == third.number
    ids.settle(third)
    assert ids.settled == ids.take().number
