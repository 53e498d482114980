"""The service's clients: what each waits for, and what it has still to be told. Not here: the table, operations."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

import attrs

from discomputify_core.errors import Refused
from discomputify_sharedmem.packing import Pack, pack_list, pack_outcome, pack_wake, pieces
from discomputify_sharedmem.table import Outcome
from discomputify_sharedmem.wire import ENOUGH


@attrs.define(eq=False)
class Wake:
    """A wake-up that its client has not acknowledged."""

    number: int
    tickets: list[int]
    #: None until it is sent first.
    packed: bytes | None
    outcome: Outcome
    more: bool


class Guest:
    """A client process.

    What it is told (replies to its batches, wake-ups) is kept until it says that it has it: a broken connection loses
    nothing, and nothing is done twice.
    """

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.heard_at = now
        #: Tickets that wait in the table.
        self.parked: set[int] = set()
        self._settled = 0
        self._replies: OrderedDict[int, bytes] = OrderedDict()
        self._wakes: deque[Wake] = deque()
        self._number = 0
        self._news: asyncio.Future[None] | None = None

    # --- batches ---

    def settle(self, below: int) -> None:
        """It has the replies to all batches below this number."""
        self._settled = max(self._settled, below)
        while self._replies and next(iter(self._replies)) < self._settled:
            self._replies.popitem(last=False)

    def replied(self, number: int) -> bytes | None:
        """What batch *number* was replied; None for a new one.

        Raises:
            Refused: nobody waits for it any more.
        """
        if number < self._settled:
            raise Refused("This batch came late: nobody waits for its replies any more, and it is not carried out.")
        return self._replies.get(number)

    def reply(self, number: int, body: bytes) -> None:
        """Keep the replies to a batch."""
        self._replies[number] = body

    # --- wake-ups ---

    def tell(self, ticket: int, outcome: Outcome) -> None:
        """Wake *ticket*."""
        self.parked.discard(ticket)
        last = self._wakes[-1] if self._wakes else None
        if last is not None and last.outcome is outcome and last.packed is None and not last.more:
            last.tickets.append(ticket)  # of a round that is complete: many get one answer
        else:
            *first, final = pieces(outcome)
            for piece in first:
                self._add([ticket], piece, more=True)
            self._add([ticket], final, more=False)
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _add(self, tickets: list[int], outcome: Outcome, more: bool) -> None:
        self._number += 1
        self._wakes.append(Wake(self._number, tickets, None, outcome, more))

    def seen(self, number: int) -> None:
        """It has the wake-ups up to this one."""
        while self._wakes and self._wakes[0].number <= number:
            self._wakes.popleft()

    async def news(self, timeout: float) -> None:
        """Return when there are wake-ups, a newer poll takes over, or after *timeout* seconds."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
        if self._wakes:
            return
        self._news = news = asyncio.get_running_loop().create_future()
        await asyncio.wait([news], timeout=timeout)

    def wakes(self, pack: Pack) -> bytes:
        """The first wake-ups that it has not acknowledged, as many as fit into a message."""
        packed: list[bytes] = []
        size = 0
        for wake in self._wakes:
            if wake.packed is None:
                outcome = pack_outcome(pack, wake.outcome)
                wake.packed = pack_wake(pack, wake.number, wake.tickets, wake.more, outcome)
            packed.append(wake.packed)
            size += len(wake.packed)
            if size > ENOUGH:
                break
        return pack_list(b"", packed)

    def leave(self) -> None:
        """It is not waited for any more; its poll, if any, is answered."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
