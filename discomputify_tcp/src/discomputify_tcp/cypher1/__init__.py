"""CYPHER/1, the wire format of the old published packages, as a value: bytes in, events out; answers in, bytes out.

::

    message = token + NUL                      token: Fernet, of the JSON text below, in URL-safe base64 ("gAAAA…")
    text    = {"PATH": text, "OPERATION": text, "DATA": anything, "METADATA": object}

There is no handshake. A client sends a request, waits for its answer, then may send the next. On a broken connection
it connects again and sends the very same token, for as long as it takes; so every request may arrive more than once.
An answer is the request's object with DATA, and often METADATA, replaced. A token carries the second in which it was
made, and nothing else that would tell a repeat from a request.

Here: messages, what their time allows, and what has to be remembered of them so that none is done twice
(:class:`Memory`). Not here: sockets, clocks, threads, logs. The vectors inside tokens are random, which is the one
thing here that is not an argument. What the operations do is the services'. Shares no code with cypher2/.
"""

from discomputify_tcp.cypher1.connection import Connection
from discomputify_tcp.cypher1.errors import CannotOpen
from discomputify_tcp.cypher1.events import Content, Declined, Event, Received
from discomputify_tcp.cypher1.limits import MAX_AGE, MAX_AHEAD, MAX_TOKEN
from discomputify_tcp.cypher1.memory import Memory
from discomputify_tcp.cypher1.operations import changes
from discomputify_tcp.cypher1.tokens import lossy

__all__ = [
    "MAX_AGE",
    "MAX_AHEAD",
    "MAX_TOKEN",
    "CannotOpen",
    "Connection",
    "Content",
    "Declined",
    "Event",
    "Memory",
    "Received",
    "changes",
    "lossy",
]
