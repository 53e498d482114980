"""The conformance suite, over a real Redis server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.model.memory import Limits
from discomputify_redis.memory import RedisMemory
from discomputify_redis.options import RedisOptions
from discomputify_testkit.confs import make_conf
from discomputify_testkit.loopback import Faults, no_faults
from discomputify_testkit.memory import LIMITS, Capabilities, Connect, MemoryConformance

from .redis_kit import RedisServer, options_with


class TestRedisMemory(MemoryConformance):
    capabilities = Capabilities(over_calls=False)

    @pytest.fixture(autouse=True)
    def _server(self, server: RedisServer, options: RedisOptions) -> None:
        self.server, self.options = server, options

    @contextlib.asynccontextmanager
    async def make_memory(
        self, folder: Path, limits: Limits = LIMITS, faults: Faults = no_faults
    ) -> AsyncIterator[Connect]:
        memories: list[RedisMemory] = []

        def connect() -> SharedMemory:
            memories.append(RedisMemory(make_conf(), options_with(self.options, limits)))
            return memories[-1]

        try:
            yield connect
        finally:
            for memory in memories:
                await memory.close()

    async def lose(self, memory: SharedMemory) -> None:
        assert self.server.say("FLUSHALL") == b"+OK\r\n"
