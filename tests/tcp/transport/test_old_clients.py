"""Old clients (CYPHER/1) over real sockets, beside new ones: each request is done once, however often it comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from pathlib import Path
from typing import cast

import pytest

from discomputify_core.errors import OurBug
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.message import Hello, Message
from discomputify_core.model.old_clients import OLD_CLIENT, OldRequest
from discomputify_tcp.cypher1 import Content
from discomputify_tcp.transport import arrival, old_channel, old_clients
from discomputify_tcp.transport.listening import TcpListener
from discomputify_tcp.transport.old_channel import OldChannel
from discomputify_tcp.transport.old_clients import OldClients
from discomputify_testkit.confs import make_conf
from discomputify_testkit.running import async_test, until

from .old_peers import OldHome, new_client_is_served, old_home

MIB = 2**20
#: Bytes of an unfinished token that are worth counting.
HALF = 100_000


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests do not wait for the next full second."""

    async def now() -> int:
        return int(time.time())

    monkeypatch.setattr(old_clients, "_full_second", now)


def shared(home: OldHome) -> OldClients:
    """What the connections of *home* share."""
    assert home.transport._old is not None
    return home.transport._old


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.name == "discomputify.tcp"]
    return [line for line in found if not line.startswith("CYPHER/1 is on")]


# --- requests and answers -----------------------------------------------------------------------


@async_test
async def test_a_request_reaches_the_service_and_its_answer_the_client() -> None:
    async with old_home() as (home, peers):
        peer = await peers()
        assert await peer.ask("a/ü", "DO", {"PROCESS_ID": "1"}) == Content(
            "a/ü", "DO", {"PROCESS_ID": "1"}, {"MINE": 1}
        )
        ((request, asked),) = home.asked
        assert request == OldRequest("a/ü", "DO", {"PROCESS_ID": "1"}, {"MINE": 1})
        assert asked.peer == Hello(OLD_CLIENT, name="127.0.0.1", software="CYPHER/1", version="1")
        assert asked.address.startswith("127.0.0.1:")
        assert await peer.ask("b", "META") == Content("b", "META", "DONE", {"FILESIZE": 5})


@async_test
async def test_what_goes_wrong_is_the_old_protocols_no() -> None:
    async with old_home() as (_, peers):
        peer = await peers()
        assert await peer.ask("a", "FAIL") == Content("a", "FAIL", "NONE", {"ERROR": "That is ün-known."})
        for operation in ("BYTES", "NOTHING"):
            answer = await peer.ask("b", operation)
            assert answer is not None
            assert answer.data == "NONE"
            assert operation in answer.metadata["ERROR"]
        assert (await peer.ask("c")) is not None


@async_test
async def test_two_requests_in_one_packet_and_single_bytes() -> None:
    async with old_home() as (home, peers):
        peer = await peers()
        await peer.send(peer.token("1") + peer.token("2", "READ", 5) + peer.token("3"))
        answers = [await peer.answer() for _ in range(3)]
        assert [answer and answer.path for answer in answers] == ["1", "2", "3"]
        slow = await peers()
        for byte in slow.token("4"):
            await slow.send(bytes([byte]))
        assert (await slow.answer()) is not None
        assert home.done == ["1", "2", "3", "4"]


@async_test
async def test_big_requests_and_answers_while_others_are_served() -> None:
    async with old_home() as (home, peers):
        big, small = await peers(), await peers()
        asking = asyncio.ensure_future(big.ask("big", "WRITE", ["f" * 11 * MIB, 0]))
        while not asking.done():
            assert await small.ask("small", "READ", 10) is not None
            await new_client_is_served(home)
        answer = await asking
        assert answer is not None
        assert answer.data == ["f" * 11 * MIB, 0]
        read = await big.ask("big", "READ", 11 * MIB)
        assert read is not None
        assert read.data == "f" * 11 * MIB


@async_test
async def test_a_service_sends_answers_to_requests_and_nothing_else() -> None:
    async with old_home() as (home, peers):
        peer = await peers()
        await peer.ask()
        over = home.asked[0][1].over
        assert over is not None
        with pytest.raises(OurBug, match="one answer to each"):
            await over.push("news")
        with pytest.raises(OurBug, match="one answer to each"):
            await over.channel.send(Message("answer", {"ok": {}}))
        assert await peer.ask() is not None


# --- repeats ------------------------------------------------------------------------------------


@async_test
async def test_a_repeat_is_answered_from_memory_over_any_connection() -> None:
    async with old_home() as (home, peers):
        peer = await peers()
        token = peer.token("once", "DELETE")
        for _ in range(3):
            await peer.send(token)
            assert await peer.answer() == Content("once", "DELETE", None, {"MINE": 1})
        other = await peers()
        await other.send(token)
        assert await other.answer() == Content("once", "DELETE", None, {"MINE": 1})
        assert home.done == ["once"]


