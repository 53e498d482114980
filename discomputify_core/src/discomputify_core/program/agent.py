"""Talks to the computing node of this part over its local socket. Loaded when first needed.

One connection per question: nothing is shared between threads or inherited by forked children. (Shared memory asks
too often for that: agent_line.py.) Frames: a length (4 bytes, big-endian) and that many bytes of JSON.
``roles/node/agent_server.py`` is the other end.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from typing import Any

from discomputify_core.errors import ProgramError, from_wire
from discomputify_core.program.here import variable

MAX_FRAME = 64 * 1024
#: Seconds to reach the node and be heard. It may be busy closing the connections of others.
REACH = 10.0
#: Seconds without a word from the node while it works on a question (it says "wait" every few seconds).
SILENCE = 60.0
#: Seconds that a report may hold up the program.
BRIEF = 0.5


def ask(operation: str, data: dict[str, Any]) -> dict[str, Any]:
    """The node's answer.

    Raises:
        ProgramError: the node cannot be reached or stopped answering.
        DiscomputifyError: the error that the node answered with.
        NotInAPart: this process is not a part of a job.
    """
    deadline = time.monotonic() + REACH
    wait = 0.05
    while True:
        try:
            answer = _ask_once(operation, data)
            break
        except OSError as error:
            if time.monotonic() + wait >= deadline:
                raise ProgramError(
                    f"The computing node of this part did not answer ({operation}): {error}. "
                    "It may be stopping; the part will be tried again elsewhere."
                ) from error
        time.sleep(wait)
        wait *= 2
    if "error" in answer:
        raise from_wire(answer["error"])
    result = answer.get("data")
    return result if isinstance(result, dict) else {}


def _ask_once(operation: str, data: dict[str, Any]) -> dict[str, Any]:
    with connect(REACH) as line:
        line.sendall(_request(operation, data, answer=True))
        line.settimeout(SILENCE)
        while True:
            answer = _receive(line)
            if "wait" not in answer:
                return answer


def tell(operation: str, data: dict[str, Any]) -> None:
    """Say something that needs no answer.

    Raises:
        OSError: it could not be said quickly.
        NotInAPart: this process is not a part of a job.
    """
    with connect(BRIEF) as line:
        line.sendall(_request(operation, data, answer=False))


def connect(timeout: float) -> socket.socket:
    """A connection to the node, with *timeout* seconds for each step on it.

    Raises:
        OSError: the node does not take it.
        NotInAPart: this process is not a part of a job.
    """
    kind, _, address = variable("AGENT").partition(":")
    if sys.platform != "win32" and kind == "unix":
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.settimeout(timeout)
            line.connect(address)
        except BaseException:
            line.close()
            raise
        return line
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout)


def _request(operation: str, data: dict[str, Any], *, answer: bool) -> bytes:
    text = json.dumps({"token": variable("TOKEN"), "operation": operation, "data": data, "answer": answer})
    frame = text.encode()
    return struct.pack(">I", len(frame)) + frame


def _receive(line: socket.socket) -> dict[str, Any]:
    (size,) = struct.unpack(">I", _exactly(line, 4))
    if size > MAX_FRAME:
        raise ConnectionError(f"the answer has {size} bytes")
    answer = json.loads(_exactly(line, size))
    if not isinstance(answer, dict):
        raise ConnectionError("the answer is not an object")
    return answer


def _exactly(line: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        more = line.recv(size - len(got))
        if not more:
            raise ConnectionError("the connection was closed")
        got += more
    return bytes(got)
