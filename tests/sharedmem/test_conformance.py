"""The shared memory ``sharedmem`` keeps every promise of the kit, over its real service in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.model.memory import Limits
from discomputify_sharedmem.client import SharedMem
from discomputify_sharedmem.options import SharedMemOptions
from discomputify_sharedmem.service import SharedMemNode
from discomputify_testkit.confs import make_conf
from discomputify_testkit.loopback import Faults, LoopbackCaller, no_faults
from discomputify_testkit.memory import Connect, MemoryConformance


class TestSharedMem(MemoryConformance):
    @asynccontextmanager
    async def make_memory(
        self, folder: Path, limits: Limits | None = None, faults: Faults = no_faults
    ) -> AsyncIterator[Connect]:
        self.conf = make_conf()
        self.options = SharedMemOptions(**attrs.asdict(limits or Limits()))
        self.callers: list[LoopbackCaller] = []
        self.node = SharedMemNode(self.conf, self.options)
        await self.node.open()
        memories: list[SharedMem] = []

        def connect() -> SharedMemory:
            caller = LoopbackCaller(self.node.operations(), faults=faults)
            self.callers.append(caller)
            memories.append(SharedMem(self.conf, self.options, caller))
            return memories[-1]

        try:
            yield connect
        finally:
            for memory in memories:
                await memory.close()
            for caller in self.callers:
                await caller.close()
            await self.node.close()

    async def lose(self, memory: SharedMemory) -> None:
        await self.node.close()
        self.node = SharedMemNode(self.conf, self.options)
        await self.node.open()
        for caller in self.callers:
            caller.operations = self.node.operations()