@async_test
async def test_a_repeat_of_what_is_worked_on_waits_for_the_same_answer() -> None:
    async with old_home() as (home, peers):
        first, second = await peers(), await peers()
        token = first.token("once", "SLOW", 7)
        await first.send(token)
        await home.begun.wait()
        await second.send(token)
        await second.send(second.token("next"))
        home.go_on.set()
        for peer in (first, second):
            answer = await peer.answer()
            assert answer is not None
            assert answer.data == 7
        assert (await second.answer()) is not None
        assert home.done == ["once", "next"]


@async_test
async def test_what_has_begun_is_finished_and_remembered_when_the_connection_dies() -> None:
    async with old_home() as (home, peers):
        first = await peers()
        token = first.token("once", "SLOW", 7)
        await first.send(token)
        await home.begun.wait()
        first.writer.transport.abort()
        joined, later = await peers(), await peers()
        await joined.send(token)
        home.go_on.set()
        for peer in (joined, later):
            if peer is later:
                await later.send(token)
            answer = await peer.answer()
            assert answer is not None
            assert answer.data == 7
        assert home.done == ["once"]


@async_test
async def test_what_changes_nothing_is_done_again() -> None:
    async with old_home() as (home, peers):
        peer = await peers()
        token = peer.token("again", "READ", 3)
        for _ in range(2):
            await peer.send(token)
            assert (await peer.answer()) is not None
        assert home.done == ["again", "again"]


@async_test
async def test_answers_that_come_back_as_requests_are_not_done() -> None:
    async with old_home() as (home, peers):
        peer = await peers()
        recorded = []
        for token in (peer.token("a", "DELETE"), peer.token("b", "DELETE", at=time.time() - 700)):
            await peer.send(token)
            recorded.append(await peer.read())
        for token in recorded:
            thief = await peers()
            await thief.send(token)
            assert await thief.closed()
        assert home.done == ["a"]


@async_test
async def test_old_future_and_earlier_tokens_get_a_no_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    async with old_home() as (home, peers):
        now = time.time()
        for at, reason in (
            (now - 700, "600 s ago"),
            (now + 90, "60 s in the future"),
            (now - 30, "before this service"),
        ):
            peer = await peers()
            await peer.send(peer.token("x", "WRITE", at=at))
            answer = await peer.answer()
            assert answer is not None
            assert (answer.path, answer.data) == ("x", "NONE")
            assert reason in answer.metadata["ERROR"]
            # Nothing was proved, but the client may go on.
            assert (await peer.ask("y")) is not None
        assert home.done == ["y", "y", "y"]
    (line,) = lines(caplog)
    assert "refused 'WRITE'" in line


# --- bad peers ----------------------------------------------------------------------------------


