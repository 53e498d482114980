"""A wire between two ends that speak TCP, in the test's hands: it records, delays, stalls, damages and cuts.

For tests that run in a loop of their own; :mod:`discomputify_testkit.relay` is the same for all others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import attrs

from discomputify_core.interfaces.transport import Address

#: Seconds within which the wire's own tasks end.
CLOSE = 5.0
#: Bytes read at once, and pieces that may be on their way in one direction of one connection.
PIECE, MOST_PIECES = 65536, 256
#: Seconds for which a piece that is to be overtaken waits for another one.
HELD = 0.5
#: A free port of this machine alone.
ANYWHERE = Address("127.0.0.1", 0)


@attrs.define
class Way:
    """What happens to the bytes of one direction, of all connections."""

    #: Seconds that every piece takes longer.
    delay: float = 0.0
    #: Bytes that pass in a second; 0: as many as come.
    rate: float = 0.0
    #: Pieces that come next whose last bit is flipped, that pass twice, and that are overtaken by the one after them.
    damaged: int = 0
    repeated: int = 0
    swapped: int = 0
    _flowing: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._flowing.set()

    def stall(self) -> None:
        """From now on nothing passes, and nobody is told: as when a cable is pulled."""
        self._flowing.clear()

    def flow(self) -> None:
        """What was stalled passes now, and all that comes."""
        self._flowing.set()

    async def passes(self) -> None:
        """Wait until something may pass."""
        await self._flowing.wait()

    def pieces(self, data: bytes) -> list[bytes]:
        """What becomes of a piece: itself, spoilt, or twice."""
        if self.damaged:
            self.damaged -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        if self.repeated:
            self.repeated -= 1
            return [data, data]
        return [data]


class Wire:
    """A relay at *listen* (a free port of 127.0.0.1) in front of *target*; dial ``address``. Use :func:`open_wire`."""

    def __init__(self, target: Address, listen: Address = ANYWHERE) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.address = listen
        #: From those who dial to the target, and back.
        self.there, self.back = Way(), Way()
        #: Whether connections are taken; those who dial hang up else.
        self.open_to_all = True
        #: Every byte that passed, both ways.
        self.recorded = bytearray()

    async def open(self) -> None:
        """Start listening."""
        self._server = await asyncio.start_server(self._connected, self.address.host, self.address.port)
        self.address = Address(self.address.host, self._server.sockets[0].getsockname()[1])

    def stall(self) -> None:
        """Stall both ways."""
        self.there.stall()
        self.back.stall()

    def flow(self) -> None:
        """Let both ways flow."""
        self.there.flow()
        self.back.flow()

    def damage(self) -> None:
        """Flip one bit in what passes next, whichever way."""
        self.there.damaged = self.back.damaged = 1

    def cut(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(asyncio.current_task())
        self._writers.add(writer)
        if not self.open_to_all:
            writer.transport.abort()
            return
        try:
            onwards = await asyncio.wait_for(asyncio.open_connection(self._target.host, self._target.port), CLOSE)
        except (OSError, asyncio.TimeoutError):
            writer.transport.abort()
            return
        self._writers.add(onwards[1])
        pumps = []
        for way, source, sink in ((self.there, reader, onwards[1]), (self.back, onwards[0], writer)):
            on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MOST_PIECES)
            pumps.append(self._read(way, source, on_its_way))
            pumps.append(self._write(way, on_its_way, sink))
        tasks = [asyncio.get_running_loop().create_task(pump) for pump in pumps]
        for task in tasks:
            self._keep(task)
        # Ended by close(), it has ended like any other: the server's own callback would take it for an error.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)

    def _keep(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _next(source: asyncio.StreamReader, seconds: float | None) -> bytes | None:
        """The next piece, b"" at the end; None if there was none for so many *seconds*."""
        try:
            return await asyncio.wait_for(source.read(PIECE), seconds)
        except asyncio.TimeoutError:
            return None

    async def _read(
        self, way: Way, source: asyncio.StreamReader, on_its_way: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        loop = asyncio.get_running_loop()
        held: list[bytes] = []
        with contextlib.suppress(ConnectionError):
            while (data := await self._next(source, HELD if held else None)) != b"":
                if data is None:  # nothing came to overtake it
                    pieces, held = held, []
                    for piece in pieces:
                        await on_its_way.put((loop.time() + way.delay, piece))
                    continue
                await way.passes()
                pieces = way.pieces(data)
                if way.swapped and not held:
                    held = pieces
                    continue
                if held:
                    way.swapped -= 1
                    pieces, held = [*pieces, *held], []
                for piece in pieces:
                    self.recorded += piece
                    await on_its_way.put((loop.time() + way.delay, piece))
        for piece in held:
            await on_its_way.put((loop.time() + way.delay, piece))
        await way.passes()
        await on_its_way.put((loop.time() + way.delay, b""))

    async def _write(
        self, way: Way, on_its_way: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while True:
                due, data = await on_its_way.get()
                if not data:
                    break
                slow = len(data) / way.rate if way.rate else 0.0
                wait = max(due - loop.time(), slow)
                if wait > 0:
                    await asyncio.sleep(wait)
                await way.passes()
                sink.write(data)
                await sink.drain()
        sink.close()

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
