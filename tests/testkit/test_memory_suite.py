"""The in-memory shared memory keeps what shared memories promise."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.model.memory import Limits
from discomputify_testkit.fakes.memory_shared import FakeSharedMemory, FakeTable
from discomputify_testkit.loopback import Faults, no_faults
from discomputify_testkit.memory import LIMITS, Capabilities, Connect, MemoryConformance


class TestFakeSharedMemory(MemoryConformance):
    capabilities = Capabilities(over_calls=False)

    @contextlib.asynccontextmanager
    async def make_memory(
        self, folder: Path, limits: Limits = LIMITS, faults: Faults = no_faults
    ) -> AsyncIterator[Connect]:
        table = FakeTable(limits)
        yield lambda: FakeSharedMemory(shared=table)
        for client in list(table.clients):
            await client.close()

    async def lose(self, memory: SharedMemory) -> None:
        assert isinstance(memory, FakeSharedMemory)
        memory.lose("the test wants it")
