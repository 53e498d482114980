"""The way of a client to its cluster: questions to the master, the store, and how long either is waited for.

Not here: what is asked (client.py, submitting.py).
"""

from __future__ import annotations

from typing import Any, TypeVar

from discomputify_core.edge.connect import Connection, hello
from discomputify_core.edge.machine import owner
from discomputify_core.edge.opening import Loaded
from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.codec import from_plain, to_plain

T = TypeVar("T")

#: Seconds in which the first answer must come: a command that cannot reach its cluster ends after this.
FIRST_CONTACT = 8.0
#: Seconds for later answers: a master that restarts is waited for.
PATIENCE = 60.0


class Contact:
    """Connections to one cluster, made when first needed."""

    def __init__(self, loaded: Loaded) -> None:
        self._connection = Connection(loaded, hello("client", owner()))
        self._master = self._connection.master()
        self._store: FileStore | None = None
        self._met = False
        self._met_the_store = False

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
        patience = (PATIENCE if self._met else FIRST_CONTACT) + timeout
        reply = await self._master.call(operation, to_plain(question), timeout=patience)
        self._met = True
        return reply.data, bytes(reply.body)
