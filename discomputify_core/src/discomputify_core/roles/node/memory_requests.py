"""What a program asks of shared memory, read strictly: plain data and bytes to commands. Pure.

A program may be broken or hostile: what is no command is refused as :class:`BadInput`, before anything is done. Here:
types and bounds. Not here: carrying commands out (memory.py), whether a large value is where it says (arrays_kept.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from discomputify_core.errors import BadInput
from discomputify_core.model import memory as cmd
from discomputify_core.model.memory import ARRAY, BROADCAST, BYTES, GATHER, JSON, MAX_NAME_BYTES, REF, Value, check_name

#: Longest wait and longest lease, seconds.
WEEK = 7 * 24 * 3600.0
#: Whole numbers that every plugin can hold.
LARGEST = 2**63 - 1
#: Most characters of what parts have to agree on, and of the data type of an array, which may have many fields.
MAX_TEXT, MAX_DTYPE = 1000, 16_000
#: Most dimensions of an array: NumPy's own limit.
MAX_DIMENSIONS = 64

Data = Mapping[str, Any]


def command(data: Data, body: bytes, part: int, total: int) -> cmd.Command:
    """The command that *data* and *body* say. A round has the number 0: only the node knows which one it is.

    Args:
        data: what the program sent.
        body: the bytes of its value.
        part, total: which part asks, and how many its job has.

    Raises:
        BadInput: it is none.
        BadName: the name is none.
    """
    do = data.get("do")
    if do == "meet":
        return _meet(data, body, part, total)
    if do == "put":
        version = data.get("version")
        return cmd.Put(
            _name(data),
            _value(data, body),
            None if version is None else _whole(data, "version", 0),
            _flag(data, "ephemeral"),
        )
    if do == "append":
        return cmd.Append(_name(data), _value(data, body))
    reader = _PLAIN.get(do) if isinstance(do, str) else None
    if reader is None:
        raise BadInput(f"Shared memory cannot do {str(do)[:40]!r}.")
    if body or "value" in data:
        raise BadInput(f"No value can be sent along with {do!r}.")
    return reader(data)


def wait(data: Data) -> float:
    """How long the program is willing to wait: at least 0, and at most a week.

    Raises:
        BadInput: that is no number.
    """
    return min(max(_number(data, "wait", 0.0), 0.0), WEEK)


def quiet(data: Data) -> bool:
    """Whether the program only wants to know whether a round is complete or an entry there, and not what it holds.

    Raises:
        BadInput: it does not say so clearly.
    """
    return _flag(data, "quiet")


def reserved_size(data: Data, body: bytes | bytearray) -> int:
    """How many bytes are to be reserved.

    Raises:
        BadInput: that is no number of bytes.
    """
    if body:
        raise BadInput("No value can be sent along with 'reserve'.")
    return _whole(data, "size", 1)


def _meet(data: Data, body: bytes, part: int, total: int) -> cmd.Meet:
    kind, name, sign = data.get("kind"), _name(data), data.get("sign", "")
    if kind not in (cmd.BARRIER, GATHER, BROADCAST):
        raise BadInput(f"There is no collective {str(kind)[:40]!r}.")
    if not isinstance(sign, str) or len(sign) > MAX_TEXT:
        raise BadInput("What parts have to agree on is a short text.")
    root = _whole(data, "root", 1, total) if "root" in data else 1
    brings = kind == GATHER or (kind == BROADCAST and part == root)
    has = bool(body) or data.get("value") is not None
    if brings != has:
        raise BadInput(f"This part {'has to bring a value' if brings else 'cannot bring a value'} to the {kind}.")
    return cmd.Meet(kind, name, 0, _value(data, body) if brings else None, root, sign)


_PLAIN: dict[str, Callable[[Data], cmd.Command]] = {
    "get": lambda data: cmd.Get(_name(data)),
    "remove": lambda data: cmd.Remove(_name(data)),
    "add": lambda data: cmd.Add(_name(data), _number(data, "by", 1)),
    "pop": lambda data: cmd.Pop(_name(data)),
    "names": lambda data: cmd.Names(_prefix(data)),
    "lock": lambda data: cmd.Lock(_name(data), _lease(data)),
    "renew": lambda data: cmd.Renew(_name(data), _whole(data, "token", 0), _lease(data)),
    "unlock": lambda data: cmd.Unlock(_name(data), _whole(data, "token", 0)),
}


def _name(data: Data) -> str:
    name = data.get("name")
    if type(name) is not str:
        raise BadInput("A name of shared memory is text.")
    return check_name(name)


def _prefix(data: Data) -> str:
    prefix = data.get("prefix", "")
    if type(prefix) is not str or len(prefix) > MAX_NAME_BYTES:
        raise BadInput(f"The beginning of names is a text of at most {MAX_NAME_BYTES} characters.")
    return check_name(prefix) if prefix else ""


def _number(data: Data, key: str, default: float) -> int | float:
    number = data.get(key, default)
    if type(number) is int and abs(number) <= LARGEST:
        return number
    if type(number) is float and math.isfinite(number):
        return number
    raise BadInput(f"'{key}' is a finite number of at most 64 bits, not {str(number)[:40]}.")


def _lease(data: Data) -> float:
    lease = _number(data, "lease", 0.0)
    if lease <= 0:
        raise BadInput("The lease of a lock is a time above 0.")
    return float(min(lease, WEEK))


def _whole(data: Data, key: str, least: int, most: int = LARGEST) -> int:
    number = data.get(key)
    if type(number) is not int or not least <= number <= most:
        raise BadInput(f"'{key}' is a whole number from {least} to {most}, not {str(number)[:40]}.")
    return number


def _flag(data: Data, key: str) -> bool:
    flag = data.get(key, False)
    if type(flag) is not bool:
        raise BadInput(f"'{key}' is true or false.")
    return flag


# --- values -------------------------------------------------------------------------------------------


def _value(data: Data, body: bytes) -> Value:
    value = data.get("value")
    if not isinstance(value, dict):
        raise BadInput("A value says of what kind it is.")
    kind, meta = value.get("kind"), value.get("meta", {})
    if not isinstance(meta, dict) or not isinstance(kind, str) or kind not in _METAS:
        raise BadInput("A value says of what kind it is, and what there is to know of it.")
    known = _METAS[kind](meta)
    if (kind == REF and body) or (kind == JSON and not body):
        raise BadInput(f"A value of the kind '{kind}' has {'no' if body else 'some'} bytes.")
    return Value(kind, bytes(body), known)


def _no_meta(meta: Data) -> dict[str, Any]:
    if meta:
        raise BadInput("There is nothing to know of such a value.")
    return {}


def _array_meta(meta: Data) -> dict[str, Any]:
    dtype, shape, order = meta.get("dtype"), meta.get("shape"), meta.get("order")
    if type(dtype) is not str or len(dtype) > MAX_DTYPE or order not in ("C", "F"):
        raise BadInput("An array has a data type, and an order that is C or F.")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise BadInput(f"An array has a shape of at most {MAX_DIMENSIONS} dimensions.")
    if any(type(length) is not int or not 0 <= length <= LARGEST for length in shape):
        raise BadInput("The shape of an array is made of whole numbers.")
    return {"dtype": dtype, "shape": list(shape), "order": order}


def _ref_meta(meta: Data) -> dict[str, Any]:
    of, found = meta.get("of"), {key: meta.get(key) for key in ("id", "node", "of")}
    if any(type(each) is not str or len(each) > MAX_TEXT for each in found.values()) or of not in (ARRAY, BYTES):
        raise BadInput("A large value says which it is, which node keeps it, and of what kind it is.")
    found["size"] = _whole(meta, "size", 1)
    return {**found, **(_array_meta(meta) if of == ARRAY else {})}


_METAS: dict[str, Callable[[Data], dict[str, Any]]] = {
    JSON: _no_meta,
    BYTES: _no_meta,
    ARRAY: _array_meta,
    REF: _ref_meta,
}
