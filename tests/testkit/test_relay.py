"""The relay does to bytes what it is told to, between sockets of plain threads."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from discomputify_core.interfaces.transport import Address
from discomputify_testkit.relay import Relay

#: Seconds for anything that is to happen.
HAPPENS = 10.0


@contextlib.contextmanager
def echo() -> Iterator[Address]:
    """Something that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Address("127.0.0.1", server.getsockname()[1])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(HAPPENS)


@pytest.fixture
def relay() -> Iterator[Relay]:
    with echo() as target, Relay(target) as made:
        yield made


def dial(relay: Relay) -> socket.socket:
    return socket.create_connection((relay.address.host, relay.address.port), HAPPENS)


def said(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


def test_bytes_pass_unchanged(relay: Relay) -> None:
    with dial(relay) as connection:
        data = bytes(range(256)) * 4000
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        assert said(connection, len(data)) == data


def test_a_delay_counts_in_both_directions(relay: Relay) -> None:
    with dial(relay) as connection:
        relay.delay(0.2)
        began = time.monotonic()
        connection.sendall(b"slow")
        assert said(connection, 4) == b"slow"
        assert time.monotonic() - began >= 0.4


def test_a_rate_is_kept(relay: Relay) -> None:
    with dial(relay) as connection:
        relay.rate(100_000, "there")
        began = time.monotonic()
        connection.sendall(bytes(50_000))
        assert len(said(connection, 50_000)) == 50_000
        assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize("way", ["there", "back", "both"])
def test_what_is_stalled_comes_when_it_flows_again(relay: Relay, way: str) -> None:
    with dial(relay) as connection:
        connection.sendall(b"one")
        assert said(connection, 3) == b"one"
        relay.stall(way)
        connection.sendall(b"two")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(3)
        connection.settimeout(HAPPENS)
        relay.flow(way)
        assert said(connection, 3) == b"two"


def test_pieces_are_damaged_repeated_and_swapped(relay: Relay) -> None:
    with dial(relay) as connection:
        relay.damage(1, "there")
        connection.sendall(b"AAA@")
        assert said(connection, 4) == b"AAAA"
        relay.repeat(1, "there")
        connection.sendall(b"twice")
        assert said(connection, 10) == b"twicetwice"
        relay.swap(1, "back")
        connection.sendall(b"first")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(5)
        connection.settimeout(HAPPENS)
        connection.sendall(b"second")
        assert said(connection, 11) == b"secondfirst"


def test_connections_are_cut_and_refused(relay: Relay) -> None:
    with dial(relay) as connection:
        connection.sendall(b"one")
        assert said(connection, 3) == b"one"
        relay.cut()
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""
    relay.refuse()
    with dial(relay) as refused, contextlib.suppress(ConnectionError):
        assert refused.recv(1) == b""
    relay.refuse(False)
    with dial(relay) as connection:
        connection.sendall(b"two")
        assert said(connection, 3) == b"two"


def test_a_way_has_a_name(relay: Relay) -> None:
    with pytest.raises(ValueError, match="sideways"):
        relay.stall("sideways")
