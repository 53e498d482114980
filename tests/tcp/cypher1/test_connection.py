"""The codec as a whole: what goes in comes out however it is split; no peer makes it raise anything but PeerBroke."""

from __future__ import annotations

import base64
import itertools
import json
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st

from discomputify_core.errors import OurBug, PeerBroke
from discomputify_tcp.cypher1 import (
    MAX_AGE,
    MAX_AHEAD,
    MAX_TOKEN,
    CannotOpen,
    Connection,
    Content,
    Declined,
    Event,
    Received,
)

KEY, OTHER = "0123456789abcdef0123456789ABCDEF", "x" * 31 + "/"
NOW = 1_700_000_000.5
ASK = Content("a/b", "DELETE", {"PROCESS_ID": "1"}, {"FILESIZE": 3})


def client(key: str = KEY) -> Connection:
    return Connection(client=True, encryption_key=key, decryption_key=key)


def server(started: int = 0) -> Connection:
    return Connection(encryption_key=KEY, decryption_key=KEY, started=started)


def fernet(key: str = KEY) -> Fernet:
    return Fernet(base64.b64encode(key.encode("ascii")))


def token(text: bytes | Any, at: float = NOW) -> bytes:
    """A token as the old package's client makes one, of any bytes, or of a value as JSON."""
    return fernet().encrypt_at_time(text if isinstance(text, bytes) else json.dumps(text).encode(), int(at))


def fed(end: Connection, pieces: Iterable[bytes], now: float = NOW) -> list[Event]:
    found = []
    for piece in pieces:
        end.receive_data(piece)
        while (event := end.next_event(now)) is not None:
            found.append(event)
    return found


def only(end: Connection, data: bytes, now: float = NOW) -> Event:
    (event,) = fed(end, [data], now)
    return event


# --- what is meant ------------------------------------------------------------------------------


def test_a_request_and_its_answer() -> None:
    here, there = client(), server()
    event = only(there, here.send(ASK, NOW))
    assert isinstance(event, Received)
    assert (event.content, event.made_at) == (ASK, int(NOW))
    answer = Content("a/b", "DELETE", "DONE", {"ERROR": "größer"})
    back = only(here, there.send(answer, NOW + 5))
    assert isinstance(back, Received)
    assert back.content == answer


def test_the_two_directions_may_have_keys_of_their_own() -> None:
    there = Connection(encryption_key=OTHER, decryption_key=KEY)
    here = Connection(client=True, encryption_key=KEY, decryption_key=OTHER)
    assert isinstance(only(there, here.send(ASK, NOW)), Received)
    assert isinstance(only(here, there.send(ASK, NOW)), Received)


def test_the_wire_is_that_of_the_old_package() -> None:
    theirs = {"PATH": "/", "OPERATION": "EXEC", "DATA": {"PROCESS_ID": "ü"}, "METADATA": {}}
    event = only(server(), token(theirs) + b"\0")
    assert isinstance(event, Received)
    assert event.content == Content("/", "EXEC", {"PROCESS_ID": "ü"}, {})
    ours = server().send(Content("/", "EXEC", {"ü": "STARTED"}), NOW)
    assert ours.startswith(b"gAAAA")
    assert ours.endswith(b"\0")
    text = fernet().decrypt(ours[:-1])
    assert json.loads(text.decode("ascii")) == {**theirs, "DATA": {"ü": "STARTED"}}


def test_absent_keys_have_the_old_defaults_and_foreign_ones_are_ignored() -> None:
    event = only(server(), token({"MORE": 1}) + b"\0")
    assert isinstance(event, Received)
    assert event.content == Content("/", "NONE", {}, {})


@pytest.mark.parametrize(
    "data", [None, True, -1, 1.5, "", "ü𝄞", [], {}, ["00", 0], {"a": [{"b": None}]}, "f" * 100_000]
)
def test_data_is_anything_that_json_holds(data: Any) -> None:
    event = only(server(), client().send(Content(data=data), NOW))
    assert isinstance(event, Received)
    assert event.content.data == data


