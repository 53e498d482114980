"""The loopback caller goes wrong as a real one does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from discomputify_core.errors import BlobMissing, ChannelClosed, OurBug, PeerBroke, Unreachable
from discomputify_core.interfaces.calls import Asked, Operation, Reply
from discomputify_core.model.message import MAX_BODY, Hello
from discomputify_testkit.loopback import Fault, LoopbackCaller, UnreachableCaller
from discomputify_testkit.running import async_test


class Service:
    """Counts what is done."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.operations = {
            "read": Operation(self.echo),
            "write": Operation(self.echo, changes=True),
            "refuse": Operation(self.refuse),
            "hang": Operation(self.hang),
            "path": Operation(self.path),
        }

    async def echo(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        return Reply((asked.data, len(self.asked)), bytes(asked.body)[::-1])

    async def refuse(self, asked: Asked) -> Reply:
        raise BlobMissing("not here", digests=["blake3:00"])

    async def hang(self, asked: Asked) -> Reply:
        await asyncio.Event().wait()
        return Reply()

    async def path(self, asked: Asked) -> Reply:
        return Reply(Path("x"))


@async_test
async def test_what_travels_is_plain_and_nothing_is_shared() -> None:
    service = Service()
    caller = LoopbackCaller(service.operations, Hello("client", "me"), address="here")
    data = {"a": (1, 2), "b": b"x"}
    reply = await caller.call("read", data, bytearray(b"body"))
    assert reply.data == [{"a": [1, 2], "b": b"x"}, 1]
    assert bytes(reply.body) == b"ydob"
    assert service.asked[0].peer.name == "me"
    assert service.asked[0].address == "here"
    assert service.asked[0].data is not data
    assert (caller.calls["read"], caller.body_bytes_out, caller.body_bytes_in) == (1, 4, 4)


@pytest.mark.parametrize(
    ("fault", "reads", "writes"),
    [
        (Fault.NONE, 1, 1),
        (Fault.REQUEST_LOST, 1, 1),
        (Fault.ANSWER_LOST, 2, 1),
        (Fault.REPEATED, 2, 1),
    ],
)
@async_test
async def test_a_change_that_arrives_twice_is_done_once(fault: Fault, reads: int, writes: int) -> None:
    for operation, times in (("read", reads), ("write", writes)):
        service = Service()
        caller = LoopbackCaller(service.operations, faults=lambda *_: fault)
        reply = await caller.call(operation, "x")
        assert len(service.asked) == times
        assert reply.data == ["x", times if fault is Fault.ANSWER_LOST else 1]


@async_test
async def test_a_cut_is_unreachable_before_or_after_the_deed() -> None:
    faults = {1: Fault.CUT_BEFORE, 2: Fault.CUT_AFTER}
    service = Service()
    caller = LoopbackCaller(service.operations, faults=lambda _, number: faults.get(number, Fault.NONE))
    for done in (0, 1):
        with pytest.raises(Unreachable):
            await caller.call("write")
        assert len(service.asked) == done
    assert (await caller.call("write")).data == [None, 2]


@async_test
async def test_errors_and_misuse_arrive_as_over_a_network() -> None:
    service = Service()
    caller = LoopbackCaller(service.operations)
    with pytest.raises(BlobMissing) as caught:
        await caller.call("refuse")
    assert caught.value.fields == {"digests": ["blake3:00"]}
    with pytest.raises(PeerBroke):
        await caller.call("no such thing")
    for data, body in (({1, 2}, b""), (None, bytes(MAX_BODY + 1))):
        with pytest.raises(OurBug):
            await caller.call("read", data, body)
    with pytest.raises(OurBug):
        await caller.call("path")
    with pytest.raises(Unreachable):
        await caller.call("hang", timeout=0.01)
    with pytest.raises(Unreachable):
        await UnreachableCaller().call("read")


@async_test
async def test_closing_ends_the_calls_under_way() -> None:
    caller = LoopbackCaller(Service().operations)
    waiting = asyncio.get_running_loop().create_task(caller.call("hang"))
    await caller.call("read")
    await caller.close()
    with pytest.raises(ChannelClosed):
        await waiting
    with pytest.raises(ChannelClosed):
        await caller.call("read")
