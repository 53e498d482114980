"""The Redis server: connections to it, and scripts that it carries out, once each however often a connection breaks.

Here: connecting, repeating, which server and which run of it is spoken to. Not here: what scripts mean (memory.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from discomputify_core.errors import ChannelClosed, Unreachable
from discomputify_redis import failures
from discomputify_redis.codec import Argument, Reply
from discomputify_redis.failures import PASSING, Moved, Restarted
from discomputify_redis.keys import scopes_key, table_key
from discomputify_redis.options import RedisOptions
from discomputify_redis.scripts import Script, script

#: Most scripts under way at once; more wait for their turn.
MOST_AT_ONCE = 24
#: Seconds for which a server is tried that does not answer.
PATIENCE = 30.0
#: Seconds for a connection, for an answer, and between two tries.
_CONNECTING, _ANSWERING, _PAUSE = 5.0, 20.0, 0.1


class Slots:
    """Numbers under which the server remembers what it answered last: as many as requests are under way at once.

    A slot is used again when its request has been answered or given up; ``turn`` grows, so that the server knows a
    request that comes twice from a new one, and one that comes late from both.
    """

    def __init__(self) -> None:
        self._free = list(range(MOST_AT_ONCE - 1, -1, -1))
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._turn = 0

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[tuple[int, Callable[[], int]]]:
        """A slot, and what gives the next turn."""
        async with self._room:
            slot = self._free.pop()
            try:
                yield slot, self._next
            finally:
                self._free.append(slot)

    def _next(self) -> int:
        self._turn += 1
        return self._turn


class Server:
    """See the module. *client* names this side: 12 letters and digits."""

    def __init__(self, options: RedisOptions) -> None:
        self.client = secrets.token_hex(6)
        self.where = options.where
        #: Nothing is tried again any more, and nothing is tried at all any more.
        self.closing = self.closed = False
        self._options = options
        #: The run of the server that answers; another one is refused.
        self._run = ""
        self._redis = self._connect()

    def _connect(self, **place: Any) -> Redis:
        pool = ConnectionPool.from_url(
            self._options.url,
            max_connections=MOST_AT_ONCE + 8,
            protocol=2,
            decode_responses=False,
            socket_timeout=_ANSWERING,
            socket_connect_timeout=_CONNECTING,
            socket_keepalive=True,
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=self._greet,
        )
        pool.connection_kwargs.update(place)
        return Redis.from_pool(pool)

    async def _greet(self, connection: AbstractConnection) -> None:
        """Log in, and look whether this is the server that was spoken to before."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        facts = _facts(await connection.read_response())
        run = facts.get("run_id", "")
        if self._run not in ("", run):
            raise Restarted("started again")
        self._run = run

    async def open(self) -> str:
        """The name of the table that the server holds for us now, made if there is none.

        Raises:
            BadConf: the server refuses us, or would lose keys by itself.
            Unreachable: it does not answer.
        """

        async def opened() -> Any:
            if _facts(await self._command("INFO", "memory")).get("maxmemory_policy", "").startswith("allkeys"):
                await self._check_eviction()
            keys = (table_key(self._options.prefix), scopes_key(self._options.prefix))
            return await self._evaluate(script("table"), keys, (self._run, secrets.token_hex(8)))

        self._run = ""
        try:
            held = await self._tried(opened, lambda: None)
        except Moved as error:  # a Redis Cluster: another of its servers keeps what has our prefix
            await self.disconnect()
            self._run = ""
            self._redis = self._connect(host=error.host, port=error.port)
            held = await self._tried(opened, lambda: None)
        return bytes(held).decode()

    async def _check_eviction(self) -> None:
        facts = _facts(await self._command("INFO", "memory"))
        if int(facts.get("maxmemory", "0")) > 0:
            raise failures.evicting(self.where, facts["maxmemory_policy"])

    async def run(
        self, name: str, keys: Sequence[str], arguments: Sequence[Argument], go_on: Callable[[], None]
    ) -> Reply:
        """What the script *name* answers. It may be sent several times; *arguments* let the server know it again.

        Args:
            go_on: asked before each try; raises where there is no point in another.

        Raises:
            Restarted: the server has been started again, or another one answers.
            Unreachable: no answer for :data:`PATIENCE` seconds.
            BadConf, Refused, MemoryFull: what the server said.
        """
        wanted = script(name)
        try:
            return cast(Reply, await self._tried(lambda: self._evaluate(wanted, keys, arguments), go_on))
        except Moved:
            raise Restarted("moved to another server of its cluster") from None

    async def check(self, table: str) -> None:
        """One try to see that the server still holds *table*.

        Raises:
            Restarted: it does not.
            RedisError: no answer.
        """
        held = await self._command("GET", table_key(self._options.prefix))
        if held != table.encode():
            raise Restarted("emptied")

    async def _tried(self, act: Callable[[], Any], go_on: Callable[[], None]) -> Any:
        """What *act* returns, tried until the patience ends."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + PATIENCE, 0.0
        while True:
            go_on()
            if self.closed:
                raise closed_here()
            try:
                return await act()
            except Restarted:
                raise
            except (exceptions.RedisError, OSError, asyncio.TimeoutError) as error:
                meant = failures.moved(error) or failures.for_user(error, self.where)
                if meant is not None:
                    raise meant from error
                if self.closing:
                    raise closed_here() from error
                if loop.time() > until:
                    raise self._unreachable(error) from error
            await asyncio.sleep(pause)
            pause = _PAUSE

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"The Redis server at {self.where} did not answer for {PATIENCE:g} s ({error}). "
            "See that it runs, and that 'url' in the section 'redis' of the conf is right.",
            address=self.where,
        )

    async def _evaluate(self, wanted: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        try:
            return await self._command("EVALSHA", wanted.digest, len(keys), *keys, *arguments)
        except exceptions.NoScriptError:
            return await self._command("EVAL", wanted.text, len(keys), *keys, *arguments)

    async def _command(self, *words: Argument | int) -> Any:
        return await self._redis.execute_command(*words)  # type: ignore[no-untyped-call]

    def pubsub(self) -> PubSub:
        """A connection that listens; the caller closes it."""
        return self._redis.pubsub()

    async def disconnect(self) -> None:
        """Break all connections; calls under way try again."""
        with contextlib.suppress(*PASSING):
            await self._redis.connection_pool.disconnect(inuse_connections=True)

    async def close(self) -> None:
        """Break all connections, for good. Idempotent."""
        self.closed = True
        await self.disconnect()
        with contextlib.suppress(*PASSING):
            await self._redis.aclose()


def closed_here() -> ChannelClosed:
    """That this side has closed."""
    return ChannelClosed("This shared memory was closed.", reason="closed by this side")


def _facts(raw: Any) -> dict[str, str]:
    """What INFO says; redis-py may have read it already."""
    if isinstance(raw, dict):
        return {str(key): str(value) for key, value in raw.items()}
    lines = bytes(raw).decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
