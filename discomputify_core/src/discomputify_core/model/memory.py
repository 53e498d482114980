"""Shared memory as values: whose it is, what may be asked of it, what it answers, and its limits.

A *scope* is the shared memory of one generation of one job; nothing of it is seen from another. *Members* are the
attempts that use it. They give *commands*; a shared-memory plugin carries each out at once and completely, or not at
all. Here: the values and what they weigh. Not here: any table that holds them (a plugin's business), how programs
write values (program/values.py), where large ones are kept (roles/node/arrays.py).

Three kinds of things in a scope, with separate names: *entries* (a value, a number or a list under a name), *locks*,
and *rounds* of collectives (barrier, gather, broadcast), which parts of the job take part in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Union

import attrs

from discomputify_core.errors import BadName
from discomputify_core.model.ids import AttemptId, ProcessId

#: Most bytes of a name, as UTF-8.
MAX_NAME_BYTES = 256
#: What an entry, a contribution or a lock counts beside its name and its bytes.
OVERHEAD = 64

#: Kinds of values. ``ref``: a large one, kept by a node; ``meta`` says where, and what it is.
JSON, BYTES, ARRAY, REF = "json", "bytes", "array", "ref"
#: Kinds of rounds.
BARRIER, GATHER, BROADCAST = "barrier", "gather", "broadcast"


@attrs.frozen
class Scope:
    """The shared memory of one generation of a job. A job whose parts all start again gets a new generation."""

    process_id: ProcessId
    #: The job's random key: a later job of the same process id shares nothing with it.
    key: str
    generation: int = 0

    def __str__(self) -> str:
        return f"{self.process_id}:{self.key}:{self.generation}"


@attrs.frozen
class Member:
    """An attempt as shared memory knows it. A part's newer attempt (``number``) replaces its older ones."""

    scope: Scope
    attempt: AttemptId
    part: int
    number: int
    #: How many parts the job has.
    total: int


@attrs.frozen
class Value:
    """A value as it travels and is kept: equal data has equal bytes. Plugins do not look into it.

    ``json``: *data* is JSON text (UTF-8, sorted keys, no spaces). ``bytes``: as it is. ``array``: the elements in
    memory order; ``meta`` has ``dtype``, ``shape`` and ``order`` ("C" or "F"). ``ref``: no data.
    """

    kind: str
    data: bytes = b""
    meta: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def size(self) -> int:
        """What it counts, in bytes."""
        return len(self.data) + (len(str(dict(self.meta))) if self.meta else 0)


# --- commands -----------------------------------------------------------------------------------------


@attrs.frozen
class Put:
    """Set an entry to a value.

    Answer: ``found`` whether it was set; ``version`` that the entry has now (0: there is none); ``value`` that was
    replaced where that was a ``ref``.
    """

    name: str
    value: Value
    #: None: whatever was there; 0: only where nothing is; else: only where the entry has this version.
    version: int | None = None
    #: Remove it when the attempt ends that sets it.
    ephemeral: bool = False


@attrs.frozen
class Get:
    """Read an entry; may wait until there is one. A list is read as ``values``.

    Answer: ``found``, ``version``, and ``value`` or ``values`` (then ``listed`` is true).
    """

    name: str


@attrs.frozen
class Remove:
    """Remove an entry, of whatever kind. Answer: ``found``; ``value`` where that was a ``ref``."""

    name: str


@attrs.frozen
class Add:
    """Add to a number; 0 where there is nothing. Whole numbers stay so. Answer: ``number``, the new one; ``version``.

    A number is an entry whose value is JSON text of a number: ``Put`` and ``Add`` may be mixed. Whole numbers are exact
    from -2**63 to 2**63 - 1; a sum beyond, or an infinite one of doubles, is MemoryFull with "number" as its
    ``fields["limit"]``. With a fraction ("1.0" is one) the sum is a double.
    """

    name: str
    by: int | float = 1


@attrs.frozen
class Append:
    """Put a value at the end of a list, which begins empty. Answer: ``number``, how many it has; ``version``."""

    name: str
    value: Value


@attrs.frozen
class Pop:
    """Take the first value of a list; may wait for one. Those who wait are served in the order in which they came.

    Answer: ``found``, ``value``. A list that has become empty is no entry any more.
    """

    name: str


@attrs.frozen
class Names:
    """Names of entries that begin with *prefix*, sorted. Answer: ``names``, at most 10,000 of them."""

    prefix: str = ""


@attrs.frozen
class Lock:
    """Take a lock for *lease* seconds; may wait for it, served in the order of coming.

    Answer: ``found``; ``number``, a token that grows with every holder of that lock. Held until it is unlocked, its
    lease has ended, or its attempt has. An attempt that asks again for what it holds waits like any other.
    """

    name: str
    lease: float


