"""Keeping an eye on the server: hearing which waiters are to look again, and noticing that the table is lost.

Here: the two tasks that do this. Not here: what a loss means (memory.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Union

from redis import exceptions

from discomputify_redis import failures
from discomputify_redis.failures import PASSING, Restarted
from discomputify_redis.server import Server

#: Seconds between two looks at the table; while the server does not answer; and for which it may refuse connections
#: before it is taken for dead.
EVERY, TROUBLED, DEAD = 1.0, 0.2, 3.0

#: Told which waiters are to look again; None: all.
Wake = Callable[[Union[Iterable[str], None]], None]


class Watch:
    """Watches *table* from :meth:`start` until it is lost or :meth:`stop`; *lost* is told why, at most once."""

    def __init__(self, server: Server, table: str, channel: str, wake: Wake, lost: Callable[[str], None]) -> None:
        self._server, self._table, self._channel = server, table, channel
        self._wake, self._lost = wake, lost
        self._listening: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; returns when wake-ups are heard, or soon if they cannot be: waiters look by themselves, too."""
        self._looking = asyncio.get_running_loop().create_task(self._look())
        timer = asyncio.get_running_loop().call_later(EVERY, self._ready.set)
        try:
            await self._ready.wait()
        finally:
            timer.cancel()

    async def stop(self) -> None:
        """End both tasks. Idempotent."""
        tasks = [task for task in (self._looking, self._listening) if task and task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        refused_since: float | None = None
        while True:
            if self._listening is None or self._listening.done():
                self._listening = loop.create_task(self._listen())
            pause = EVERY
            try:
                await self._server.check(self._table)
                refused_since = None
            except Restarted as error:
                return self._end(str(error))
            except (exceptions.RedisError, *PASSING) as error:
                pause = TROUBLED
                refused_since = (refused_since or loop.time()) if failures.is_refusal(error) else None
                if refused_since is not None and loop.time() - refused_since > DEAD:
                    return self._end("is not there any more: it refuses connections")
            await asyncio.sleep(pause)

    def _end(self, what: str) -> None:
        if self._listening is not None:
            self._listening.cancel()
        self._lost(what)

    async def _listen(self) -> None:
        """Pass wake-ups on until the connection breaks."""
        pubsub = self._server.pubsub()
        try:
            await pubsub.subscribe(self._channel)
            while True:
                message = await pubsub.get_message(timeout=None)
                if message is None:
                    continue
                if message["type"] == "message":
                    self._wake(bytes(message["data"]).decode("ascii", "replace").split(" "))
                elif message["type"] == "subscribe":
                    self._ready.set()
                    self._wake(None)  # something may have been said before
        except (exceptions.RedisError, *PASSING):
            self._wake(None)
        finally:
            with contextlib.suppress(*PASSING):
                await pubsub.aclose()  # type: ignore[no-untyped-call]