def test_two_requests_in_one_packet_and_single_bytes() -> None:
    here = client()
    both = here.send(Content("1"), NOW) + here.send(Content("2"), NOW)
    for pieces in ([both], [bytes([byte]) for byte in both]):
        events = fed(server(), pieces)
        assert [event.content.path for event in events] == ["1", "2"]


def test_equal_requests_have_digests_of_their_own_and_a_token_always_the_same() -> None:
    here, there = client(), server()
    first, second = here.send(ASK, NOW), here.send(ASK, NOW)
    events = fed(there, [first, second, first])
    digests = [event.digest for event in events if isinstance(event, Received)]
    assert digests[0] == digests[2] != digests[1]


def test_what_cannot_be_json_is_our_bug() -> None:
    with pytest.raises(OurBug, match="READ"):
        server().send(Content(operation="READ", data=b"bytes"), NOW)
    with pytest.raises(OurBug, match="32 ASCII"):
        Connection(encryption_key="short", decryption_key=KEY)


# --- time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (int(NOW) - MAX_AGE + 1, ""),
        (int(NOW) - MAX_AGE, "over 600 s ago"),
        (int(NOW) + MAX_AHEAD, ""),
        (int(NOW) + MAX_AHEAD + 1, "over 60 s in the future"),
        (0, "over 600 s ago"),
        (2**34, "over 60 s in the future"),
    ],
)
def test_tokens_of_another_time_are_declined_with_the_reason(made: int, reason: str) -> None:
    event = only(server(), client().send(ASK, made))
    assert event.content == ASK
    assert isinstance(event, Declined) == bool(reason)
    assert not isinstance(event, Declined) or reason in event.reason


def test_what_was_made_before_the_service_started_changes_nothing() -> None:
    there = server(started=int(NOW))
    event = only(there, client().send(ASK, NOW - 1))
    assert isinstance(event, Declined)
    assert "before this service started" in event.reason
    assert isinstance(only(there, client().send(ASK, NOW)), Received)
    # A client that reads goes on after a negative answer, and would miss a piece.
    assert isinstance(only(there, client().send(Content("a", "READ", 0), NOW - 1)), Received)


# --- bad peers ----------------------------------------------------------------------------------


def test_an_answer_that_comes_back_as_a_request_is_not_taken() -> None:
    there = server()
    event = only(there, client().send(ASK, NOW))
    with pytest.raises(PeerBroke, match="came back as a request"):
        only(there, there.send(event.content, NOW))


def test_another_key() -> None:
    with pytest.raises(CannotOpen, match="keys differ"):
        only(server(), client(OTHER).send(ASK, NOW))


@pytest.mark.parametrize("at", [0, 6, 11, 40, 80, -30, -2])
def test_a_damaged_token(at: int) -> None:
    data = bytearray(client().send(ASK, NOW)[:-1])
    data[at] = ord("A") if data[at] != ord("A") else ord("B")
    with pytest.raises(PeerBroke):
        only(server(), bytes(data) + b"\0")


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 64, 120])
def test_a_truncated_token(cut: int) -> None:
    data = client().send(ASK, NOW)
    with pytest.raises(PeerBroke):
        only(server(), data[: -1 - cut] + b"\0")


def test_a_token_has_one_spelling() -> None:
    good = token({"PATH": "x" * 40})
    assert good.endswith(b"==")
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same_bits = good[:-3] + bytes([alphabet[alphabet.index(good[-3]) ^ 1]]) + good[-2:]
    assert fernet().decrypt(same_bits) == fernet().decrypt(good)
    others = [same_bits, good[:-2], good + b"=", good + b"====", good[:20] + b"\n" + good[20:], good + b"A==="]
    others += [good.replace(digit, b"+") for digit in (b"A", b"-") if digit in good]
    for other in others:
        with pytest.raises(PeerBroke):
            only(server(), other + b"\0")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"1",
        b"null",
        b"\xff\xfe",
        b'{"PATH": 1}',
        b'{"PATH": null}',
        b'{"OPERATION": ["a"]}',
        b'{"METADATA": []}',
        b'{"METADATA": null}',
        b"[" * 100_000,
        b'{"DATA": ' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"DATA": ' + b'{"a":' * 400 + b"1" + b"}" * 400 + b"}",
        b'{"DATA": 1' + b"0" * 100_000 + b"}",
    ],
)
def test_a_token_of_something_else(text: bytes) -> None:
    with pytest.raises(PeerBroke, match="CYPHER/1"):
        only(server(), token(text) + b"\0")


