"""The handshake: published vectors, and an independent implementation in both roles."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgpack
import pytest
from noise.connection import NoiseConnection

from discomputify_core.errors import PeerBroke
from discomputify_core.model.message import Hello, Message
from discomputify_tcp.cypher2 import (
    PREAMBLE,
    CannotOpen,
    Confirmed,
    Connection,
    Greeted,
    Received,
    derive_psk,
)
from discomputify_tcp.cypher2.limits import REKEY_EVERY
from discomputify_tcp.cypher2.noise import Handshake

NAME = b"Noise_NNpsk0_25519_AESGCM_SHA256"
PSK = derive_psk(b"a" * 32, b"b" * 32)
CLIENT, SERVER = Hello("client", "there", version="2.1"), Hello("master", "here", version="2.0")


def vectors() -> list[Any]:
    path = os.environ.get("NOISE_VECTORS")
    if not path:
        return []
    return [v for v in json.loads(Path(path).read_text("utf-8"))["vectors"] if v["protocol_name"] == NAME.decode()]


@pytest.mark.skipif(not os.environ.get("NOISE_VECTORS"), reason="NOISE_VECTORS names no file of published vectors")
def test_published_vectors() -> None:
    assert vectors()
    for vector in vectors():
        psk, prologue = bytes.fromhex(vector["init_psks"][0]), bytes.fromhex(vector["init_prologue"])
        client = Handshake(psk, bytes.fromhex(vector["init_ephemeral"]), prologue)
        server = Handshake(
            bytes.fromhex(vector["resp_psks"][0]),
            bytes.fromhex(vector["resp_ephemeral"]),
            bytes.fromhex(vector["resp_prologue"]),
        )
        said = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
        assert client.write_first(said[0][0]) == said[0][1]
        assert server.read_first(said[0][1]) == said[0][0]
        assert server.write_second(said[1][0]) == said[1][1]
        assert client.read_second(said[1][1]) == said[1][0]
        assert client.hash == server.hash == bytes.fromhex(vector["handshake_hash"])
        writing, reading = client.split(), server.split()
        for number, (payload, sealed) in enumerate(said[2:]):
            assert writing[number % 2].encrypt(payload) == sealed
            assert reading[number % 2].decrypt(sealed) == payload


def other_end(*, initiator: bool, psk: bytes = PSK) -> Any:
    other = NoiseConnection.from_name(NAME)
    other.set_psks(psk=psk)
    other.set_prologue(PREAMBLE)
    if initiator:
        other.set_as_initiator()
    else:
        other.set_as_responder()
    other.start_handshake()
    return other


def connection(*, client: bool, psk: bytes = PSK) -> Connection:
    return Connection(client=client, psk=psk, ephemeral=os.urandom(32), hello=CLIENT if client else SERVER)


def framed(sealed: bytes, prefix: int) -> bytes:
    return len(sealed).to_bytes(prefix, "big") + sealed


def stream(head: dict[str, Any], body: bytes = b"") -> bytes:
    packed = msgpack.packb(head)
    return framed(packed, 4) + body


def as_client(server: Connection) -> Any:
    """The independent implementation dials *server* and is confirmed."""
    other = other_end(initiator=True)
    hello = msgpack.packb({"role": "client", "version": "2.9", "later": {"field": 1}})
    server.receive_data(PREAMBLE + framed(bytes(other.write_message(hello)), 2))
    assert server.next_event() == Greeted(Hello("client", version="2.9"))
    answer = server.answer()
    assert int.from_bytes(answer[:2], "big") == len(answer) - 2
    assert msgpack.unpackb(bytes(other.read_message(answer[2:])))["role"] == "master"
    server.receive_data(framed(other.encrypt(stream({"op": "cypher2.hello"})), 4))
    assert server.next_event() == Confirmed()
    return other


def as_server(client: Connection) -> Any:
    """The independent implementation is dialled by *client* and confirms it."""
    other = other_end(initiator=False)
    start = client.start()
    assert start.startswith(PREAMBLE)
    assert msgpack.unpackb(bytes(other.read_message(start[6:])))["name"] == "there"
    client.receive_data(framed(bytes(other.write_message(msgpack.packb({"role": "master"}))), 2))
    assert client.next_event() == Greeted(Hello("master"))
    confirmation = client.confirm()
    assert len(confirmation) <= 1024
    assert msgpack.unpackb(other.decrypt(confirmation[4:])[4:]) == {"op": "cypher2.hello"}
    return other


@pytest.mark.parametrize("client", [True, False])
def test_an_independent_implementation_understands_us(client: bool) -> None:
    ours = connection(client=client)
    other = as_server(ours) if client else as_client(ours)
    ours.send(Message("greet", {"n": 1}, b"body"))
    (frame,) = ours.data_to_send()
    plain = other.decrypt(frame[4:])
    size = int.from_bytes(plain[:4], "big")
    assert msgpack.unpackb(plain[4 : 4 + size]) == {"op": "greet", "data": {"n": 1}, "body": 4}
    assert plain[4 + size :] == b"body"
    ours.receive_data(framed(other.encrypt(stream({"op": "reply", "new field": 3, "body": 2}, b"ok")), 4))
    event = ours.next_event()
    assert isinstance(event, Received)
    assert event.message == Message("reply", None, b"ok")


def test_both_directions_rekey_where_noise_says() -> None:
    ours = connection(client=True)
    other = as_server(ours)
    for number in range(REKEY_EVERY + 2):
        # The confirmation was frame 0 of this direction.
        if number + 1 == REKEY_EVERY:
            other.rekey_inbound_cipher()
        if number == REKEY_EVERY:
            other.rekey_outbound_cipher()
        ours.ping()
        (frame,) = ours.data_to_send()
        other.decrypt(frame[4:])
        ours.receive_data(framed(other.encrypt(b""), 4))
        assert ours.next_event() is None


def test_our_two_ends_stay_in_step_over_a_rekey() -> None:
    client, server = connection(client=True), connection(client=False)
    server.receive_data(client.start())
    server.next_event()
    client.receive_data(server.answer())
    client.next_event()
    server.receive_data(client.confirm())
    assert server.next_event() == Confirmed()
    for number in range(REKEY_EVERY + 10):
        client.send(Message("n", number))
        server.receive_data(client.data_to_send()[0])
        event = server.next_event()
        assert isinstance(event, Received)
        assert event.message.data == number


def test_another_key_cannot_be_opened() -> None:
    server = connection(client=False)
    server.receive_data(connection(client=True, psk=bytes(32)).start())
    with pytest.raises(CannotOpen):
        server.next_event()


def test_an_answer_under_another_key_cannot_be_opened() -> None:
    client, other = connection(client=True), other_end(initiator=False)
    other.read_message(client.start()[6:])
    other.noise_protocol.handshake_state.symmetric_state.mix_hash(b"tampered")
    client.receive_data(framed(bytes(other.write_message(b"")), 2))
    with pytest.raises(CannotOpen):
        client.next_event()


def test_a_point_of_low_order_is_the_peers_fault() -> None:
    server = connection(client=False)
    client = Handshake(PSK, os.urandom(32), PREAMBLE)
    client._public = bytes(32)  # what only an attacker with the key would send
    server.receive_data(PREAMBLE + framed(client.write_first(msgpack.packb({"role": "client"})), 2))
    assert isinstance(server.next_event(), Greeted)
    with pytest.raises(PeerBroke):
        server.answer()


def test_the_psk_does_not_depend_on_the_order_of_the_keys() -> None:
    assert derive_psk(b"a" * 32, b"b" * 32) == derive_psk(b"b" * 32, b"a" * 32)
    assert derive_psk(b"a" * 32, b"a" * 32) != derive_psk(b"a" * 32, b"b" * 32)
    assert len(PSK) == 32
