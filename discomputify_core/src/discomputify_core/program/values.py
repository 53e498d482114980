"""What programs share, as it travels: JSON, bytes and arrays, and back. Pure, but for the files of large values.

Equal data has equal bytes: JSON has sorted keys and no spaces. NumPy is touched only where the program itself has
imported it, or reads an array (arrays.py). Nothing here is pickled.
"""

from __future__ import annotations

import json
import sys

from discomputify_core.errors import BadValue
from discomputify_core.program.arguments import LARGEST_INT, SMALLEST_INT, shown

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from typing import Any

#: Bytes from which an array or bytes are kept as a file by the node, instead of passing through shared memory.
LARGE = 1024 * 1024
#: How deep lists and maps may be nested.
MAX_DEPTH = 200
#: Most characters of a message that say where in a value something is.
MAX_WHERE = 100

_dumps = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
).encode


class Encoded:
    """A value that is ready to be sent. ``data`` is bytes-like, of an array the array itself; ``size`` in bytes."""

    __slots__ = ("data", "kind", "meta", "size")

    def __init__(self, kind: str, data: Any, size: int, meta: dict[str, Any]) -> None:
        self.kind = kind
        self.data = data
        self.size = size
        self.meta = meta

    def raw(self) -> bytes | memoryview:
        """The bytes."""
        if self.kind != "array":
            raw: bytes | memoryview = self.data
            return raw
        from discomputify_core.program.arrays import raw_bytes

        return raw_bytes(self.data, self.meta["order"])


def encode(value: object) -> Encoded:
    """*value* as it is shared.

    Raises:
        BadValue: it is neither JSON-able nor bytes nor a plain array.
    """
    if isinstance(value, bytes):
        return Encoded("bytes", value, len(value), {})
    if isinstance(value, (bytearray, memoryview)):
        try:
            data = bytes(value)  # a copy: it may change while it is under way
        except ValueError as error:
            raise BadValue(f"The memoryview cannot be read any more: {error}.") from None
        return Encoded("bytes", data, len(data), {})
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        from discomputify_core.program.arrays import describe

        array, meta = describe(value)
        return Encoded("array", array, array.nbytes, meta)
    try:
        text = _dumps(_plain(value, 0)).encode()
    except _Unfit as unfit:
        raise BadValue(unfit.sentence()) from None
    except UnicodeEncodeError:
        raise BadValue(f"The value holds what is no text (a lone surrogate): {ascii(value)[:60]}.") from None
    return Encoded("json", text, len(text), {})


def decode(described: dict[str, Any], data: bytes | memoryview) -> Any:
    """The value that was encoded.

    Args:
        described: ``kind`` and ``meta``; of a large one that a node keeps (``ref``), also the ``path`` of its file.
        data: its bytes; no copy is made of those of an array.

    Raises:
        FileNotFoundError: the file is not there any more.
    """
    kind = described["kind"]
    if kind == "json":
        return json.loads(data if isinstance(data, bytes) else bytes(data))
    if kind == "bytes":
        return bytes(data)
    meta = described["meta"]
    if kind == "array":
        from discomputify_core.program.arrays import array_of

        return array_of(meta, data)
    from discomputify_core.program.large import read_file

    return read_file(described["path"], meta)


class _Unfit(Exception):
    """A value, or something in it, cannot be shared."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.where = ""

    def sentence(self) -> str:
        where = self.where if len(self.where) <= MAX_WHERE else self.where[:MAX_WHERE] + "…"
        inside = f" At {where} in it is" if where else " This is"
        return f"Shared memory takes what JSON can hold, bytes, and NumPy arrays.{inside} {self.what}."


def _plain(value: Any, depth: int) -> Any:
    """*value* made of nothing but plain Python types."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        if not SMALLEST_INT <= value <= LARGEST_INT:
            raise _Unfit("a whole number of more than 64 bits; make it text: str(number)")
        return int(value)
    if isinstance(value, float):
        return _finite(float(value))
    if isinstance(value, (list, tuple, dict)):
        if depth >= MAX_DEPTH:
            raise _Unfit(f"a list or map nested more than {MAX_DEPTH} deep, or that contains itself")
        return _map(value, depth + 1) if isinstance(value, dict) else _list(value, depth + 1)
    return _scalar(value)


def _list(values: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    plain = []
    for at, value in enumerate(values):
        try:
            plain.append(_plain(value, depth))
        except _Unfit as unfit:
            unfit.where = f"[{at}]{unfit.where}"
            raise
    return plain


def _map(values: dict[Any, Any], depth: int) -> dict[str, Any]:
    plain = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise _Unfit(f"a map with the key {shown(key)} of type {type(key).__name__}; keys are text")
        try:
            plain[key] = _plain(value, depth)
        except _Unfit as unfit:
            unfit.where = f"[{key!r:.60}]{unfit.where}"
            raise
    return plain


def _finite(value: float) -> float:
    if value - value != 0:
        raise _Unfit(f"the number {value!r}; only finite ones are taken (arrays may hold any)")
    return value


def _scalar(value: Any) -> Any:
    """The Python number of NumPy's *value*."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.bool_):
            return bool(value)
        if isinstance(value, numpy.integer) and not isinstance(value, numpy.timedelta64):
            return int(value)
        if isinstance(value, numpy.floating):
            return _finite(float(value))
        if isinstance(value, numpy.ndarray):
            raise _Unfit("an array; share it under a name of its own, or as a list: array.tolist()")
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise _Unfit("bytes; share them under a name of their own")
    if isinstance(value, (set, frozenset)):
        raise _Unfit(f"a {type(value).__name__}; make it a list: sorted(values)")
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    raise _Unfit(f"{shown(value)} of type {name}")
