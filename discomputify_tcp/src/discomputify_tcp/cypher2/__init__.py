"""CYPHER/2 as a value: bytes in, events out; messages in, bytes out.

Here: handshake, frames, messages and their limits. Not here: sockets, clocks, randomness, threads, logs; the
ephemeral keys of the handshake are an argument. :class:`Connection` is the whole API.
"""

from discomputify_tcp.cypher2.connection import Connection
from discomputify_tcp.cypher2.errors import CannotOpen
from discomputify_tcp.cypher2.events import Confirmed, Event, Greeted, Ping, Pong, Received
from discomputify_tcp.cypher2.hello import versions_agree
from discomputify_tcp.cypher2.limits import EPHEMERAL_KEY, MAX_UNCONFIRMED, PREAMBLE
from discomputify_tcp.cypher2.psk import derive_psk

__all__ = [
    "EPHEMERAL_KEY",
    "MAX_UNCONFIRMED",
    "PREAMBLE",
    "CannotOpen",
    "Confirmed",
    "Connection",
    "Event",
    "Greeted",
    "Ping",
    "Pong",
    "Received",
    "derive_psk",
    "versions_agree",
]
