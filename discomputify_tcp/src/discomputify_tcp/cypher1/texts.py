"""From the text inside a token to what it says, and back. Not here: tokens (tokens.py), time (connection.py).

With one key for both directions, as the old package's single conf has it, an answer is a well-formed request: the
answer to a DELETE, sent back to the service, would delete once more. So answers made here begin with white space that
means nothing to JSON, and no request may begin with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import attrs

from discomputify_core.errors import OurBug
from discomputify_tcp.cypher1.errors import broke
from discomputify_tcp.cypher1.events import Content
from discomputify_tcp.cypher1.limits import MAX_DEPTH

#: What the text of an answer begins with.
_MARK = b" \t "

#: Key of the object -> attribute, its type, and that type's name.
_FIELDS: dict[str, tuple[str, type, str]] = {
    "PATH": ("path", str, "text"),
    "OPERATION": ("operation", str, "text"),
    "DATA": ("data", object, "anything"),
    "METADATA": ("metadata", dict, "an object"),
}


def write(content: Content, *, answer: bool) -> bytes:
    """*content* as the text of a request or an answer: ASCII, as the old package's client expects.

    Raises:
        OurBug: it holds what JSON cannot.
    """
    found = {key: getattr(content, name) for key, (name, _, _) in _FIELDS.items()}
    try:
        text = json.dumps(found).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise OurBug(f"'{content.operation[:60]}' for an old client cannot be written as JSON: {error}.") from error
    return _MARK + text if answer else text


def is_answer(text: bytes) -> bool:
    """Whether *text* was written as an answer."""
    return text.startswith(_MARK)


def read(text: bytes) -> Content:
    """What *text* says; absent keys have the old package's defaults, others than its own are ignored.

    Raises:
        PeerBroke: it is not UTF-8, not JSON, not an object, too deep, or a value has the wrong type.
    """
    try:
        found = json.loads(text.decode("utf-8"))
    except UnicodeDecodeError:
        raise broke("text", "A token does not hold UTF-8.") from None
    except (ValueError, RecursionError):
        raise broke("text", "A token does not hold JSON that can be read.") from None
    if type(found) is not dict:
        raise broke("text", "A token does not hold a JSON object.")
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and not _shallow(found):
        raise broke("text", f"A token holds lists and objects more than {MAX_DEPTH} deep.")
    for key, (_, kind, name) in _FIELDS.items():
        if key in found and not isinstance(found[key], kind):
            raise broke("fields", f"'{key}' of a token is not {name}.")
    return Content(**{name: found[key] for key, (name, _, _) in _FIELDS.items() if key in found})


def _shallow(found: Any) -> bool:
    level: list[Any] = [found]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return True
    return False


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def is_unicode(text: bytes, content: Content) -> bool:
    """Whether all of *content*, which was read from *text*, can be written to files and logs.

    JSON can escape halves of characters, which are no text to anybody else.
    """
    if b"\\u" not in text:
        return True
    try:
        json.dumps(attrs.astuple(content, recurse=False), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
