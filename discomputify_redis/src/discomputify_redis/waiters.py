"""Those who wait in this process: an id for the server, and an event that wakes them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterable, Iterator

import attrs


@attrs.define(eq=False)
class Waiter:
    """One call that waits."""

    id: str
    look_again: asyncio.Event = attrs.field(factory=asyncio.Event)


class Waiters:
    """All of them, by id. Ids begin with *client*, the 12 letters by which scripts know whom to tell."""

    def __init__(self, client: str) -> None:
        self._client = client
        self._numbers = itertools.count(1)
        self._waiters: dict[str, Waiter] = {}

    @contextlib.contextmanager
    def one(self) -> Iterator[Waiter]:
        """A new waiter, known until the end of the block."""
        waiter = Waiter(f"{self._client}.{next(self._numbers)}")
        self._waiters[waiter.id] = waiter
        try:
            yield waiter
        finally:
            del self._waiters[waiter.id]

    def wake(self, ids: Iterable[str] | None) -> None:
        """Let those of *ids*, or all, look again. Ids that nobody has any more are left alone."""
        for each in list(self._waiters) if ids is None else ids:
            if (waiter := self._waiters.get(each)) is not None:
                waiter.look_again.set()
