"""What a single value of a conf may be: one table row per type, used to check it and to describe it.

Here: scalars (ports, sizes, hosts…) and how a found value is worded. Not here: which key holds which
type (conf.py and the plugins' options classes), lists and sections (conf_read.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from discomputify_core.errors import BadPath
from discomputify_core.model.conf import Count, Days, Host, Inside, Key, Name, Place, Port, Seconds, Size
from discomputify_core.model.files import check_path

KEY_LENGTH = 32
#: No size, count or option is larger: it has to fit where other programs keep it.
MOST = 2**63 - 1

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_HOST = re.compile(r"\w[\w.-]{0,252}")
_DIGITS = re.compile(r"[\d.]+", re.ASCII)
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}", re.ASCII)
_IPV6 = re.compile(r"\[?[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(%[\w.-]+)?\]?", re.ASCII)


class Wrong(ValueError):
    """A value is not of its kind; the text, if any, says more than "expected …"."""


@attrs.frozen
class Kind:
    """A row of the table."""

    #: What a user should write: "a port (1 to 65535)".
    expected: str
    #: The value as the conf holds it; raises Wrong.
    take: Callable[[Any], object]
    #: JSON Schema of it.
    schema: Mapping[str, object]


def shown(value: object, secret: bool = False) -> str:
    """*value* as an error message shows it; a *secret* only by its type and length."""
    if isinstance(value, str) and secret:
        return f"{len(value)} character{'' if len(value) == 1 else 's'}" + (
            "" if value.isascii() else ", not all of them ASCII"
        )
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "an empty list" if not value else f"a list of {len(value)}"
    if secret:
        return "something that is not text"
    text = repr(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _of(kind: type) -> Callable[[Any], object]:
    def take(value: object) -> object:
        if type(value) is not kind:
            raise Wrong
        return value

    return take


def _whole(least: int, most: int = MOST) -> Callable[[Any], object]:
    def take(value: object) -> object:
        if type(value) is not int or not least <= value <= most:
            raise Wrong
        return value

    return take


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Wrong
    try:
        number = float(value)
    except OverflowError:
        raise Wrong from None
    if number != number or number in (float("inf"), float("-inf")):
        raise Wrong
    return number


def _seconds(value: object) -> float:
    number = _number(value)
    if number <= 0:
        raise Wrong
    return number


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise Wrong
    return value


def _key(value: object) -> str:
    if len(_text(value)) != KEY_LENGTH or not _text(value).isascii():
        raise Wrong
    return _text(value)


def _host(value: object) -> str:
    text = _text(value)
    if _IPV6.fullmatch(text):
        return text.strip("[]")
    if text.count(":") == 1 and text.partition(":")[2].isdigit():
        raise Wrong(f"expected a host name or address without a port (ports have keys of their own), got {text!r}")
    if not _HOST.fullmatch(text) or (_DIGITS.fullmatch(text) and not _IPV4.fullmatch(text)):
        raise Wrong
    return text


def _inside(value: object) -> str:
    text = _text(value).removeprefix("./").rstrip("/")
    try:
        return check_path(text)
    except BadPath as error:
        raise Wrong(
            f"expected a folder inside the program directory, got {shown(value)}: "
            + str(error).partition(" may not be used: ")[2].rstrip(".")
        ) from None


def _place(value: object) -> str:
    if not _text(value).strip():
        raise Wrong
    return _text(value)


def _name(value: object) -> str:
    if not _NAME.fullmatch(_text(value)):
        raise Wrong
    return _text(value)


def _integers(least: int, most: int | None = None) -> dict[str, object]:
    limits: dict[str, object] = {"type": "integer", "minimum": least}
    return limits if most is None else {**limits, "maximum": most}


_TEXT: dict[str, object] = {"type": "string", "minLength": 1}

KINDS: Mapping[object, Kind] = {
    bool: Kind("true or false", _of(bool), {"type": "boolean"}),
    int: Kind("a whole number", _whole(-MOST), {"type": "integer"}),
    float: Kind("a number", _number, {"type": "number"}),
    str: Kind("text", _text, {"type": "string"}),
    Port: Kind("a port (1 to 65535)", _whole(1, 65535), _integers(1, 65535)),
    Size: Kind("a number of bytes above 0", _whole(1), _integers(1)),
    Count: Kind("a whole number above 0", _whole(1), _integers(1)),
    Seconds: Kind("seconds, a number above 0", _seconds, {"type": "number", "exclusiveMinimum": 0}),
    Days: Kind("days, a number above 0", _seconds, {"type": "number", "exclusiveMinimum": 0}),
    Key: Kind(
        f"{KEY_LENGTH} ASCII characters", _key, {"type": "string", "minLength": KEY_LENGTH, "maxLength": KEY_LENGTH}
    ),
    Inside: Kind("a folder inside the program directory", _inside, _TEXT),
    Host: Kind("a host name or address", _host, _TEXT),
    Place: Kind("a path", _place, _TEXT),
    Name: Kind("the name of a plugin", _name, {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]*$"}),
}
