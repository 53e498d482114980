"""Core's calls over real sockets, where they cost least: answered at once, and begun without anybody who waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from discomputify_core.edge import peers
from discomputify_core.edge.calls import AskedOver, Link, Peer
from discomputify_core.edge.serving import Server
from discomputify_core.errors import BadInput, ChannelClosed, OurBug, Unreachable
from discomputify_core.interfaces.calls import Asked, GiveUp, Operation, Reply
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.message import Hello
from discomputify_tcp.transport import TcpTransport
from discomputify_testkit.confs import make_conf
from discomputify_testkit.running import run, until
from discomputify_testkit.wire import Wire, open_wire

HELLO = Hello("client", "tester")
BIG = 1024 * 1024


@attrs.define
class Here:
    """A service behind a wire that can be cut, a link to it, and what its calls were told."""

    link: Link
    wire: Wire
    done: list[Any] = attrs.field(factory=list)
    told: list[Any] = attrs.field(factory=list)
    peers: list[Peer] = attrs.field(factory=list)
    release: asyncio.Event = attrs.field(factory=asyncio.Event)
    began: asyncio.Event = attrs.field(factory=asyncio.Event)

    def begin(self, operation: str, data: Any = None, body: bytes = b"", timeout: float = 20.0) -> GiveUp | None:
        return self.link.begin(operation, data, body, timeout=timeout, told=self.told.append)

    async def slow(self, asked: Asked) -> Reply:
        self.done.append(asked.data)
        self.began.set()
        await self.release.wait()
        return Reply(len(self.done))

    def now(self, asked: Asked) -> Reply:
        assert isinstance(asked, AskedOver)
        assert asked.over is not None
        self.peers.append(asked.over)
        self.done.append(asked.data)
        if asked.data == "refuse":
            raise BadInput("not like this", key="value")
        if asked.data == "bug":
            raise ZeroDivisionError("secret details")
        if asked.data == "odd":
            return Reply(object())
        if asked.data == "big":
            return Reply(None, bytes(BIG))
        return Reply(asked.data, asked.body)


@asynccontextmanager
async def here() -> AsyncIterator[Here]:
    conf = make_conf()
    made: Here | None = None

    async def slow(asked: Asked) -> Reply:
        assert made is not None
        return await made.slow(asked)

    async def waits(asked: Asked) -> Reply:
        assert made is not None
        return made.now(asked)

    def now(asked: Asked) -> Reply:
        assert made is not None
        return made.now(asked)

    async def never(asked: Asked) -> Reply:
        raise AssertionError("it is answered at once")

    operations = {
        "slow": Operation(slow, changes=True),
        "now": Operation(never, at_once=now),
        "either": Operation(waits, at_once=now),
        "count": Operation(waits, changes=True, at_once=now),
    }
    server = Server(TcpTransport(conf), Hello("service"), operations)
    (address,) = await server.open((Address("127.0.0.1", 0),))
    async with open_wire(address) as wire:
        made = Here(Link(TcpTransport(conf), wire.address, "service", HELLO), wire)
        try:
            yield made
        finally:
            made.release.set()
            await made.link.close()
            await server.close()


def test_what_needs_no_waiting_is_answered_at_once_like_anything_else(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with here() as h:
            reply = await h.link.call("now", {"a": [1]}, b"body")
            assert (reply.data, bytes(reply.body)) == ({"a": [1]}, b"body")
            with pytest.raises(BadInput, match="not like this") as caught:
                await h.link.call("now", "refuse")
            assert caught.value.fields == {"key": "value"}
            with pytest.raises(OurBug, match="ZeroDivisionError") as bug:
                await h.link.call("now", "bug")
            assert "secret" not in str(bug.value)
            with pytest.raises(OurBug, match="cannot be sent"):
                await h.link.call("now", "odd")
            assert len((await h.link.call("now", "big")).body) == BIG
            replies = await asyncio.gather(*(h.link.call("now", number) for number in range(500)))
            assert [reply.data for reply in replies] == list(range(500))

    run(main())
    assert "secret details" in caplog.text


def test_what_changes_something_is_remembered_and_never_answered_past_that() -> None:
    async def main() -> None:
        async with here() as h:
            assert (await h.link.call("count", 5)).data == 5
            assert h.done == [5]

    run(main())


def test_answers_that_the_peer_does_not_read_hold_up_its_next_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "MAX_HELD", 8 * BIG)

    async def main() -> None:
        async with here() as h:
            await h.link.call("now")
            h.wire.back.stall()
            asking = [asyncio.ensure_future(h.link.call("either", "big")) for _ in range(60)]
            await until(lambda: any(not peer._room.is_set() for peer in h.peers))
            assert len(h.done) < 40
            h.wire.back.flow()
            assert {len(reply.body) for reply in await asyncio.gather(*asking)} == {BIG}

    run(main())


def test_a_call_that_is_begun_is_told_its_answer_or_its_error() -> None:
    async def main() -> None:
        async with here() as h:
            assert h.begin("now", 1) is None, "there is no connection yet"
            await h.link.connect(10.0)
            assert h.begin("now", 1, b"body") is not None
            assert h.told == [], "not before it has returned"
            await until(lambda: h.told)
            assert (h.told[0].data, bytes(h.told[0].body)) == (1, b"body")
            h.begin("now", "refuse")
            await until(lambda: len(h.told) == 2)
            assert isinstance(h.told[1], BadInput)
            assert h.link.ids.settled == h.link.ids.take().number, "nothing is left open"
            assert h.begin("now", object()) is None, "who asks and waits is told why"
            assert h.begin("now", None, bytes(BIG)) is None

    run(main())


def test_a_call_that_is_begun_has_a_deadline() -> None:
    async def main() -> None:
        async with here() as h:
            await h.link.connect(10.0)
            h.begin("slow", timeout=0.1)
            await until(lambda: h.told)
            assert isinstance(h.told[0], Unreachable)
            assert "did not answer 'slow'" in str(h.told[0])

    run(main())


def test_a_call_that_is_begun_goes_on_over_the_next_connection_and_is_done_once() -> None:
    async def main() -> None:
        async with here() as h:
            await h.link.connect(10.0)
            h.begin("slow", "x")
            await asyncio.wait_for(h.began.wait(), 10.0)
            h.wire.cut()
            await until(lambda: h.link.peer is None)
            h.release.set()
            await until(lambda: h.told)
            assert h.told[0] == Reply(1)
            assert h.done == ["x"]
            assert not h.link.going

    run(main())


def test_nobody_is_told_of_what_was_given_up() -> None:
    async def main() -> None:
        async with here() as h:
            await h.link.connect(10.0)
            give_up = h.begin("slow", 1)
            assert give_up is not None
            give_up()
            give_up()
            again = h.begin("slow", 2)
            assert again is not None
            await until(lambda: h.done == [1, 2])
            h.wire.open_to_all = False
            h.wire.cut()
            await until(lambda: h.link.going)
            again()
            h.wire.open_to_all = True
            h.release.set()
            await until(lambda: not h.link.going)
            assert (await h.link.call("now", 3)).data == 3
            assert h.told == []

    run(main())


def test_closing_tells_those_whose_calls_were_begun() -> None:
    async def main() -> None:
        async with here() as h:
            await h.link.connect(10.0)
            h.begin("slow", 1)
            await asyncio.wait_for(h.began.wait(), 10.0)
            await h.link.close()
            assert [type(each) for each in h.told] == [ChannelClosed]
            assert h.begin("now", 1) is None

    run(main())
