"""The network between a node and the master: connections that delay, hold up, and break.

What is sent over one connection arrives in order, once, or not at all, as the transport promises. All the rest of what
a network can do is made of that: messages that were held up are late, what is told again over the next connection is
there twice. Not here: what is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from discomputify_testkit.simulator.agenda import Agenda

#: Seconds that a message takes.
LATENCY = 0.001

TO_MASTER, TO_NODE = 0, 1


class Link:
    """One connection."""

    def __init__(self, agenda: Agenda, node: str, held: list[float]) -> None:
        self.node = node
        self.open = True
        self._agenda = agenda
        #: Until when nothing gets through, by direction; shared by all connections of a node.
        self._held = held
        self._last = [0.0, 0.0]

    def send(self, way: int, do: Callable[..., None], *args: Any) -> None:
        """Call ``do(*args)`` at the other end of *way*, unless the connection breaks before."""
        at = max(self._agenda.now + LATENCY, self._last[way], self._held[way])
        self._last[way] = at
        self._agenda.at(at, self._arrive, do, args)

    def _arrive(self, do: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.open:
            do(*args)
