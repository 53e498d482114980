"""How commands and answers become bytes. Pure. What is packed here is checked in unpacking.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgpack

from discomputify_core.errors import BadValue, DiscomputifyError, MemoryFull, to_wire
from discomputify_core.model.codec import to_plain
from discomputify_core.model.memory import (
    Add,
    Answer,
    Append,
    Get,
    Lock,
    Meet,
    Member,
    Names,
    Pop,
    Put,
    Remove,
    Renew,
    Unlock,
    Value,
)
from discomputify_sharedmem.table import Outcome
from discomputify_sharedmem.table.room import full
from discomputify_sharedmem.wire import ENOUGH, MOST_BYTES, Cancel, Order, PutBack

Pack = Callable[[Any], bytes]
"""Makes MessagePack of plain data. Kept and used again, since making one is what costs; not to be shared by threads."""


def packer() -> Pack:
    """A fresh one."""
    pack: Pack = msgpack.Packer(autoreset=True).pack
    return pack


def pack_member(pack: Pack, member: Member) -> bytes:
    """*member* as bytes, which stand for it in every command."""
    scope = member.scope
    return pack(
        [scope.process_id, scope.key, scope.generation, member.attempt, member.part, member.number, member.total]
    )


def pack_command(pack: Pack, ticket: int, member: bytes, wait: float, order: Order) -> bytes:
    """One command of a batch.

    Raises:
        BadValue: a text or what is said of a value is nothing that can be sent.
        MemoryFull: a number has more than 64 bits, or a value is larger than any may be.
    """
    code, fields = _FIELDS[type(order)](order)
    try:
        packed = pack([ticket, member, wait, code, *fields])
    except OverflowError:
        raise MemoryFull("A number has more than 64 bits. Nothing was changed.", limit="number") from None
    except (TypeError, ValueError) as error:
        raise BadValue(f"This cannot be sent to shared memory: {error}.") from error
    if len(packed) > MOST_BYTES:
        raise full("value_bytes", f"A value of {len(packed):,} bytes", f"{MOST_BYTES:,} bytes, which no conf can raise")
    return packed


def pack_list(head: bytes, items: Sequence[bytes]) -> bytes:
    """Things that were packed one by one as the list at the end of *head*."""
    return b"".join((head, b"\xdd", len(items).to_bytes(4, "big"), *items))


def pack_batch(pack: Pack, table: str, client: str, number: int, settled: int, asked: Sequence[bytes]) -> bytes:
    """A batch of what :func:`pack_command` gave."""
    head = b"".join((b"\x95", pack(table), pack(client), pack(number), pack(settled)))
    return pack_list(head, asked)


def pack_outcome(pack: Pack, outcome: Outcome) -> bytes:
    """What came of a command."""
    if not isinstance(outcome, Answer):
        return _pack_error(pack, outcome)
    if outcome.listed or outcome.values or outcome.names:
        values = [_value(value) for value in outcome.values]
        rest = [values, outcome.listed, list(outcome.names)]
        return pack([outcome.found, outcome.version, outcome.number, _value(outcome.value), *rest])
    if outcome.value is None:
        return pack([outcome.found, outcome.version, outcome.number])
    return pack([outcome.found, outcome.version, outcome.number, _value(outcome.value)])


def _pack_error(pack: Pack, error: DiscomputifyError) -> bytes:
    return pack(to_wire(error))


def pack_wake(pack: Pack, number: int, tickets: Sequence[int], more: bool, packed: bytes) -> bytes:
    """One wake-up: what :func:`pack_outcome` gave for some *tickets*; with *more*, further pieces follow."""
    return b"".join((b"\x94", pack(number), pack(tickets), pack(more), packed))


def pieces(outcome: Outcome) -> list[Outcome]:
    """*outcome* in pieces that each fit into a message; all of them but the last have values alone."""
    if not isinstance(outcome, Answer) or len(outcome.values) < 2:
        return [outcome]
    found: list[Outcome] = []
    start = size = 0
    for number, value in enumerate(outcome.values):
        size += value.size + 16
        if size > ENOUGH and number > start:
            found.append(Answer(values=outcome.values[start:number]))
            start, size = number, value.size + 16
    found.append(attrs.evolve(outcome, values=outcome.values[start:]) if start else outcome)
    return found


def joined(parts: Sequence[Outcome]) -> Outcome:
    """What :func:`pieces` took apart."""
    last = parts[-1]
    if len(parts) == 1 or not isinstance(last, Answer):
        return last
    return attrs.evolve(last, values=tuple(v for part in parts if isinstance(part, Answer) for v in part.values))


def pack_plain(pack: Pack, value: Any) -> bytes:
    """*value*, one of the classes here or of the model, as bytes."""
    return pack(to_plain(value))


def _value(value: Value | None) -> list[Any] | None:
    if value is None:
        return None
    return [value.kind, value.data, dict(value.meta)] if value.meta else [value.kind, value.data]


# One code, and the fields in order, per kind of command.
_FIELDS: dict[type, Callable[[Any], tuple[int, tuple[Any, ...]]]] = {
    Put: lambda c: (0, (c.name, _value(c.value), c.version, c.ephemeral)),
    Get: lambda c: (1, (c.name,)),
    Remove: lambda c: (2, (c.name,)),
    Add: lambda c: (3, (c.name, c.by)),
    Append: lambda c: (4, (c.name, _value(c.value))),
    Pop: lambda c: (5, (c.name,)),
    Names: lambda c: (6, (c.prefix,)),
    Lock: lambda c: (7, (c.name, c.lease)),
    Renew: lambda c: (8, (c.name, c.token, c.lease)),
    Unlock: lambda c: (9, (c.name, c.token)),
    Meet: lambda c: (10, (c.kind, c.name, c.round, _value(c.value), c.root, c.sign)),
    Cancel: lambda c: (11, (c.ticket,)),
    PutBack: lambda c: (12, (c.name, _value(c.value))),
}
