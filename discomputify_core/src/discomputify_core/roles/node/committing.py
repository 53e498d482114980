"""Bringing what is kept of an attempt into the store, with patience; says so when that takes long.

Not here: what is kept (keeping.py), what becomes of the attempt (attempt.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone

import attrs

from discomputify_core.edge import clock
from discomputify_core.errors import Unreachable
from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.roles.node.keeping import Kept

log = logging.getLogger("discomputify.node")

#: Seconds for which a store that does not answer is asked again before an attempt is given up.
PATIENCE = 120.0
#: Seconds for a connection to the store, and after which a commit under way is slow: both are said then.
REACH, SLOW = 3.0, 5.0


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
        self, process_id: ProcessId, attempt: AttemptId, kept: Kept, waiting: Callable[[str], None]
    ) -> str:
        """Commit, asking a store that does not answer again for a while; returns the manifest's digest.

        Args:
            waiting: told, in a sentence, whenever the attempt has to wait for the store.

        Raises:
            Unreachable: it did not answer for all that time.
            DiscomputifyError: as for :meth:`FileStore.put` and :meth:`FileStore.commit`.
        """
        deadline = clock.now() + PATIENCE
        since = datetime.fromtimestamp(clock.wall(), timezone.utc).strftime("%H:%M:%S UTC")

        said = ""

        def say(what: str, why: str) -> None:
            nonlocal said
            sentence = f"its program has ended; its outputs {what} the store at {self.address} (since {since})"
            if sentence != said:
                log.warning("attempt %s: %s%s", attempt, sentence, why)
                waiting(sentence)
            said = sentence

        while True:
            slow = asyncio.get_running_loop().call_later(SLOW, say, "are on their way to", "")
            try:
                await self.meet(REACH)
                await self.store.put(process_id, kept.blobs)
                return await self.store.commit(process_id, attempt, kept.manifest)
            except Unreachable as error:
                if clock.now() > deadline:
                    raise
                say("wait for", f": {error}")
            finally:
                slow.cancel()
            await asyncio.sleep(clock.jittered(1.0))
