"""How bytes that a peer sent become commands and answers: everything is checked. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, Union

import msgpack

from discomputify_core.errors import BadValue, PeerBroke, from_wire
from discomputify_core.model.codec import from_plain
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.memory import (
    BARRIER,
    BROADCAST,
    GATHER,
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
    Scope,
    Unlock,
    Value,
)
from discomputify_sharedmem.table import Outcome
from discomputify_sharedmem.wire import LONGEST, Asked, Batch, Cancel, Order, PutBack

T = TypeVar("T")

Body = Union[bytes, bytearray, memoryview]


def unpack(body: Body, what: str) -> Any:
    """What *body* holds.

    Raises:
        PeerBroke: nothing that can be read.
    """
    try:
        return msgpack.unpackb(body)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise PeerBroke(f"The peer sent {what} that cannot be read: {error}.", clause="memory") from error


def unpack_plain(body: Body, kind: type[T]) -> T:
    """What :func:`pack_plain` packed.

    Raises:
        PeerBroke: it does not describe a *kind*.
    """
    return from_plain(unpack(body, f"a {kind.__name__}"), kind)


class Members:
    """Members by their bytes: unpacked and checked once."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._known: dict[bytes, Member] = {}

    def find(self, packed: bytes) -> Member:
        """The member that *packed* stands for.

        Raises:
            PeerBroke: none.
        """
        member = self._known.get(packed)
        if member is None:
            member = _member(packed)
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[packed] = member
        return member


def _member(packed: bytes) -> Member:
    fields = unpack(packed, "a member")
    if not isinstance(fields, list) or [type(each) for each in fields] != [str, str, int, str, int, int, int]:
        raise PeerBroke("The peer sent a malformed member.", clause="memory")
    process_id, key, generation, attempt, part, number, total = fields
    return Member(Scope(ProcessId(process_id), key, generation), AttemptId(attempt), part, number, total)


def unpack_batch(body: Body, members: Members) -> Batch:
    """A batch, every command of it checked.

    Raises:
        PeerBroke: anything is malformed.
    """
    plain = unpack(body, "a batch")
    if not isinstance(plain, list) or [type(each) for each in plain] != [str, str, int, int, list]:
        raise PeerBroke("The peer sent a malformed batch.", clause="memory")
    table, client, number, settled, asked = plain
    return Batch(table, client, number, settled, tuple([_asked(each, members) for each in asked]))


def _asked(plain: Any, members: Members) -> Asked:
    try:
        ticket, member, wait, code, *fields = plain
    except (TypeError, ValueError) as error:
        raise PeerBroke(f"The peer sent a malformed command: {error}.", clause="memory") from error
    if type(ticket) is not int or type(member) is not bytes:
        raise PeerBroke("The peer sent a malformed command: its ticket or member is missing.", clause="memory")
    found = members.find(member)
    try:
        return Asked(ticket, found, _seconds(wait), _ORDERS[code](*fields))
    except (TypeError, ValueError, LookupError) as error:
        return Asked(ticket, found, 0.0, BadValue(f"Shared memory was asked for something malformed: {error}."))


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("a text is missing")
    return value


def _whole(value: Any, least: int) -> int:
    if type(value) is not int or value < least:
        raise TypeError("a whole number is missing")
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= LONGEST:
        raise TypeError("a number of seconds is missing")
    return float(value)


def _amount(value: Any) -> int | float:
    if type(value) not in (int, float) or value != value:
        raise TypeError("a number is missing")
    number: int | float = value
    return number


def _as_value(plain: Any) -> Value:
    kind, data, *rest = plain
    if type(kind) is not str or type(data) is not bytes or len(rest) > 1:
        raise TypeError("a value is malformed")
    if not rest:
        return Value(kind, data)
    if type(rest[0]) is not dict or not all(type(key) is str for key in rest[0]):
        raise TypeError("what is said of a value is malformed")
    return Value(kind, data, rest[0])


def _as_put(name: Any, value: Any, version: Any, ephemeral: Any) -> Put:
    if type(ephemeral) is not bool:
        raise TypeError("whether it is ephemeral is missing")
    return Put(_text(name), _as_value(value), None if version is None else _whole(version, 0), ephemeral)


def _as_meet(kind: Any, name: Any, number: Any, value: Any, root: Any, sign: Any) -> Meet:
    if kind not in (BARRIER, GATHER, BROADCAST):
        raise ValueError("there is no such kind of round")
    brought = None if value is None else _as_value(value)
    return Meet(kind, _text(name), _whole(number, 1), brought, _whole(root, 1), _text(sign))


_ORDERS: dict[int, Callable[..., Order]] = {
    0: _as_put,
    1: lambda name: Get(_text(name)),
    2: lambda name: Remove(_text(name)),
    3: lambda name, by: Add(_text(name), _amount(by)),
    4: lambda name, value: Append(_text(name), _as_value(value)),
    5: lambda name: Pop(_text(name)),
    6: lambda prefix: Names(_text(prefix)),
    7: lambda name, lease: Lock(_text(name), _seconds(lease)),
    8: lambda name, token, lease: Renew(_text(name), _whole(token, 0), _seconds(lease)),
    9: lambda name, token: Unlock(_text(name), _whole(token, 0)),
    10: _as_meet,
    11: lambda ticket: Cancel(_whole(ticket, 0)),
    12: lambda name, value: PutBack(_text(name), _as_value(value)),
}


def unpack_list(body: Body, what: str) -> list[Any]:
    """Replies or wake-ups.

    Raises:
        PeerBroke: *body* holds no list.
    """
    plain = unpack(body, what)
    if not isinstance(plain, list):
        raise PeerBroke(f"The peer sent {what} that is no list.", clause="memory")
    return plain


def as_outcome(plain: Any) -> Outcome:
    """What :func:`pack_outcome` packed.

    Raises:
        PeerBroke: nothing like that.
    """
    if type(plain) is dict:
        return from_wire(plain)
    try:
        if len(plain) == 3:
            found, version, number = plain
            value, values, listed, names = None, (), False, ()
        else:
            found, version, number, value, *rest = plain
            values, listed, names = rest if rest else ((), False, ())
        if type(found) is not bool or type(version) is not int or type(number) not in (int, float):
            raise TypeError("its first fields are of other types")
        return Answer(
            found,
            version,
            number,
            None if value is None else _as_value(value),
            tuple([_as_value(each) for each in values]) if values else (),
            listed is True,
            tuple([_text(each) for each in names]) if names else (),
        )
    except (TypeError, ValueError) as error:
        raise PeerBroke(f"The peer sent a malformed answer: {error}.", clause="memory") from error
