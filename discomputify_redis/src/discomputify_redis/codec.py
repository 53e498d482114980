"""Commands as arguments of scripts, and answers of scripts as answers. Pure.

Not here: what is shown of a scope (listing.py), what goes wrong (refusals.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Union

from discomputify_core.errors import OurBug
from discomputify_core.model.memory import (
    BARRIER,
    BROADCAST,
    GATHER,
    Add,
    Answer,
    Append,
    Command,
    Get,
    Lock,
    Meet,
    Names,
    Pop,
    Put,
    Remove,
    Renew,
    Unlock,
    Value,
    check_name,
)

Argument = Union[str, bytes]
#: A text, or a list of more of them.
Item = Union[bytes, Sequence["Item"]]
Reply = Sequence[Item]

#: Most names that one answer lists.
MOST_NAMES = 10_000
#: Kinds of rounds as scripts know them.
LETTERS = {BARRIER: "b", GATHER: "g", BROADCAST: "c"}
#: Longest lease, seconds: three years.
_LONGEST = 1e8


def pack(value: Value) -> bytes:
    """*value* as it is kept: ``SIZE\\nKIND\\nMETA\\nDATA``."""
    if not (value.kind.isascii() and value.kind.isalpha()):
        raise OurBug(f"A value is of the kind {value.kind[:40]!r}.")
    meta = json.dumps(dict(value.meta), separators=(",", ":")) if value.meta else ""
    return b"".join((f"{value.size}\n{value.kind}\n{meta}\n".encode(), value.data))


def unpack(raw: Item) -> Value:
    """The value that :func:`pack` made *raw* of."""
    _, kind, meta, data = text(raw).split(b"\n", 3)
    return Value(kind.decode(), data, json.loads(meta) if meta else {})


def text(item: Item) -> bytes:
    """*item*, which is a text."""
    if not isinstance(item, bytes):
        raise OurBug(f"A script answered {str(item)[:100]} where a text was expected.")
    return item


def request(command: Command) -> tuple[str, list[Argument]]:
    """The script that carries *command* out, and its arguments, without those that say who waits.

    Raises:
        BadName: as ``check_name``.
    """
    if isinstance(command, Names):
        return "names", [command.prefix.encode("utf-8", "surrogatepass"), str(MOST_NAMES)]
    name = check_name(command.name)
    if isinstance(command, Put):
        version = "" if command.version is None else str(command.version)
        return "put", [name, pack(command.value), version, "1" if command.ephemeral else "0"]
    if isinstance(command, Add):
        whole = isinstance(command.by, int)
        return "add", [name, "i" if whole else "f", str(int(command.by)) if whole else repr(float(command.by))]
    if isinstance(command, Append):
        return "append", [name, pack(command.value)]
    if isinstance(command, Renew):
        return "renew", [name, str(command.token), microseconds(command.lease)]
    if isinstance(command, Unlock):
        return "unlock", [name, str(command.token)]
    if isinstance(command, Meet):
        return "meet", _meeting(command)
    return type(command).__name__.lower(), [name]


def waiting(command: Command, waiter: str, waits: bool) -> list[Argument]:
    """The arguments that follow those of :func:`request` for a command that may wait."""
    lease = [microseconds(command.lease)] if isinstance(command, Lock) else []
    return [waiter, "1" if waits else "0", *lease]


def _meeting(command: Meet) -> list[Argument]:
    value = b"" if command.value is None else pack(command.value)
    sign = command.sign.encode("utf-8", "surrogatepass")
    return [LETTERS[command.kind], command.name, str(command.round), str(command.root), sign, value]


def microseconds(seconds: float) -> str:
    """A lease as scripts count it."""
    return str(max(1, round(min(seconds, _LONGEST) * 1_000_000)))


def answer(command: Command, reply: Reply) -> Answer:
    """What *reply*, no refusal, says of *command*."""
    found = reply[0] == b"+"
    rest = reply[1:]
    if isinstance(command, Put):
        return Answer(found, version=int(text(rest[0])), value=unpack(rest[1]) if len(rest) > 1 else None)
    if not found:
        return Answer(found=False)
    if isinstance(command, Get):
        return _read(int(text(rest[0])), rest[1] == b"1", rest[2:])
    if isinstance(command, Add):
        return Answer(version=int(text(rest[0])), number=json.loads(text(rest[1])))
    if isinstance(command, Append):
        return Answer(version=int(text(rest[0])), number=int(text(rest[1])))
    if isinstance(command, Names):
        return Answer(names=tuple(text(name).decode() for name in rest))
    if isinstance(command, Lock):
        return Answer(number=int(text(rest[0])))
    if isinstance(command, Renew):
        return Answer(number=command.token)
    if isinstance(command, (Remove, Pop)) or (isinstance(command, Meet) and command.kind == BROADCAST):
        return Answer(value=unpack(rest[0]) if rest else None)
    return Answer(values=tuple(map(unpack, rest)))


def _read(version: int, listed: bool, values: Reply) -> Answer:
    if listed:
        return Answer(version=version, values=tuple(map(unpack, values)), listed=True)
    return Answer(version=version, value=unpack(values[0]))


def given(command: Command, reply: Reply) -> bytes:
    """What a Pop or Lock was given, to be handed back; nothing for other commands."""
    return text(reply[1]) if isinstance(command, (Pop, Lock)) and reply[0] == b"+" else b""
