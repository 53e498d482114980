"""The shared memory ``sharedmem`` keeps every promise of the kit, over its real service in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from discomputify_core.edge.calls import Link
from discomputify_core.edge.serving import Server
from discomputify_core.errors import DiscomputifyError
from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.memory import Add, Answer, Append, Command, Get, Limits, Member, Put, Remove
from discomputify_core.model.message import Hello
from discomputify_sharedmem.client import SharedMem
from discomputify_sharedmem.options import SharedMemOptions
from discomputify_sharedmem.service import SharedMemNode
from discomputify_tcp.transport import TcpTransport
from discomputify_testkit.confs import make_conf
from discomputify_testkit.loopback import Faults, LoopbackCaller, no_faults
from discomputify_testkit.memory import Connect, MemoryConformance
from discomputify_testkit.memory.base import Capabilities


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


class Begun(SharedMem):
    """Commands go by ``begin`` wherever that can be, as a computing node's do."""

    async def do(self, member: Member, command: Command, wait: float = 0.0) -> Answer:
        if isinstance(command, (Put, Get, Remove, Add, Append)) and not wait:
            future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

            def told(outcome: Answer | DiscomputifyError) -> None:
                if isinstance(outcome, Answer):
                    future.set_result(outcome)
                else:
                    future.set_exception(outcome)

            give_up = self.begin(member, command, told)
            if give_up is not None:
                try:
                    return await future
                finally:
                    give_up()
        return await super().do(member, command, wait)


class TestBegunOverTcp(MemoryConformance):
    """Where nobody waits in between: begun by the client, answered at once by the service, over real sockets."""

    capabilities = Capabilities(can_be_lost=False, over_calls=False)

    @asynccontextmanager
    async def make_memory(
        self, folder: Path, limits: Limits | None = None, faults: Faults = no_faults
    ) -> AsyncIterator[Connect]:
        conf, options = make_conf(), SharedMemOptions(**attrs.asdict(limits or Limits()))
        node = SharedMemNode(conf, options)
        await node.open()
        server = Server(TcpTransport(conf), Hello("shared_mem_node"), node.operations())
        (address,) = await server.open((Address("127.0.0.1", 0),))
        links: list[Link] = []
        memories: list[SharedMem] = []

        def connect() -> SharedMemory:
            links.append(Link(TcpTransport(conf), address, "shared_mem_node", Hello("computing_node")))
            memories.append(Begun(conf, options, links[-1]))
            return memories[-1]

        try:
            yield connect
        finally:
            for memory in memories:
                await memory.close()
            for link in links:
                await link.close()
            await server.close()
            await node.close()
