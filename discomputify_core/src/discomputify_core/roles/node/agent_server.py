"""The local socket through which programs of parts speak to their computing node.

Here: connections, tokens, frames and their limits. What an operation does is the handler's business
(part_agent.py). A program may be broken or hostile: whatever it sends costs the node bounded memory and time.

Frames: a length (4 bytes, big-endian) and that many bytes of JSON. Request: ``token`` (needed in the first one of a
connection), ``operation``, ``data``, ``answer`` (whether one is wanted). Answer: ``data`` or ``error``; before it,
any number of ``{"wait": true}`` while the node works on it. ``program/agent.py`` is the other end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import struct
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from discomputify_core.edge import clock
from discomputify_core.errors import DiscomputifyError, OurBug, to_wire
from discomputify_core.model.ids import AttemptId

MAX_FRAME = 64 * 1024
#: Connections at a time, of all parts together and of one part.
MAX_CONNECTIONS = 512
MAX_PER_PART = 64
#: Seconds for a new connection to say its token, and for a known one to say more.
FIRST_WORD = 5.0
NEXT_WORD = 30.0
#: Seconds for a program to read an answer.
READ_ANSWER = 30.0
#: Seconds between two "wait" while a handler works.
WAIT_GAP = 5.0
#: Longest path of a Unix socket that every system takes.
MAX_SOCKET_PATH = 100

Handler = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Given an operation and its data, the answer's data. Raises DiscomputifyError to refuse."""

logger = logging.getLogger(__name__)


class _Nonsense(Exception):
    """What came is not a request."""


class _Guest:
    """A part that may connect."""

    def __init__(self, attempt: AttemptId, handler: Handler) -> None:
        self.attempt = attempt
        self.handler = handler
        self.tasks: set[asyncio.Task[None]] = set()


class AgentServer:
    """One local socket for all parts of a node. Everything is called from one event loop."""

    def __init__(self) -> None:
        self.address = ""
        self._server: asyncio.AbstractServer | None = None
        self._folder: Path | None = None
        self._guests: dict[str, _Guest] = {}
        self._tokens: dict[AttemptId, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Open the socket: a Unix one in a folder of its own, or where that cannot be, one on loopback.

        Raises:
            OSError: neither can be opened.
        """
        if sys.platform != "win32":
            folder = Path(tempfile.mkdtemp(prefix="dcy-"))
            path = folder / "agent"
            if len(str(path).encode()) <= MAX_SOCKET_PATH:
                self._folder = folder
                self._server = await asyncio.start_unix_server(self._accept, str(path), limit=MAX_FRAME)
                self.address = f"unix:{path}"
                return
            await asyncio.to_thread(folder.rmdir)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=MAX_FRAME)
        self.address = f"tcp:127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def register(self, attempt: AttemptId, handler: Handler) -> dict[str, str]:
        """Let a part connect; returns what its program needs in its environment."""
        if attempt in self._tokens:
            raise OurBug(f"The attempt {attempt} was registered twice.")
        token = clock.token(16)
        self._tokens[attempt] = token
        self._guests[token] = _Guest(attempt, handler)
        return {"DISCOMPUTIFY_AGENT": self.address, "DISCOMPUTIFY_TOKEN": token}

    def unregister(self, attempt: AttemptId) -> None:
        """Close the connections of a part and forget it. No error if it is not known."""
        token = self._tokens.pop(attempt, None)
        if token is not None:
            for task in self._guests.pop(token).tasks:
                task.cancel()

    async def close(self) -> None:
        """Close everything. Idempotent."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=5.0)
        self._guests.clear()
        self._tokens.clear()
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed or len(self._tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()  # the program's end tries again
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)

        def over(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            writer.transport.abort()  # not close(): that waits for a program that does not read

        task.add_done_callback(over)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _request(reader, writer, FIRST_WORD)
            guest = self._guests.get(str(request.get("token")))
            task = asyncio.current_task()
            if guest is None or task is None or len(guest.tasks) >= MAX_PER_PART:
                return
            guest.tasks.add(task)
            task.add_done_callback(guest.tasks.discard)
            while True:
                await _handle(guest, request, writer)
                request = await _request(reader, writer, NEXT_WORD)
        except (EOFError, OSError, _Nonsense, ValueError, RecursionError):
            pass  # silent, gone, or nonsense: closing is all the answer there is


@contextmanager
def _deadline(writer: asyncio.StreamWriter, seconds: float) -> Iterator[None]:
    """Cut the connection if the block takes longer; then what it waits for fails."""
    # Not asyncio.wait_for: before Python 3.12 it may swallow the cancellation that unregister() sends.
    alarm = asyncio.get_running_loop().call_later(seconds, writer.transport.abort)
    try:
        yield
    finally:
        alarm.cancel()


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> dict[str, Any]:
    """The next request.

    Raises:
        _Nonsense, ValueError, RecursionError: it is not one.
        EOFError, OSError: it does not come.
    """
    with _deadline(writer, seconds):
        (size,) = struct.unpack(">I", await reader.readexactly(4))
        if size > MAX_FRAME:
            raise _Nonsense(f"a frame of {size} bytes")
        data = await reader.readexactly(size)
    request = json.loads(data)
    if not isinstance(request, dict):
        raise _Nonsense("not an object")
    return request


async def _handle(guest: _Guest, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    operation, data = request.get("operation"), request.get("data")
    if not isinstance(operation, str) or not isinstance(data, dict):
        raise _Nonsense("a request without operation or data")
    wanted = request.get("answer") is True
    work = asyncio.ensure_future(_answer(guest, operation, data))
    try:
        while not (await asyncio.wait({work}, timeout=WAIT_GAP))[0]:
            if wanted:
                await _send(writer, {"wait": True})
        if wanted:
            await _send(writer, work.result())
    finally:
        work.cancel()


async def _answer(guest: _Guest, operation: str, data: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"data": await guest.handler(operation, data)}
    except DiscomputifyError as error:
        return {"error": to_wire(error)}
    except Exception:  # a handler's bug must not take the node's other parts with it
        logger.exception("The operation %r of %s failed by a bug of this node.", operation[:40], guest.attempt)
        return {"error": to_wire(OurBug("The computing node failed at this by a bug; its log says where."))}


async def _send(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    frame = json.dumps(answer, default=str).encode()
    with _deadline(writer, READ_ANSWER):
        writer.write(struct.pack(">I", len(frame)) + frame)
        await writer.drain()
