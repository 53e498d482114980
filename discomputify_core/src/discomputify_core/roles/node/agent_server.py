"""The local socket through which programs of parts speak to their computing node.

Here: the socket, tokens, how many connections there may be. Not here: one connection (agent_line.py), what an
operation does (part_agent.py). A program may be broken or hostile: whatever it sends costs the node bounded memory
and time.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from discomputify_core.edge import clock
from discomputify_core.errors import OurBug
from discomputify_core.model.ids import AttemptId
from discomputify_core.roles.node.agent_line import Guest, Handler, Line, Quick, Times
from discomputify_core.roles.node.agent_room import Room

#: Connections at a time, of all parts together and of one part.
MAX_CONNECTIONS = 512
MAX_PER_PART = 64
#: Bytes of large bodies held at a time, of all parts together.
MAX_HELD = 128 * 1024 * 1024
#: Seconds for a new connection to say its token, and for a known one to say more.
FIRST_WORD = 5.0
NEXT_WORD = 30.0
#: Seconds for a program to read an answer.
READ_ANSWER = 30.0
#: Seconds between two "wait" while a handler works.
WAIT_GAP = 5.0
#: Most seconds between two looks at who is too slow.
LOOK_GAP = 1.0
#: Longest path of a Unix socket that every system takes.
MAX_SOCKET_PATH = 100


class AgentServer:
    """One local socket for all parts of a node. Everything is called from one event loop."""

    def __init__(self) -> None:
        self.address = ""
        self.room = Room(MAX_HELD)
        self.times = Times(FIRST_WORD, NEXT_WORD, READ_ANSWER, WAIT_GAP)
        self._gap = min(LOOK_GAP, FIRST_WORD / 4, NEXT_WORD / 4, READ_ANSWER / 4, WAIT_GAP / 4)
        self._server: asyncio.AbstractServer | None = None
        self._folder: Path | None = None
        self._guests: dict[str, Guest] = {}
        self._tokens: dict[AttemptId, str] = {}
        self._lines: set[Line] = set()
        self._look: asyncio.TimerHandle | None = None
        self._closed = False

    async def start(self) -> None:
        """Open the socket: a Unix one in a folder of its own, or where that cannot be, one on loopback.

        Raises:
            OSError: neither can be opened.
        """
        loop = asyncio.get_running_loop()
        if sys.platform != "win32":
            folder = Path(tempfile.mkdtemp(prefix="dcy-"))
            path = folder / "agent"
            if len(str(path).encode()) <= MAX_SOCKET_PATH:
                self._folder = folder
                self._server = await loop.create_unix_server(lambda: Line(self), str(path))
                self.address = f"unix:{path}"
                return
            await asyncio.to_thread(folder.rmdir)
        server = await loop.create_server(lambda: Line(self), "127.0.0.1", 0)
        self._server = server
        self.address = f"tcp:127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def register(self, attempt: AttemptId, handler: Handler, quick: Quick | None = None) -> dict[str, str]:
        """Let a part connect; returns what its program needs in its environment."""
        if attempt in self._tokens:
            raise OurBug(f"The attempt {attempt} was registered twice.")
        token = clock.token(16)
        self._tokens[attempt] = token
        self._guests[token] = Guest(attempt, handler, quick)
        return {"DISCOMPUTIFY_AGENT": self.address, "DISCOMPUTIFY_TOKEN": token}

    def unregister(self, attempt: AttemptId) -> None:
        """Close the connections of a part, end what it waits for, and forget it. No error if it is not known."""
        token = self._tokens.pop(attempt, None)
        if token is not None:
            _turn_out(self._guests.pop(token))

    async def close(self) -> None:
        """Close everything. Idempotent."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        tasks = [task for guest in self._guests.values() for task in _turn_out(guest)]
        for line in self._lines:
            line.drop()
        await asyncio.sleep(0)  # connections close in the loop's next turn
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._guests.clear()
        self._tokens.clear()
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = None

    # --- what connections ask -----------------------------------------------------------------------

    def came(self, line: Line) -> bool:
        """See :class:`Desk`."""
        if self._closed or len(self._lines) >= MAX_CONNECTIONS:
            return False
        self._lines.add(line)
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(self._gap, self._look_around)
        return True

    def guest(self, token: str, line: Line) -> Guest | None:
        """See :class:`Desk`."""
        guest = self._guests.get(token)
        return None if guest is None or len(guest.lines) >= MAX_PER_PART else guest

    def left(self, line: Line) -> None:
        """See :class:`Desk`."""
        self._lines.discard(line)

    def _look_around(self) -> None:
        """One timer for all connections: a request costs none."""
        self._look = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for line in list(self._lines):
            line.look(now)
        if self._lines and not self._closed:
            self._look = loop.call_later(self._gap, self._look_around)


def _turn_out(guest: Guest) -> list[asyncio.Task[None]]:
    """Close the connections of a part; returns what was worked on, which ends now."""
    tasks = [task for line in list(guest.lines) if (task := line.drop()) is not None]
    for task in guest.tasks:
        task.cancel()
    return [*tasks, *guest.tasks]