@attrs.frozen
class Renew:
    """Hold a lock for *lease* seconds from now on. Raises LockLost where *token* does not hold it any more."""

    name: str
    token: int
    lease: float


@attrs.frozen
class Unlock:
    """Give a lock back. Raises LockLost where *token* did not hold it any more."""

    name: str
    token: int


@attrs.frozen
class Meet:
    """Take part in round *round* of the collective *name*; waits until it is complete.

    A barrier or gather is complete when every part of the job (1 to ``total``) has taken part; a broadcast when part
    *root* has, which does not wait itself. Answer to a gather: ``values``, one per part in their order; to a
    broadcast: ``value``; to a barrier nothing.

    Taking part again in a round that is complete gives the same answer, as long as its result is kept; a part that
    takes part again in one that is not replaces what it had brought. Rounds are counted from 1, per kind and name.
    The result of a broadcast counts like an entry until every part that is not over has taken part in it.
    """

    kind: str
    name: str
    round: int
    value: Value | None = None
    root: int = 1
    #: What all parts have to agree on ("sum <f8 (3, 4)"); RoundsDiffer where they do not.
    sign: str = ""


Command = Union[Put, Get, Remove, Add, Append, Pop, Names, Lock, Renew, Unlock, Meet]
#: Commands that may wait.
WAITING = (Get, Pop, Lock, Meet)


@attrs.frozen
class Answer:
    """What came of a command; which fields count is said there."""

    found: bool = True
    version: int = 0
    number: int | float = 0
    value: Value | None = None
    values: tuple[Value, ...] = ()
    listed: bool = False
    names: tuple[str, ...] = ()


# --- what the master says -----------------------------------------------------------------------------

#: How a part stands after one of its attempts: it is tried again, or will never take part any more.
AGAIN, DONE, GONE = "again", "done", "gone"


@attrs.frozen
class Over:
    """An attempt is over: what it held is given back, what it waits for is not waited for any more.

    Also said of parts that never used shared memory, since others may wait for them.
    """

    part: int
    #: Number of the attempt. What this one, or an older one of the part, asks for from now on is refused.
    number: int
    attempt: AttemptId
    #: AGAIN; DONE (its outputs count); GONE (it failed, or its job was stopped).
    stands: str
    reason: str = ""


# --- what people see ----------------------------------------------------------------------------------


@attrs.frozen
class Row:
    """One thing in a scope, as ``discomputify memory`` shows it."""

    #: "value", "list", "lock", "barrier", "gather", "broadcast".
    kind: str
    name: str
    #: Of a value: json, bytes, array, ref; of a list: how many; of a lock: "held by part 3"; of rounds: which round.
    holds: str = ""
    #: Bytes.
    size: int = 0
    version: int = 0
    #: The end of a sentence: "part 4, part 5", parts that wait for it.
    waiting: tuple[int, ...] = ()
    #: Parts that are waited for; of a lock: its holder.
    missing: tuple[int, ...] = ()
    ephemeral: bool = False


@attrs.frozen
class Listing:
    """What a scope holds: entries by name, then locks and unfinished rounds; bounded."""

    rows: tuple[Row, ...] = ()
    #: Bytes and entries in all, and their limits.
    size: int = 0
    count: int = 0
    most_bytes: int = 0
    most_count: int = 0
    #: How many rows were left out.
    more: int = 0
    #: Of one entry that was asked for: its value, or the first values of a list.
    values: tuple[Value, ...] = ()


@attrs.frozen(kw_only=True)
class Limits:
    """What one scope may hold. The names are those of the options in a plugin's section of the conf."""

    #: Bytes of all entries.
    job_bytes: int = 256 * 1024 * 1024
    #: Entries and locks; also values of all lists together.
    job_entries: int = 100_000
    #: Bytes of one value.
    value_bytes: int = 8 * 1024 * 1024
    #: Bytes of results of complete rounds, kept for parts that run again; and how many results.
    history_bytes: int = 64 * 1024 * 1024
    history_rounds: int = 10_000


def check_name(name: str) -> str:
    """*name* if an entry, lock or round may have it: 1 to 256 bytes of text.

    Raises:
        BadName: otherwise.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise BadName(f"The name {ascii(name)[:60]} holds what is no text (a lone surrogate).") from None
    if not 1 <= length <= MAX_NAME_BYTES:
        shown = repr(name if len(name) <= 40 else name[:40] + "…")
        raise BadName(
            f"The name {shown} of shared memory has {length} bytes; 1 to {MAX_NAME_BYTES} are allowed.", length=length
        )
    return name
