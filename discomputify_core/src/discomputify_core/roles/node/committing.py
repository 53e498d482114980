"""Bringing what is kept of an attempt into the store, with patience; says so when that takes long.

A program that has come to a good end may have taken days: its outputs wait here for as long as the store is away or
full, and nothing but the end of the attempt itself ends that. Not here: what is kept (keeping.py), what becomes of the
attempt (attempt.py), fetching (fetching.py).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone

import attrs

from discomputify_core.edge import clock
from discomputify_core.edge.deadline import within
from discomputify_core.errors import BlobMissing, ChannelClosed, DiscomputifyError, Refused, StoreFull, Unreachable
from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.ids import ProcessId
from discomputify_core.roles.node.keeping import Kept

log = logging.getLogger("discomputify.node")

#: Errors of a store that is not there just now.
AWAY = (Unreachable, ChannelClosed, Refused)
#: Seconds for which logs of a failure wait for a store that is away.
PATIENCE = 120.0
#: Seconds for a connection to the store, and after which a commit under way is slow: both are said then.
REACH, SLOW = 3.0, 5.0
#: Seconds between two tries: the first pause, which doubles up to the longest.
PAUSE, LONGEST_PAUSE = 1.0, 5.0
#: How often blobs are sent again that the store lost between their arrival and the commit.
TRIES = 3


def since_now() -> str:
    """The time, as in "(since 12:34:56 UTC)"."""
    return datetime.fromtimestamp(clock.wall(), timezone.utc).strftime("%H:%M:%S UTC")


@attrs.frozen
class Commits:
    """The way of attempts into the store.

    Args:
        store: it.
        address: where it is, for people.
        meet: connects to it within some seconds, or raises Unreachable; a commit itself waits for much longer.
    """

    store: FileStore
    address: str
    meet: Callable[[float], Awaitable[None]]

    async def commit(
        self,
        process_id: ProcessId,
        tree: str,
        kept: Kept,
        waiting: Callable[[str], None],
        *,
        what: str = "its program has ended; its outputs",
        patience: float | None = None,
        give_up: asyncio.Event | None = None,
    ) -> str:
        """Commit, asking a store that is away or full again; returns the manifest's digest.

        Args:
            process_id, tree: the job, and the name of the tree to be made.
            kept: what it is.
            waiting: told, in a sentence, whenever there is waiting for the store.
            what: what waits, as the sentence begins.
            patience: seconds for which a store that is away is waited for; one that is full is not.
            give_up: both are waited for until it is set, however long that takes.

        Raises:
            Unreachable, ChannelClosed, Refused, StoreFull: it was away or full for all that time.
            DiscomputifyError: as for :meth:`FileStore.put` and :meth:`FileStore.commit`.
        """
        try_ = _Try(self, waiting, what, PATIENCE if patience is None else patience, give_up)
        pause, lost = PAUSE, 0
        while True:
            slow = asyncio.get_running_loop().call_later(SLOW, try_.say, "are on their way to", "")
            try:
                await self.meet(REACH)
                await self.store.put(process_id, kept.blobs)
                return await self.store.commit(process_id, tree, kept.manifest)
            except StoreFull as error:
                try_.check_room(error)
                try_.say("wait for room in", f": {error}")
            except AWAY as error:
                try_.check_patience(error)
                try_.say("wait for", f": {error}")
            except BlobMissing:
                lost += 1
                if lost == TRIES:
                    raise
            finally:
                slow.cancel()
            await try_.pause(clock.jittered(pause))
            pause = min(pause * 2, LONGEST_PAUSE)


class _Try:
    """One commit: for how long it waits, and what it says meanwhile."""

    def __init__(
        self,
        commits: Commits,
        waiting: Callable[[str], None],
        what: str,
        patience: float,
        give_up: asyncio.Event | None,
    ) -> None:
        self._waiting = waiting
        self._give_up = give_up
        self._deadline = math.inf if give_up is not None else clock.now() + patience
        self._parts = (what, f"the store at {commits.address} (since {since_now()})")
        self._said = ""

    def say(self, does: str, why: str) -> None:
        """Say what there is waiting for, if that is something new."""
        what, store = self._parts
        sentence = f"{what} {does} {store}"
        if sentence != self._said:
            log.warning("%s%s", sentence, why)
            self._waiting(sentence)
        self._said = sentence

    def check_patience(self, error: DiscomputifyError) -> None:
        """Raise *error* if there is no waiting any more."""
        if clock.now() > self._deadline or (self._give_up is not None and self._give_up.is_set()):
            raise error

    def check_room(self, error: StoreFull) -> None:
        """Raise *error* if what is to be kept does not wait for room, or not any more."""
        if self._give_up is None or self._give_up.is_set():
            raise error

    async def pause(self, seconds: float) -> None:
        """Wait, but not for what is given up."""
        if self._give_up is None:
            await asyncio.sleep(seconds)
            return
        try:
            await within(seconds, self._give_up.wait())
        except asyncio.TimeoutError:
            return
