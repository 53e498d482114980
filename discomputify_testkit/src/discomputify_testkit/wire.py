"""A wire between two ends that speak TCP, in the test's hands: it records, stalls, damages and cuts what passes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from discomputify_core.interfaces.transport import Address

#: Seconds within which the wire's own tasks end.
CLOSE = 5.0


class Wire:
    """A proxy on 127.0.0.1 in front of *target*; dial ``address``. Use :func:`open_wire`."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._damage = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.address = Address("127.0.0.1", 0)
        #: Every byte that passed, both ways.
        self.recorded = bytearray()

    async def open(self) -> None:
        """Start listening."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = Address("127.0.0.1", self._server.sockets[0].getsockname()[1])

    def stall(self) -> None:
        """From now on nothing passes, and nobody is told: as when a cable is pulled."""
        self._flowing.clear()

    def damage(self) -> None:
        """Flip one bit in what passes next."""
        self._damage = True

    def cut(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(asyncio.current_task())
        self._writers.add(writer)
        try:
            onwards = await asyncio.wait_for(asyncio.open_connection(self._target.host, self._target.port), CLOSE)
        except (OSError, asyncio.TimeoutError):
            writer.transport.abort()
            return
        self._writers.add(onwards[1])
        pumps = [
            asyncio.get_running_loop().create_task(self._pump(reader, onwards[1])),
            asyncio.get_running_loop().create_task(self._pump(onwards[0], writer)),
        ]
        for pump in pumps:
            self._keep(pump)
        await asyncio.gather(*pumps)

    def _keep(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                if self._damage:
                    self._damage = False
                    data = data[:-1] + bytes([data[-1] ^ 1])
                self.recorded += data
                writer.write(data)
                await writer.drain()
        await self._flowing.wait()
        writer.close()

    async def close(self) -> None:
        """Break everything and stop listening."""
        if self._server:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE)
        for writer in self._writers:
            writer.close()


@contextlib.asynccontextmanager
async def open_wire(target: Address) -> AsyncIterator[Wire]:
    """A :class:`Wire` in front of *target*."""
    wire = Wire(target)
    await wire.open()
    try:
        yield wire
    finally:
        await wire.close()
