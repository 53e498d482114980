"""Connections to the computing node that stay open: how shared memory asks. Loaded with ``program.memory()``.

A frame as in agent.py; where its JSON has ``body``, so many raw bytes follow it. ``roles/node/agent_line.py`` is the
other end. Only frames and connections here: what is asked is asking.py's business.

A request is sent a second time only where the first cannot have arrived in full: adding 1 must not count twice.
"""

from __future__ import annotations

import json
import os
import socket
import time

from discomputify_core.errors import NoSharedMemory, ProgramError, from_wire
from discomputify_core.program.agent import REACH, SILENCE, connect
from discomputify_core.program.here import variable

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from typing import Any

#: Most bytes of a body that the node takes.
MAX_BODY = 16 * 1024 * 1024
#: Most bytes of an answer's JSON: it may list 10,000 names.
MAX_ANSWER = 64 * 1024 * 1024
#: Most connections that are kept while nothing is under way: the node admits a number of them for all processes of a
#: part, and those of a process that has had many threads would keep out its children.
MOST_IDLE = 8
#: Bytes that one read may bring. A request that is smaller is sent in one piece with its body.
PIECE = 64 * 1024

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode
_idle: list[Line] = []  # the newest is taken first; append and pop are atomic


class Line:
    """One open connection; it belongs to one process, and to one thread at a time."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._begin = f'{{"token":{json.dumps(variable("TOKEN"))},"operation":"memory","answer":true,'.encode()
        self._socket = connect(REACH)

    def __del__(self) -> None:
        if hasattr(self, "_socket"):
            self.close()

    def close(self) -> None:
        """Idempotent. In a forked child, the parent's connection stays open."""
        try:
            self._socket.close()
        except OSError:
            pass  # the program has closed all its files, as daemons do

    def greet(self) -> None:
        """Make sure that the node has taken this connection, so that a request on it is not sent in vain.

        Raises:
            NoSharedMemory: the node says so.
            OSError, ValueError: the node has not taken it.
        """
        if self._socket.family != getattr(socket, "AF_UNIX", None):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send({"do": "hello"}, b"")
        answer, _ = self.receive()
        self._socket.settimeout(SILENCE)
        if "error" in answer:
            error = from_wire(answer["error"])
            if isinstance(error, NoSharedMemory):
                raise error  # whatever else it says, the request itself will be told

    def send(self, data: dict[str, Any], body: bytes | memoryview) -> None:
        """Send a request.

        Raises:
            OSError: it was not sent in full.
        """
        size = len(body)
        text = self._begin + (b'"body":%d,"data":' % size if size else b'"data":') + _encode(data).encode() + b"}"
        head = len(text).to_bytes(4, "big") + text
        if size < PIECE:
            self._socket.sendall(b"".join((head, body)))
        else:
            self._socket.sendall(head)
            self._socket.sendall(body)

    def receive(self) -> tuple[dict[str, Any], bytes | memoryview]:
        """The answer, and its body (read-only).

        Raises:
            OSError: the connection broke, or the node was silent for too long.
            ValueError: what came is no answer.
        """
        got = b""
        while True:
            if len(got) < 4:
                got += self._more()  # mostly the whole answer
                continue
            end = 4 + int.from_bytes(got[:4], "big")
            if end > MAX_ANSWER:
                raise ValueError(f"the answer has {end} bytes")
            if len(got) < end:
                got += self._exactly(b"", end - len(got))
            answer = json.loads(got[4:end])
            if not isinstance(answer, dict):
                raise ConnectionError("the answer is not an object")
            if "wait" in answer:  # the node works on it
                got = got[end:]
                continue
            size = answer.get("body", 0)
            return answer, got[end : end + size] if len(got) - end >= size else self._exactly(got[end:], size)

    def _more(self) -> bytes:
        got = self._socket.recv(PIECE)
        if not got:
            raise ConnectionError("the connection was closed")
        return got

    def _exactly(self, first: bytes, size: int) -> memoryview:
        """*size* bytes that begin with *first*."""
        room = bytearray(size)
        room[: len(first)] = first
        whole = memoryview(room)
        at = len(first)
        while at < size:
            count = self._socket.recv_into(whole[at:])
            if not count:
                raise ConnectionError("the connection was closed")
            at += count
        return whole.toreadonly()


def open_line() -> Line:
    """A connection that the node has taken.

    Raises:
        ProgramError: the node does not take one.
        NoSharedMemory: the node has no shared memory.
        NotInAPart: this process is not a part of a job.
    """
    deadline = time.monotonic() + REACH
    wait = 0.02
    while True:
        try:
            line = Line()
            line.greet()
        except (OSError, ValueError) as error:
            if time.monotonic() + wait >= deadline:
                raise ProgramError(
                    f"The computing node of this part takes no connection for shared memory: {error}. It may be "
                    "stopping; or more threads and processes of this part use shared memory at once than it admits."
                ) from error
        else:
            return line
        time.sleep(wait)
        wait *= 2


def give_back(line: Line) -> None:
    """Keep a connection, on which nothing is under way, for the next request of any thread."""
    if len(_idle) < MOST_IDLE:
        _idle.append(line)
    else:
        line.close()


def _take() -> Line:
    pid = os.getpid()
    while True:
        try:
            line = _idle.pop()
        except IndexError:
            return open_line()
        if line.pid == pid:
            return line
        line.close()  # of the process that this one was forked from


def exchange(data: dict[str, Any], body: bytes | memoryview = b"") -> tuple[dict[str, Any], bytes | memoryview]:
    """Ask, and wait for the answer: its ``data``, and its body (read-only).

    Raises:
        ProgramError: the node cannot be reached or stopped answering; it may have done what was asked.
        DiscomputifyError: the error that the node answered with.
        NotInAPart: this process is not a part of a job.
    """
    line = _take()
    try:
        try:
            line.send(data, body)
        except OSError:  # closed since the last time; half a request does nothing
            line.close()
            line = open_line()
            line.send(data, body)
        answer, got = line.receive()
    except (OSError, ValueError) as error:
        line.close()
        raise ProgramError(
            f"The computing node of this part did not answer ({data.get('do')}): {error}. "
            "Whether it was done is not known. The node may be stopping; the part will be tried again elsewhere."
        ) from error
    except BaseException:
        line.close()  # an answer may still come on it
        raise
    give_back(line)
    if "error" in answer:
        raise from_wire(answer["error"])
    return answer.get("data") or {}, got
