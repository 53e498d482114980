"""The connection to the node: what is asked twice and what never, and answers in pieces of any size."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from discomputify_core.errors import NotInAPart, ProgramError, WrongKind, to_wire
from discomputify_core.program import agent_line
from discomputify_core.program.agent_line import Line, exchange, open_line


def frame(answer: dict[str, Any], body: bytes = b"") -> bytes:
    if body:
        answer = {**answer, "body": len(body)}
    text = json.dumps(answer).encode()
    return struct.pack(">I", len(text)) + text + body


HELLO = frame({"data": {}})


class Scripted:
    """A node that takes one connection after the other and answers each request with what it was told to.

    For each connection a list of answers, each in the pieces in which it is sent; then it closes the connection.
    """

    def __init__(self, *connections: list[list[bytes]]) -> None:
        self.requests: list[tuple[dict[str, Any], bytes]] = []
        self._connections = connections
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()
        self._thread.join(20)

    def _run(self) -> None:
        for answers in self._connections:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            with taken, taken.makefile("rb") as lines:
                taken.settimeout(20)
                for pieces in answers:
                    head = lines.read(4)
                    if not head:
                        break  # the program has closed it
                    (size,) = struct.unpack(">I", head)
                    request = json.loads(lines.read(size))
                    self.requests.append((request, lines.read(request.get("body", 0))))
                    for piece in pieces:
                        taken.sendall(piece)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made: list[Scripted] = []
    monkeypatch.setattr(agent_line, "_idle", [])
    monkeypatch.setattr(agent_line, "REACH", 0.5)

    def start(*connections: list[list[bytes]]) -> Scripted:
        made.append(Scripted(*connections))
        monkeypatch.setenv("DISCOMPUTIFY_AGENT", f"tcp:127.0.0.1:{made[-1].port}")
        monkeypatch.setenv("DISCOMPUTIFY_TOKEN", 'to"ken')
        return made[-1]

    yield start
    while agent_line._idle:
        agent_line._idle.pop().close()
    for each in made:
        each.close()


def test_an_answer_may_come_in_any_pieces_after_the_node_has_worked_on_it(script: Any) -> None:
    body = bytes(range(256)) * 1000
    answer = frame({"wait": True}) + frame({"wait": True}) + frame({"data": {"number": 1}}, body)
    cuts = [answer[at : at + 1] for at in range(60)] + [answer[60:70_000], answer[70_000:]]
    node = script([[HELLO], cuts, [frame({"data": {"found": False}})]])
    data, got = exchange({"do": "add"}, body)
    assert (data, bytes(got)) == ({"number": 1}, body)
    assert memoryview(got).readonly
    assert exchange({"do": "get"}) == ({"found": False}, b"")
    head = {"token": 'to"ken', "operation": "memory", "answer": True}
    assert node.requests == [
        ({**head, "data": {"do": "hello"}}, b""),
        ({**head, "data": {"do": "add"}, "body": len(body)}, body),
        ({**head, "data": {"do": "get"}}, b""),
    ]


def test_a_long_answer_without_a_body_is_read_whole(script: Any) -> None:
    names = [f"{number:0250}" for number in range(2000)]
    script([[HELLO], [frame({"data": {"names": names}})]])
    assert exchange({"do": "names"}) == ({"names": names}, b"")


def test_a_request_that_may_have_arrived_is_not_sent_again(script: Any) -> None:
    node = script([[HELLO], []], [[HELLO], [frame({"data": {}})]])
    with pytest.raises(ProgramError, match=r"did not answer \(add\).*Whether it was done is not known"):
        exchange({"do": "add"})
    assert exchange({"do": "get"}) == ({}, b"")
    assert [request["data"]["do"] for request, _ in node.requests].count("add") <= 1


def test_a_connection_that_is_not_taken_is_tried_again(script: Any) -> None:
    node = script([], [], [[HELLO], [frame({"data": {"found": True}})]])
    assert exchange({"do": "add"}) == ({"found": True}, b"")
    assert [request["data"]["do"] for request, _ in node.requests] == ["hello", "add"]


def test_an_error_leaves_the_connection_in_order(script: Any) -> None:
    script([[HELLO], [frame({"error": to_wire(WrongKind("no number", name="a"))})], [frame({"data": {"number": 2}})]])
    with pytest.raises(WrongKind, match="no number") as caught:
        exchange({"do": "add"})
    assert caught.value.fields == {"name": "a"}
    assert exchange({"do": "add"})[0] == {"number": 2}


def test_a_node_that_takes_nobody_is_given_up(script: Any) -> None:
    script()
    with pytest.raises(ProgramError, match="takes no connection for shared memory"):
        open_line()


def test_a_silent_node_is_given_up(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_line, "SILENCE", 0.2)
    script([[HELLO], [b""], []])
    with pytest.raises(ProgramError, match=r"did not answer \(get\)"):
        exchange({"do": "get"})
    assert not agent_line._idle


@pytest.mark.parametrize("nonsense", [b"\0\0\0\2xx", b"\xff\xff\xff\xff", b"\0\0\0\4true", b"\0\0\0\1["])
def test_an_answer_that_is_none_ends_the_connection(script: Any, nonsense: bytes) -> None:
    script([[HELLO], [nonsense]])
    with pytest.raises(ProgramError, match="did not answer"):
        exchange({"do": "get"})
    assert not agent_line._idle


def test_an_interrupted_request_does_not_leave_its_answer_to_the_next(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script([[HELLO], [frame({"data": {"number": 1}})]], [[HELLO], [frame({"data": {"number": 2}})]])

    def interrupted(line: Line) -> Any:
        raise KeyboardInterrupt

    line = open_line()
    agent_line.give_back(line)
    with monkeypatch.context() as patch:
        patch.setattr(Line, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            exchange({"do": "add"})
    assert exchange({"do": "add"})[0] == {"number": 2}


def test_without_a_node_this_is_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_line, "_idle", [])
    monkeypatch.delenv("DISCOMPUTIFY_TOKEN", raising=False)
    with pytest.raises(NotInAPart):
        exchange({"do": "get"})
