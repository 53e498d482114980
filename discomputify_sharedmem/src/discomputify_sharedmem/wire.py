"""What clients and the service say to each other: operations, and what they are about. Pure.

Commands and answers are many and small, so they travel in batches: packed by hand, in lists, in the bodies of messages
(packing.py, unpacking.py). Not here: what commands mean (table/).
"""

from __future__ import annotations

from typing import Union

import attrs

from discomputify_core.errors import DiscomputifyError
from discomputify_core.model.memory import Command, Member, Over, Scope, Value

#: Hello -> Table. Before anything else.
HELLO = "memory.hello"
#: A packed batch -> packed replies. The same batch again is not done twice.
DO = "memory.do"
#: Poll -> packed wake-ups, at the latest after HOLD seconds.
WAKE = "memory.wake"
#: Packed Ended.
ENDED = "memory.ended"
#: About.
CLEAR = "memory.clear"
#: About -> packed Listing.
LOOK = "memory.look"
#: Hello: this client goes, and waits for nothing any more.
BYE = "memory.bye"

#: Seconds that the service holds a poll.
HOLD = 20.0
#: Bytes after which a body is full enough, so that a further value, however large, still fits into it.
ENOUGH = 512 * 1024
#: Most bytes of one packed command or answer.
MOST_BYTES = 15 * 1024 * 1024 + 256 * 1024
#: Longest that anything is waited for or leased, seconds: ten years.
LONGEST = 10 * 366 * 24 * 3600.0


@attrs.frozen
class Hello:
    """A client process, by a random id of its own for each table that it meets."""

    client: str


@attrs.frozen
class Table:
    """Answer to :data:`HELLO`: which table this is."""

    table: str


@attrs.frozen
class Poll:
    """A client waits for wake-ups with a higher number than *seen*; it has all replies to batches below *settled*."""

    table: str
    client: str
    seen: int
    settled: int


@attrs.frozen
class About:
    """A scope, and one name in it; *table* is "" where any will do."""

    table: str
    scope: Scope
    name: str = ""


@attrs.frozen
class Ended:
    """Attempts that are over."""

    table: str
    scope: Scope
    total: int
    over: tuple[Over, ...] = ()


@attrs.frozen
class Cancel:
    """In place of a command: *ticket* waits no more. Answer: ``found``, whether it did."""

    ticket: int


@attrs.frozen
class PutBack:
    """In place of a command: a value that was popped is not wanted."""

    name: str
    value: Value


Order = Union[Command, Cancel, PutBack]


@attrs.frozen
class Asked:
    """One command of a batch."""

    ticket: int
    member: Member
    wait: float
    #: A command that is malformed is refused; others of the batch are carried out.
    order: Order | DiscomputifyError


@attrs.frozen
class Batch:
    """Commands that were sent together, and by whom."""

    table: str
    client: str
    number: int
    settled: int
    asked: tuple[Asked, ...]
