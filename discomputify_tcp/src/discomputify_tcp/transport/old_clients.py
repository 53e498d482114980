"""What the old clients (CYPHER/1) of one process share, whichever port they came to.

Here: since when they are served, what was done for them, how much memory those may take who proved nothing yet.
Not here: one connection (old_channel.py), which bytes mean what (cypher1/).
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable
from typing import Protocol

from discomputify_core.errors import OurBug
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import RequestId
from discomputify_tcp.cypher1 import Connection, Memory, Received, changes
from discomputify_tcp.transport.complaints import Complaints
from discomputify_tcp.transport.replays import Replays

log = logging.getLogger("discomputify.tcp")

#: Connections, at a time, that proved nothing yet; and those of them of which more bytes than FEW are held.
MAX_STRANGERS = 128
MAX_HOLDING = 8
FEW = 64 * 1024
#: A peer that was refused tries again each second: so many log lines for each address within so many seconds.
LINES, SPAN = 1, 60.0
#: Requests that are worked on at a time; of more, the oldest count as answered.
MAX_OPEN = 4096

WEAKNESSES = (
    'CYPHER/1 is on ("tcp": {"cypher1": true} in the conf), for clients of the old package. It is weak: no forward '
    "secrecy, repeats are only told by time and by memory, no file is checked as a whole, 2.7 bytes travel for each. "
    "Take that key out of the conf when the last old client has moved."
)


def old_complaints(clock: Callable[[], float]) -> Complaints:
    """What is logged of old clients: little."""
    return Complaints(clock, lines=LINES, span=SPAN)


class Stranger(Protocol):
    """A connection that proved nothing yet."""

    def turn_away(self, reason: str) -> None:
        """End it, for a reason that is not the peer's fault."""


class OldClients:
    """One for all listeners of a transport. :meth:`begin` comes first."""

    def __init__(self, conf: Conf, complaints: Complaints) -> None:
        self._conf = conf
        #: See :func:`old_complaints`.
        self.complaints = complaints
        self.replays = Replays(Memory())
        self._beginning = asyncio.Lock()
        self._started: int | None = None
        self._strangers: dict[Stranger, None] = {}
        self._holding: dict[Stranger, None] = {}
        self._client = secrets.token_bytes(16)
        self._number = 0
        self._open: dict[int, None] = {}

    @property
    def timeout(self) -> float:
        """Seconds without data after which a connection is closed."""
        return self._conf.timeout

    async def begin(self) -> None:
        """Return when the next full second has come, the first time, which takes a second at most.

        Tokens tell full seconds alone: from then on each that is made is later than what may have been recorded before.
        """
        async with self._beginning:
            if self._started is None:
                log.warning("%s", WEAKNESSES)
                self._started = await _full_second()

    def codec(self) -> Connection:
        """A codec for one connection."""
        if self._started is None or self._conf.encryption_key is None or self._conf.decryption_key is None:
            raise OurBug("Old clients came before they were served.")
        return Connection(
            encryption_key=self._conf.encryption_key,
            decryption_key=self._conf.decryption_key,
            started=self._started,
        )

    # --- requests --------------------------------------------------------------------------------

    def ask(self) -> tuple[RequestId, int]:
        """An id for a request that is handed on, and the number below which all were answered."""
        self._number += 1
        self._open[self._number] = None
        if len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]
        return RequestId(self._client, self._number), next(iter(self._open))

    def settle(self, request: RequestId) -> None:
        """*request* was answered."""
        self._open.pop(request.number, None)

    # --- those who proved nothing yet ------------------------------------------------------------

    def proves(self, request: Received, now: float) -> bool:
        """Whether who sent *request*, which is done now, holds the key: what was recorded may be sent by anybody."""
        if changes(request.content.operation):
            return True  # a repeat of these is not done
        return self.replays.first(request, now) and request.made_at >= (self._started or 0)

    def came(self, stranger: Stranger) -> None:
        """A connection began."""
        _make_room(self._strangers, MAX_STRANGERS, "others proved nothing yet")
        self._strangers[stranger] = None

    def holds(self, stranger: Stranger, held: int) -> None:
        """How many bytes of a token are held of *stranger*."""
        if held <= FEW:
            self._holding.pop(stranger, None)
        elif stranger not in self._holding and stranger in self._strangers:
            _make_room(self._holding, MAX_HOLDING, "others have not sent their first request to its end")
            self._holding[stranger] = None

    def known(self, stranger: Stranger) -> None:
        """It proved that it holds the key, or it left."""
        self._strangers.pop(stranger, None)
        self._holding.pop(stranger, None)


def _make_room(places: dict[Stranger, None], most: int, who: str) -> None:
    while len(places) >= most:
        longest = next(iter(places))
        del places[longest]
        longest.turn_away(f"{most} {who}, and it waited longest")


async def _full_second() -> int:
    while True:
        started = math.floor(time.time()) + 1
        await asyncio.sleep(started - time.time())
        # A clock that was set back meanwhile, or a sleep that ended early: once more.
        if time.time() >= started:
            return started
