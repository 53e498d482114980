"""A bad network between two programs: a TCP relay that delays, stalls, damages, repeats, swaps and cuts when told to.

It runs in a thread of its own, so that plain tests and scripts can put it between real processes: let one of them dial
the relay's address instead of the other's. Not here: what happens to the bytes (wire.py).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from discomputify_core.interfaces.transport import Address
from discomputify_testkit.wire import ANYWHERE, Wire

T = TypeVar("T")

#: Seconds for the relay to begin, to do as it is told, and to end.
PROMPT = 10.0


class Relay:
    """A relay in front of *target*; a context manager.

    Args:
        target: where it connects to for everybody who dials it.
        listen: where it listens; port 0: a free one, see ``address``.

    Each method changes what happens to bytes from then on, on all connections, old and new. *way* is ``"there"``
    (from those who dial to the target), ``"back"``, or ``"both"``.
    """

    def __init__(self, target: Address, listen: Address = ANYWHERE) -> None:
        self._target, self._listen = target, listen
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._wire: Wire | None = None

    @property
    def address(self) -> Address:
        """Where to dial it."""
        return self._it.address

    @property
    def _it(self) -> Wire:
        if self._wire is None:
            raise RuntimeError("The relay is not open: use it in a with statement.")
        return self._wire

    def __enter__(self) -> Relay:
        self._thread.start()
        try:
            self._wire = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(PROMPT)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._it.close(), self._loop).result(PROMPT)
        finally:
            self._end()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PROMPT)

    async def _open(self) -> Wire:
        wire = Wire(self._target, self._listen)
        await wire.open()
        return wire

    def _do(self, what: Callable[[Wire], T]) -> T:
        wire = self._it

        async def done() -> T:
            return what(wire)

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(PROMPT)

    def _set(self, way: str, name: str, value: float) -> None:
        def change(wire: Wire) -> None:
            for each in _ways(way):
                setattr(getattr(wire, each), name, value)

        self._do(change)

    def delay(self, seconds: float, way: str = "both") -> None:
        """Every piece takes *seconds* longer."""
        self._set(way, "delay", seconds)

    def rate(self, bytes_per_second: float, way: str = "both") -> None:
        """So many bytes pass in a second; 0: as many as come."""
        self._set(way, "rate", bytes_per_second)

    def damage(self, pieces: int = 1, way: str = "both") -> None:
        """Flip one bit in each of the next *pieces*."""
        self._set(way, "damaged", pieces)

    def repeat(self, pieces: int = 1, way: str = "both") -> None:
        """The next *pieces* pass twice."""
        self._set(way, "repeated", pieces)

    def swap(self, pieces: int = 1, way: str = "both") -> None:
        """Each of the next *pieces* is overtaken by the one after it."""
        self._set(way, "swapped", pieces)

    def stall(self, way: str = "both") -> None:
        """Nothing passes any more, and nobody is told. With one way, the connection is half open."""
        self._do(lambda wire: [getattr(wire, each).stall() for each in _ways(way)])

    def flow(self, way: str = "both") -> None:
        """What was stalled passes now, and all that comes."""
        self._do(lambda wire: [getattr(wire, each).flow() for each in _ways(way)])

    def cut(self) -> None:
        """Break all connections; new ones are taken."""
        self._do(Wire.cut)

    def refuse(self, refused: bool = True) -> None:
        """Take no new connections, or take them again."""

        def change(wire: Wire) -> None:
            wire.open_to_all = not refused

        self._do(change)


def _ways(way: str) -> tuple[str, ...]:
    ways = {"there": ("there",), "back": ("back",), "both": ("there", "back")}
    if way not in ways:
        raise ValueError(f"a way is 'there', 'back' or 'both', not {way!r}")
    return ways[way]