@async_test
async def test_what_cannot_be_opened_is_closed_on_with_one_line_and_nobody_else_notices(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with old_home() as (home, peers):
        well = await peers()
        await well.ask("1")
        stranger = await peers(make_conf())
        token = well.token("x")
        damaged = token[:60] + bytes([token[60] ^ 1]) + token[61:]
        await stranger.send(stranger.token("x"))
        assert await stranger.closed()
        for data in (damaged, token[:-9] + b"\0", b"g\0", b"gets\r\n", b"gAAAA\xff"):
            peer = await peers()
            await peer.send(data)
            assert await peer.closed()
        assert (await well.ask("2")) is not None
        await new_client_is_served(home)
        # A client that proved its key loses its own connection alone.
        await well.send(b"nonsense\0")
        assert await well.closed()
        assert home.done == ["1", "2"]
    (line,) = lines(caplog)
    assert "127.0.0.1:" in line
    assert "keys differ" in line
    assert str(home.conf.encryption_key) not in caplog.text


@async_test
async def test_a_gigabyte_without_an_end_is_closed_on(caplog: pytest.LogCaptureFixture) -> None:
    async with old_home() as (home, peers):
        peer, sent = await peers(), 0
        piece = b"g" + b"A" * (MIB - 1)
        try:
            while sent < 1024:
                await asyncio.wait_for(peer.send(piece.replace(b"g", b"A") if sent else piece), 15.0)
                sent += 1
        except ConnectionError:
            pass
        assert sent < 100
        assert await peer.closed()
        await new_client_is_served(home)
    (line,) = lines(caplog)
    assert "longer than 16 MiB" in line


@async_test
async def test_unfinished_first_requests_take_eight_places_at_most(caplog: pytest.LogCaptureFixture) -> None:
    async with old_home() as (home, peers):
        whole = (await peers()).token("late", "WRITE", "f" * MIB)
        halves = []
        for _ in range(8):
            halves.append(await peers())
            await halves[-1].send(whole[:HALF])
            await until(lambda: len(shared(home)._holding) == len(halves))
        # Those who are known take none.
        assert (await (await peers()).ask("fine")) is not None
        ninth = await peers()
        await ninth.send(whole[:HALF])
        assert await halves[0].closed()
        await ninth.send(whole[HALF:])
        assert (await ninth.answer()) is not None
        await halves[1].send(whole[HALF:])
        assert (await halves[1].answer()) is not None
        await until(lambda: len(shared(home)._holding) == 6)
    assert "8 others have not sent their first request to its end" in lines(caplog)[0]


@async_test
async def test_beginnings_of_small_first_requests_take_none_of_these_places() -> None:
    async with old_home() as (home, peers):
        whole = (await peers()).token("small", "READ")
        halves = [await peers() for _ in range(12)]
        for half in halves:
            await half.send(whole[:50])
        for half in halves:
            await half.send(whole[50:])
            assert (await half.answer()) is not None
        assert len(home.done) == 12


@async_test
async def test_a_recorded_request_that_changes_nothing_proves_nothing() -> None:
    async with old_home() as (home, peers):
        honest = await peers()
        fresh, earlier = honest.token("x", "READ"), honest.token("y", "READ", at=time.time() - 60)
        await honest.send(fresh)
        assert (await honest.answer()) is not None
        assert not shared(home)._strangers
        made = []
        for recorded in [fresh, earlier] * 5:
            made.append(await peers())
            await made[-1].send(recorded)
            assert (await made[-1].answer()) is not None  # done again, as for a client that lost its connection
            await made[-1].send(b"gAAAAA" + b"A" * HALF)
        assert len(shared(home)._strangers) >= 8
        assert await made[0].closed()
        await until(lambda: len(shared(home)._holding) == 8)


@async_test
async def test_what_came_of_a_token_is_dropped_with_its_connection() -> None:
    async with old_home() as (home, peers):
        peer = await peers()
        await peer.send(peer.token("x", "DO", "f" * MIB)[:HALF])
        await until(lambda: shared(home)._holding)
        (channel,) = cast(set[OldChannel], set(shared(home)._holding))
        peer.writer.close()
        await asyncio.wait_for(channel.stream.gone.wait(), 5.0)
        assert channel._codec.held == 0


@async_test
async def test_who_only_repeats_what_was_recorded_takes_128_places_at_most() -> None:
    async with old_home() as (home, peers):
        recorded = (await peers()).token("x", "WRITE", at=time.time() - 700)
        made = []
        for _ in range(140):
            made.append(await peers())
            await made[-1].send(recorded)
            assert (await made[-1].answer()) is not None
        assert len(shared(home)._strangers) == 128
        assert await made[0].closed()
        assert (await made[-1].ask("y")) is not None
        assert len(shared(home)._strangers) == 127
        for peer in made:
            peer.writer.close()
        await until(lambda: not shared(home)._strangers)
        assert home.done == ["y"]


@async_test
async def test_a_connection_that_ends_within_a_token_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async with old_home() as (home, peers):
        peer = await peers()
        await peer.send(peer.token("x", "DO", "f" * MIB)[:HALF])
        await until(lambda: shared(home)._holding)
        peer.writer.close()
        await until(lambda: lines(caplog))
    assert "closed the connection within a token" in lines(caplog)[0]


# --- silence, and the end -----------------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "WITHIN", 0.05)


def test_old_clients_connect_long_before_their_first_request(hasty: None, caplog: pytest.LogCaptureFixture) -> None:
    @async_test
    async def main() -> None:
        async with old_home(make_conf(timeout=1)) as (_, peers):
            waiting, half = await peers(), await peers()
            await half.send(b"CYP\x02")
            assert await half.closed()  # who speaks CYPHER/2 has no more time than ever
            assert (await waiting.ask()) is not None
            never = await peers()
            assert await never.closed()

    main()
    assert "did not authenticate itself within 0.05 s" in lines(caplog)[0]
    assert "said nothing within 1 s" in lines(caplog)[1]


@async_test
async def test_silence_ends_a_connection_quietly_between_requests_and_not_within_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with old_home(make_conf(timeout=1)) as (_, peers):
        resting, half = await peers(), await peers()
        assert (await resting.ask()) is not None
        await half.send(half.token()[:30])
        assert await resting.closed()
        assert await half.closed()
    (line,) = lines(caplog)
    assert "it was silent within a token for 1 s" in line


def test_a_token_whose_end_was_lost_does_not_wait_for_the_timeout(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(old_channel, "STUCK", 0.2)

    @async_test
    async def main() -> None:
        async with old_home(make_conf(timeout=60)) as (home, peers):
            resting, lossy = await peers(), await peers()
            assert await resting.ask() is not None
            token = lossy.token("big", "WRITE", "f" * MIB)
            await lossy.send(token[:-1])
            assert await lossy.closed()
            # The client sends it again, and who only rests is not closed on.
            again = await peers()
            await again.send(token)
            assert await again.answer() is not None
            assert await resting.ask() is not None
            assert home.done.count("big") == 1

    main()
    (line,) = lines(caplog)
    assert "it was silent within a token for 0.2 s. Old clients lose bytes of big requests" in line


def _tcp_rmem() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/tcp_rmem").read_text(encoding="ascii").split()[2])
    except OSError:
        return 0


@pytest.mark.skipif(_tcp_rmem() < 4 * MIB, reason="this system has no big buffers")
@pytest.mark.parametrize("on", [True, False])
@async_test
async def test_there_is_room_for_what_old_clients_send_at_once_before_it_is_read(on: bool) -> None:
    async with old_home(make_conf(recv_buffer=64 * 1024), on=on) as (home, _):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect((home.address.host, home.address.port))
            (listener,) = home.server._listeners
            assert isinstance(listener, TcpListener)
            await until(lambda: listener._arrivals)
            taken = 0
            with contextlib.suppress(BlockingIOError):
                while taken < 64 * MIB:  # the event loop, and so the service, does nothing meanwhile
                    taken += client.send(b"g" * 256 * 1024)
            assert (taken > MIB) is on


def test_a_request_that_nobody_answers_does_not_hold_its_connection_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(old_channel, "ANSWERED_WITHIN", 0.2)

    @async_test
    async def main() -> None:
        async with old_home() as (_, peers):
            peer = await peers()
            await peer.send(peer.token("x", "SLOW"))
            assert await peer.closed()

    main()
    assert "the service did not answer for 0.2 s" in lines(caplog)[0]


@async_test
async def test_who_does_not_take_its_answer_is_closed_on() -> None:
    async with old_home(make_conf(timeout=1, transmission_buffer=4096)) as (home, peers):
        peer = await peers()
        cast(asyncio.Transport, peer.writer.transport).pause_reading()
        for _ in range(3):
            await peer.send(peer.token("x", "READ", 12 * MIB))
        await until(lambda: home.asked)
        over = home.asked[0][1].over
        assert over is not None
        channel = cast(OldChannel, over.channel)
        await asyncio.wait_for(channel.stream.gone.wait(), 15.0)
        assert "did not take its answer for 1 s" in channel._reason
        peer.writer.transport.abort()


@async_test
async def test_a_service_that_stops_answers_what_has_begun_and_closes() -> None:
    async with old_home() as (home, peers):
        working, resting, half = await peers(), await peers(), await peers()
        assert (await resting.ask("rest")) is not None
        await half.send(half.token()[:30])
        await working.send(working.token("begun", "SLOW", 7) + working.token("more"))
        await home.begun.wait()
        closing = asyncio.ensure_future(home.server.close())
        assert await resting.closed()
        assert await half.closed()
        home.go_on.set()
        answer = await working.answer()
        assert answer is not None
        assert answer.data == 7
        await closing
        assert await working.closed()
        assert home.done == ["rest", "begun"]


# --- on and off ---------------------------------------------------------------------------------


@async_test
async def test_off_the_connection_is_closed_and_one_line_names_the_key(caplog: pytest.LogCaptureFixture) -> None:
    async with old_home(on=False) as (home, peers):
        for _ in range(5):
            peer = await peers()
            await peer.send(peer.token())
            assert await peer.closed()
        await new_client_is_served(home)
        assert home.done == []
    (line,) = lines(caplog)
    assert line.startswith("An old client connected from 127.0.0.1:")
    assert '"tcp": {"cypher1": true}' in line


@async_test
async def test_turning_it_on_says_its_weaknesses_once(caplog: pytest.LogCaptureFixture) -> None:
    async def serve(channel: object) -> None:
        pass

    home = OldHome(make_conf())
    listeners = await asyncio.gather(
        *(home.transport.listen(Address("127.0.0.1", 0), Hello("x"), serve) for _ in range(2))
    )
    for listener in listeners:
        await listener.close()
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "no forward secrecy" in line
    assert '"tcp": {"cypher1": true}' in line


@async_test
async def test_old_and_new_clients_use_the_same_port_at_the_same_time() -> None:
    async with old_home() as (home, peers):

        async def old(name: str) -> None:
            peer = await peers()
            for number in range(30):
                assert (await peer.ask(f"{name}-{number}", "WRITE", "f" * number * 1000)) is not None

        await asyncio.gather(*(old(name) for name in "abc"), *(new_client_is_served(home) for _ in range(10)))
        assert len(set(home.done)) == len(home.done) == 90
