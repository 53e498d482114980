"""Patience with the store while a part's files are put in place; says what there is waiting for.

Not here: which files those are and where they go (workspace.py, checkpoints.py), outputs (committing.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from discomputify_core.edge import clock
from discomputify_core.errors import BlobDamaged, BlobMissing, DiscomputifyError
from discomputify_core.roles.node.committing import AWAY, LONGEST_PAUSE, PAUSE, REACH, SLOW, Commits, since_now

log = logging.getLogger("discomputify.node")

#: Seconds for which a store that is away is waited for before the part is given back.
PATIENCE = 600.0
#: Seconds for which a blob that the store lost may be brought back by whoever has it.
MENDING = 90.0

T = TypeVar("T")


class StoreAway(DiscomputifyError):
    """The store was away for too long. Nobody's part is to blame."""


async def patiently(
    commits: Commits,
    fetch: Callable[[], Awaitable[T]],
    waiting: Callable[[str], None],
    lost: Callable[[], None] = lambda: None,
) -> T:
    """What *fetch* gives, asked again while the store is away or lacks what others may still have.

    Args:
        commits: the way to the store.
        fetch: gets files; may be asked again after a failure.
        waiting: told, in a sentence, whenever there is waiting for the store; "" when that is over.
        lost: called when the store has lost something.

    Raises:
        StoreAway: it was away for :data:`PATIENCE` seconds.
        DiscomputifyError: whatever else *fetch* raises; BlobMissing and BlobDamaged after :data:`MENDING` seconds.
    """
    watch = _Watch(commits, waiting)
    watching = asyncio.ensure_future(watch.run())
    try:
        return await _again(commits, fetch, watch, lost)
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        watch.say("")


async def _again(commits: Commits, fetch: Callable[[], Awaitable[T]], watch: _Watch, lost: Callable[[], None]) -> T:
    began, pause = clock.now(), PAUSE
    while True:
        try:
            return await fetch()
        except AWAY as error:
            if clock.now() - began > PATIENCE:
                minutes = round(PATIENCE / 60)
                raise StoreAway(f"the store at {commits.address} was away for {minutes} minutes: {error}") from error
            watch.say(watch.away, f": {error}")
        except (BlobMissing, BlobDamaged) as error:
            if clock.now() - began > MENDING:
                raise
            lost()
            watch.say(
                f"the store at {commits.address} has lost some of its files; asking who still has them", f": {error}"
            )
        await asyncio.sleep(clock.jittered(pause))
        pause = min(pause * 2, LONGEST_PAUSE)


class _Watch:
    """Looks whether the store is there while something is fetched: a fetch itself may not notice for a minute."""

    def __init__(self, commits: Commits, waiting: Callable[[str], None]) -> None:
        self._commits = commits
        self._waiting = waiting
        self._said = ""
        self.away = f"its files wait for the store at {commits.address} (since {since_now()})"

    def say(self, sentence: str, why: str = "") -> None:
        """Say what there is waiting for, if that is something new."""
        if sentence == self._said:
            return
        self._said = sentence
        if sentence:
            log.warning("%s%s", sentence, why)
        self._waiting(sentence)

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await asyncio.sleep(SLOW)
            try:
                await self._commits.meet(REACH)
            except AWAY as error:
                self.say(self.away, f": {error}")
            else:
                if self._said == self.away:
                    self.say("")
