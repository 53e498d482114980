"""The codec as a whole: what goes in comes out however it is split; no peer makes it raise anything but PeerBroke."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discomputify_core.errors import OurBug, PeerBroke
from discomputify_core.model.message import MAX_BODY, Hello, Message, RequestId
from discomputify_tcp.cypher2 import (
    MAX_UNCONFIRMED,
    PREAMBLE,
    Confirmed,
    Connection,
    Event,
    Greeted,
    Ping,
    Pong,
    Received,
)
from discomputify_tcp.cypher2.heads import pack_own
from discomputify_tcp.cypher2.limits import MAX_HANDSHAKE, MAX_HEAD, MAX_PLAIN

PSK = bytes(range(32))
CLIENT, SERVER = Hello("client", "me", version="2.0"), Hello("master", "you", version="2.0", features={"x": [1]})


def fresh(*, client: bool) -> Connection:
    return Connection(client=client, psk=PSK, ephemeral=os.urandom(32), hello=CLIENT if client else SERVER)


def opened() -> tuple[Connection, Connection]:
    """A client and a server that may send messages."""
    client, server = fresh(client=True), fresh(client=False)
    server.receive_data(client.start())
    assert server.next_event() == Greeted(CLIENT)
    client.receive_data(server.answer())
    assert client.next_event() == Greeted(SERVER)
    server.receive_data(client.confirm())
    assert server.next_event() == Confirmed()
    return client, server


def flushed(end: Connection) -> bytes:
    found = b""
    while buffers := end.data_to_send():
        found += b"".join(buffers)
    return found


def events(end: Connection) -> list[Event]:
    return list(iter(end.next_event, None))


def outcome(end: Connection) -> str | None:
    """Which part of the protocol the peer broke, if any; greeted is what a peer without the key never gets."""
    try:
        found = events(end)
    except PeerBroke as error:
        return str(error.fields["clause"]).partition(".")[0]
    assert not any(isinstance(event, Greeted) for event in found)
    return None


def messages(found: Iterable[Event]) -> list[Message]:
    return [event.message for event in found if isinstance(event, Received)]


def sealed(end: Connection, plain: bytes) -> bytes:
    """*plain* as a frame of *end*, which is no message: what a peer with the key could send."""
    assert end._outbox is not None
    return b"".join(end._outbox._sealer.seal(plain))


plain_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
some_messages = st.builds(
    Message,
    operation=st.text(min_size=1, max_size=20).filter(lambda text: not text.startswith("cypher2.")),
    data=plain_data,
    body=st.binary(max_size=300) | st.integers(0, 200_000).map(lambda size: b"\x5a" * size),
    request=st.none() | st.builds(RequestId, st.binary(min_size=16, max_size=16), st.integers(0, 2**64 - 1)),
    settled=st.integers(0, 2**64 - 1),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(some_messages, max_size=6), st.data())
def test_messages_come_out_as_they_went_in_however_the_bytes_are_split(
    sent: list[Message], data: st.DataObject
) -> None:
    client, server = opened()
    wire = b""
    for message in sent:
        client.send(message)
        if data.draw(st.booleans()):
            wire += flushed(client)
    wire += flushed(client)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    got: list[Event] = []
    for begin, end in itertools.pairwise([0, *cuts, len(wire)]):
        server.receive_data(wire[begin:end])
        if data.draw(st.booleans()):
            got += events(server)
    got += events(server)
    assert messages(got) == sent
    assert server.at_rest
    assert client.pending == client.borrowed == 0


def test_a_connection_works_byte_by_byte() -> None:
    client, server = fresh(client=True), fresh(client=False)
    seen: list[Event] = []

    def feed(end: Connection, data: bytes) -> None:
        for byte in data:
            end.receive_data(bytes((byte,)))
            seen.extend(events(end))

    feed(server, client.start())
    feed(client, server.answer())
    feed(server, client.confirm())
    client.send(Message("a", 1, b"xy"))
    feed(server, flushed(client))
    assert [type(event) for event in seen] == [Greeted, Greeted, Confirmed, Received]


def test_reading_into_the_codecs_own_buffer_is_the_same() -> None:
    client, server = opened()
    sent = [Message("m", n, os.urandom(n * 70_001)) for n in (0, 1, 2, 20, 0, 40)]
    for message in sent:
        client.send(message)
    wire, at, got = flushed(client), 0, []
    while at < len(wire):
        space = server.get_buffer()
        size = min(len(space), len(wire) - at, 250_000)
        space[:size] = wire[at : at + size]
        server.buffer_updated(size)
        at += size
        got += events(server)
    assert messages(got) == sent


def test_the_biggest_body_and_every_kind_of_it() -> None:
    client, server = opened()
    big = os.urandom(MAX_BODY)
    for body in (big, bytearray(big[:100_000]), memoryview(big)[1:200_000], memoryview(bytearray(big[:9]))):
        client.send(Message("b", body=body))
        server.receive_data(flushed(client))
        (message,) = messages(events(server))
        assert message.body == body


def test_a_body_may_change_once_it_is_owned() -> None:
    client, server = opened()
    body = bytearray(b"1" * 3_000_000)
    client.send(Message("b", body=body))
    first = b"".join(client.data_to_send())
    assert client.borrowed == 1
    client.own()
    body[:] = b"2" * len(body)
    server.receive_data(first + flushed(client))
    assert messages(events(server))[0].body == b"1" * 3_000_000


def test_small_messages_share_a_frame_and_big_bodies_are_not_copied_into_it() -> None:
    client, _ = opened()
    for number in range(100):
        client.send(Message("n", number))
    (frame,) = client.data_to_send()
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert not client.data_to_send()
    client.send(Message("big", body=bytes(MAX_PLAIN)))
    heads, body = client.data_to_send()
    assert len(body) == MAX_PLAIN + 16
    assert len(heads) < 200


def test_a_client_may_send_before_its_confirmation_was_read() -> None:
    client, server = fresh(client=True), fresh(client=False)
    server.receive_data(client.start())
    server.next_event()
    client.receive_data(server.answer())
    client.next_event()
    confirmation = client.confirm()
    client.send(Message("at once", body=bytes(100_000)))
    server.receive_data(confirmation + flushed(client))
    assert [type(event) for event in events(server)] == [Confirmed, Received]


def test_pings_and_pongs_are_events_and_unknown_ones_are_ignored() -> None:
    client, server = opened()
    client.ping()
    client.pong()
    server.receive_data(flushed(client) + sealed(client, pack_own("cypher2.later")))
    assert events(server) == [Ping(), Pong()]


# --- bad peers ----------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", PREAMBLE, PREAMBLE + b"\x00\x60", b"C", b"CYP\x03"]))
def test_random_bytes_never_get_a_server_further(noise: bytes, begin: bytes) -> None:
    server = fresh(client=False)
    server.receive_data(begin + noise)
    assert outcome(server) in (None, "handshake")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_random_answers_never_get_a_client_further(noise: bytes) -> None:
    client = fresh(client=True)
    client.start()
    client.receive_data(noise)
    assert outcome(client) in (None, "handshake")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.builds(msgpack.packb, plain_data), max_size=5), st.booleans())
def test_what_a_peer_with_the_key_sends_is_data(parts: list[bytes], with_lengths: bool) -> None:
    client, server = opened()
    for part in parts:
        server.receive_data(sealed(client, len(part).to_bytes(4, "big") * with_lengths + part))
    found = outcome(server)
    assert found in (None, "messages")
    assert (outcome(server) is None) == (found is None)


@pytest.mark.parametrize(
    "head",
    [
        [],
        {},
        {"op": 1},
        {"op": "x", "id": 5},
        {"op": "x", "id": [b"a"]},
        {"op": "x", "id": ["a", 1]},
        {"op": "x", "id": [b"a" * 65, 1]},
        {"op": "x", "id": [b"a", -1]},
        {"op": "x", "settled": "1"},
        {"op": "x", "body": MAX_BODY + 1},
        {"op": "x", "body": True},
        {"op": "x", "body": -1},
    ],
)
def test_a_malformed_head_breaks_the_protocol(head: object) -> None:
    client, server = opened()
    packed = msgpack.packb(head)
    server.receive_data(sealed(client, len(packed).to_bytes(4, "big") + packed))
    with pytest.raises(PeerBroke):
        server.next_event()


@pytest.mark.parametrize(
    "packed", [b"\xc1", b"\x91" * 5000, b"\x81\x90\x01", b"\x01\x01", b"", b"\xdf\xff\xff\xff\xff"]
)
def test_a_head_that_is_no_messagepack_breaks_the_protocol(packed: bytes) -> None:
    client, server = opened()
    server.receive_data(sealed(client, len(packed).to_bytes(4, "big") + packed))
    with pytest.raises(PeerBroke):
        server.next_event()


def test_lengths_over_the_limit_are_refused_at_once() -> None:
    server = fresh(client=False)
    server.receive_data(PREAMBLE + (MAX_HANDSHAKE + 1).to_bytes(2, "big"))
    with pytest.raises(PeerBroke):
        server.next_event()
    for length in (b"\xff\xff\xff\xff", (MAX_PLAIN + 17).to_bytes(4, "big"), b"\x00\x00\x00\x0f"):
        _, server = opened()
        server.receive_data(length)
        with pytest.raises(PeerBroke, match="announced a frame"):
            server.next_event()
        assert len(server.get_buffer()) <= 128 * 1024
    client, server = opened()
    server.receive_data(sealed(client, (MAX_HEAD + 1).to_bytes(4, "big")))
    with pytest.raises(PeerBroke, match="announced a head"):
        server.next_event()


def test_an_unconfirmed_peer_gets_four_kib() -> None:
    server = fresh(client=False)
    assert len(server.get_buffer()) == MAX_UNCONFIRMED
    client = fresh(client=True)
    server.receive_data(client.start())
    server.next_event()
    server.answer()
    server.receive_data((1021).to_bytes(4, "big"))
    with pytest.raises(PeerBroke, match="announced a frame"):
        server.next_event()


@pytest.mark.parametrize("plain", [b"", b"\x00", pack_own("cypher2.ping"), pack_own("cypher2.hello") + b"\x00"])
def test_the_first_frame_is_an_empty_hello(plain: bytes) -> None:
    client, server = fresh(client=True), fresh(client=False)
    server.receive_data(client.start())
    server.next_event()
    client.receive_data(server.answer())
    client.next_event()
    server.receive_data(sealed(client, plain))
    with pytest.raises(PeerBroke):
        server.next_event()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_altered_repeated_and_reordered_frames_do_not_open(data: st.DataObject) -> None:
    client, server = opened()
    frames = []
    for number in range(3):
        client.send(Message("n", number))
        frames.append(flushed(client))
    how = data.draw(st.sampled_from(["alter", "repeat", "leave out"]))
    if how == "alter":
        at = data.draw(st.integers(4, len(frames[0]) - 1))
        frames[0] = frames[0][:at] + bytes((frames[0][at] ^ 1,)) + frames[0][at + 1 :]
    elif how == "repeat":
        frames.insert(1, frames[0])
    else:
        del frames[1]
    server.receive_data(b"".join(frames))
    with pytest.raises(PeerBroke):
        events(server)


def test_a_recorded_first_message_does_not_confirm() -> None:
    client = fresh(client=True)
    recorded = client.start()
    first = fresh(client=False)
    first.receive_data(recorded)
    first.next_event()
    client.receive_data(first.answer())
    client.next_event()
    confirmation = client.confirm()
    again = fresh(client=False)
    again.receive_data(recorded)
    assert again.next_event() == Greeted(CLIENT)
    again.answer()
    again.receive_data(confirmation)
    with pytest.raises(PeerBroke):
        again.next_event()


def test_a_body_in_tiny_frames_does_not_cost_an_object_for_each() -> None:
    client, server = opened()
    packed = msgpack.packb({"op": "x", "body": 50_000})
    server.receive_data(sealed(client, len(packed).to_bytes(4, "big") + packed))
    for _ in range(50_000):
        server.receive_data(sealed(client, b"z"))
        if server.next_event() is None:
            assert len(server._assembler._pieces) <= 1
    assert server.at_rest


# --- our own mistakes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        Message("x", body=bytes(MAX_BODY + 1)),
        Message("x", {"set": {1}}),
        Message("x", 2**64),
        Message("x", "x" * (MAX_HEAD + 1)),
        Message("x", "\ud800"),
        Message("cypher2.ping"),
        Message("x", body=memoryview(b"123456")[::2]),
    ],
    ids=["body", "set", "integer", "head", "surrogate", "reserved", "gaps"],
)
def test_what_cannot_be_sent_is_our_bug_and_harms_nothing(message: Message) -> None:
    client, server = opened()
    with pytest.raises(OurBug):
        client.send(message)
    client.send(Message("fine"))
    server.receive_data(flushed(client))
    assert messages(events(server)) == [Message("fine")]


def test_a_hello_that_is_too_big_is_our_bug() -> None:
    for features in ({"x": "y" * 3000}, {"x": {1}}):
        with pytest.raises(OurBug):
            Connection(client=True, psk=PSK, ephemeral=bytes(32), hello=Hello("x", features=features))


def test_speaking_out_of_turn_is_our_bug() -> None:
    client, server = fresh(client=True), fresh(client=False)
    for wrong in (client.answer, client.confirm, client.ping, server.start, server.answer, server.data_to_send):
        with pytest.raises(OurBug):
            wrong()


def test_nothing_shows_a_key() -> None:
    client, server = opened()
    for end in (client, server, client._handshake, client._opener, client._outbox):
        assert "\\x" not in repr(end)
        assert PSK.hex() not in repr(end)