def test_many_lists_beside_each_other_are_not_deep() -> None:
    data = [[[1]] for _ in range(1000)]
    assert only(server(), client().send(Content(data=data), NOW)).content.data == data


def test_halves_of_characters_are_declined() -> None:
    for content in (b'{"PATH": "\\ud800"}', b'{"DATA": {"a": ["\\udfff"]}}', b'{"METADATA": {"\\ud800": 1}}'):
        event = only(server(), token(content) + b"\0")
        assert isinstance(event, Declined)
        assert "characters" in event.reason
    assert isinstance(only(server(), token({"PATH": "\u00fc\U0001d11e"}) + b"\0"), Received)


@pytest.mark.parametrize(
    "begin", [b"G", b"gB", b"gAAAB", b"gAAAA\n", b"gAAAA\xff", b"gAAA\0", b"\0", b"gAAAA" + b"A" * 99 + b"\0"]
)
def test_what_is_no_token_is_noticed_as_soon_as_it_shows(begin: bytes) -> None:
    with pytest.raises(PeerBroke):
        only(server(), begin)


def test_without_a_terminator_memory_is_bounded() -> None:
    end, piece = server(), b"gAAAA" + b"A" * (2**20 - 5)
    tracemalloc.start()
    try:
        for _ in range(16):
            assert fed(end, [piece]) == []
        end.receive_data(b"A")
        for _ in range(1008):
            end.receive_data(piece)
        assert end.held == 0
        assert tracemalloc.get_traced_memory()[1] < 2.5 * MAX_TOKEN
    finally:
        tracemalloc.stop()
    with pytest.raises(PeerBroke, match="longer than 16 MiB: make TRANSMISSION_CHUNK_SIZE smaller"):
        end.next_event(NOW)


def test_a_token_of_almost_16_mib_is_taken() -> None:
    data = "f" * (MAX_TOKEN // 4 * 3 - 200)
    message = client().send(Content(data=data), NOW)
    assert len(message) > MAX_TOKEN - 400
    assert only(server(), message).content.data == data


def test_a_broken_peer_stays_broken() -> None:
    end = server()
    for data in (b"nonsense", client().send(ASK, NOW)):
        with pytest.raises(PeerBroke):
            only(end, data)
    assert end.held == 0


# --- whatever comes -----------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    contents=st.lists(st.builds(Content, st.text(), st.text(), JSON, st.dictionaries(st.text(), JSON)), max_size=3),
    cuts=st.lists(st.integers(0, 2000)),
)
def test_what_goes_in_comes_out_however_it_is_split(contents: list[Content], cuts: list[int]) -> None:
    here = client()
    stream = b"".join(here.send(content, NOW) for content in contents)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    events = fed(server(), [stream[a:b] for a, b in itertools.pairwise(edges)])
    assert [event.content for event in events] == contents


@given(data=st.binary(max_size=300) | st.from_regex(rb"gAAAA[A-Za-z0-9_-]{0,200}={0,3}\x00?", fullmatch=True))
def test_random_bytes_give_nothing_but_peer_broke(data: bytes) -> None:
    end = server()
    try:
        assert fed(end, [data]) == []
    except PeerBroke:
        assert True


@settings(max_examples=200)
@given(text=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()), at=st.integers(0, 2**40))
def test_whatever_an_authentic_token_holds(text: bytes, at: int) -> None:
    try:
        event = only(server(), token(text, at) + b"\0")
    except PeerBroke:
        return
    assert isinstance(event, (Received, Declined))


@given(position=st.integers(0, 400), flip=st.integers(1, 255))
def test_a_flipped_bit_opens_nothing(position: int, flip: int) -> None:
    data = bytearray(client().send(ASK, NOW))
    position %= len(data) - 1
    data[position] ^= flip
    with pytest.raises(PeerBroke):
        fed(server(), [bytes(data)])
