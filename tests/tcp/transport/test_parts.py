"""Small pieces around the sockets: sniffing, complaints, registration."""

from __future__ import annotations

import logging

import pytest

from discomputify_tcp import hooks
from discomputify_tcp.transport.complaints import LINES, Complaints
from discomputify_tcp.transport.sniff import sniff


@pytest.mark.parametrize(("first", "version"), [(b"CYP\x02", 2), (b"gAAAA", 1), (b"GET /", None), (b"\x16\x03", None)])
def test_the_first_byte_says_which_protocol_a_client_speaks(first: bytes, version: int | None) -> None:
    assert sniff(first[0]) == version


def test_the_plugin_registers_its_transport_by_name() -> None:
    assert hooks.discomputify_register_transports() == {"tcp": "discomputify_tcp.transport:TcpTransport"}


def test_a_peer_gets_a_few_lines_in_a_second_and_the_rest_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = 1.0
    complaints = Complaints(lambda: now)
    with caplog.at_level(logging.WARNING, "discomputify.tcp"):
        for number in range(10):
            complaints.say("10.0.0.1", f"line {number}")
        complaints.say("10.0.0.2", "another")
        now = 2.5
        complaints.say("10.0.0.1", "later")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:LINES] == [f"line {number}" for number in range(LINES)]
    assert lines[LINES].startswith(f"another ({10 - LINES} more")
    assert lines[-1] == "later"


def test_where_a_line_a_minute_is_enough_the_minute_begins_with_it(caplog: pytest.LogCaptureFixture) -> None:
    now = 59.0
    complaints = Complaints(lambda: now, lines=1, span=60.0)
    for now in (59.0, 61.0, 118.0, 119.5, 120.0):
        complaints.say("10.0.0.1", f"at {now}")
    assert [record.getMessage() for record in caplog.records] == [
        "at 59.0",
        "at 119.5 (2 more such lines were left out before this one)",
    ]


def test_a_flood_of_addresses_is_bounded_too(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(lambda: 1.0)
    for number in range(5000):
        complaints.say(str(number), "line")
    assert len(caplog.records) == 1000
