"""The way of a client to its cluster: questions to the master, the store, and how long either is waited for.

Not here: what is asked (client.py, submitting.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from discomputify_core.client.away import Absence, Away
from discomputify_core.client.returning import Returning
from discomputify_core.edge import clock
from discomputify_core.edge.connect import Connection, hello, master_address, store_addresses
from discomputify_core.edge.machine import owner
from discomputify_core.edge.opening import Loaded
from discomputify_core.errors import ChannelClosed, Unreachable
from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.codec import from_plain, to_plain

T = TypeVar("T")

log = logging.getLogger("discomputify.client")

#: Seconds in which the first answer must come: a command that cannot reach its cluster ends after this.
FIRST_CONTACT = 8.0
#: Seconds for later answers: a master that restarts is waited for.
PATIENCE = 60.0
#: Seconds that one of many tries has, where a job that was accepted is waited for however long its master is away.
ONE_TRY = 30.0
#: Seconds that an answer may come after the time until which it was wanted.
LATE = 5.0
#: First and longest wait between two of these tries, seconds.
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0


class Contact:
    """Connections to one cluster, made when first needed."""

    def __init__(self, loaded: Loaded) -> None:
        self._connection = Connection(loaded, hello("client", owner()))
        self._master = self._connection.master()
        self._store: FileStore | None = None
        self._met = False
        self._met_the_store = False
        self._closed = False
        self._returning = Returning(lambda: self.store)
        #: Told when the master or the store has been away for a moment while it is waited for, and when it is back.
        self.on_away: Callable[[Away], None] = _log
        conf = loaded.conf
        self._master_away = Absence("master", str(master_address(conf)), lambda away: self.on_away(away))
        self._store_away = Absence("store", str(store_addresses(conf)[0]), lambda away: self.on_away(away))
        self._master.on_cut = lambda _: self._master_away.missed()

    async def close(self) -> None:
        """Close all connections. Jobs go on."""
        self._closed = True
        for absence in (self._master_away, self._store_away):
            absence.close()
        await self._connection.close()

    @property
    def store(self) -> FileStore:
        """The cluster's store."""
        if self._store is None:
            self._store = self._connection.store()
        return self._store

    async def _met_store(self) -> FileStore:
        """The store, after making sure once that it can be reached: later it is waited for."""
        store = self.store
        if not self._met_the_store:
            await self._connection.meet_store(FIRST_CONTACT)
            self._met_the_store = True
        return store

    async def _ask(self, operation: str, question: Any, kind: type[T], timeout: float = 0.0) -> T:
        data, _ = await self._ask_bytes(operation, question, timeout)
        return from_plain(data, kind)

    async def _ask_bytes(self, operation: str, question: Any, timeout: float = 0.0) -> tuple[Any, bytes]:
        return await self._asked(operation, question, (PATIENCE if self._met else FIRST_CONTACT) + timeout)

    async def _asked(self, operation: str, question: Any, patience: float) -> tuple[Any, bytes]:
        reply = await self._master.call(operation, to_plain(question), timeout=patience)
        self._met = True
        self._master_away.answered()
        return reply.data, bytes(reply.body)

    async def _ask_on(
        self, operation: str, question: Any, kind: type[T], hold: float = 0.0, until: float | None = None
    ) -> T:
        """As :meth:`_ask`, about a job that was accepted: a master that is away is waited for, however long.

        The first question of a client is asked as any other. See :meth:`_ask_bytes_on`.
        """
        data, _ = await self._ask_bytes_on(operation, question, hold, until)
        return from_plain(data, kind)

    async def _ask_bytes_on(
        self, operation: str, question: Any, hold: float = 0.0, until: float | None = None
    ) -> tuple[Any, bytes]:
        """The answer to a question that may be asked any number of times.

        Args:
            hold: seconds for which the master may hold it.
            until: a time of this process's clock after which it is not asked again.

        Raises:
            Unreachable: the client has had no answer yet and gets none; or not until *until*.
        """
        if not self._met:
            return await self._ask_bytes(operation, question, hold)

        def once() -> Awaitable[tuple[Any, bytes]]:
            left = ONE_TRY if until is None else min(ONE_TRY, max(until - clock.now(), 0.0) + LATE)
            return self._asked(operation, question, hold + left)

        return await self._again_and_again(once, self._master_away, until)

    async def with_store(self, work: Callable[[], Awaitable[T]], *, patient: bool) -> T:
        """What *work* gives, which talks to the store; *patient*: again when the store was away, however long."""
        if not patient:
            return await work()

        async def once() -> T:
            found = await work()
            self._store_away.answered()
            return found

        return await self._again_and_again(once, self._store_away)

    async def _again_and_again(
        self, work: Callable[[], Awaitable[T]], absence: Absence, until: float | None = None
    ) -> T:
        wait = FIRST_WAIT
        with absence.waited_for():
            while True:
                try:
                    return await work()
                except (Unreachable, ChannelClosed):
                    if self._closed or (until is not None and clock.now() >= until):
                        raise
                    absence.missed()
                await asyncio.sleep(clock.jittered(wait))
                wait = min(wait * 2, LONGEST_WAIT)


def _log(away: Away) -> None:
    log.warning("the %s at %s is %s", away.role, away.address, "back" if away.back else "away; waiting for it")
