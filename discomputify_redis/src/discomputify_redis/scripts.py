"""The Lua scripts that carry commands out inside the Redis server: read from the package and put together.

A script is the libraries it needs (in this order) and the file of its own name. Here: which those are. Not here: what
they are given and what they answer (codec.py).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from importlib import resources

import attrs

_ENTRIES = ("base", "room", "entries")
_LOCKS = ("base", "room", "queue", "locks")
_GRANTS = ("base", "room", "queue", "entries", "lists", "locks", "grants")
_ALL = (*_GRANTS, "rounds", "parts")

#: Script -> the libraries that it needs.
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "table": (),
    "put": _ENTRIES,
    "get": ("base", "room", "queue", "entries"),
    "remove": _ENTRIES,
    "add": _ENTRIES,
    "append": ("base", "room", "queue", "entries", "lists"),
    "pop": _GRANTS,
    "names": ("base",),
    "lock": _GRANTS,
    "renew": _LOCKS,
    "unlock": _LOCKS,
    "meet": ("base", "room", "queue", "rounds"),
    "leave": (*_GRANTS, "rounds"),
    "forget": ("base",),
    "join": _ALL,
    "ended": _ALL,
    "clear": ("base",),
    "look": _ALL,
}


@attrs.frozen
class Script:
    """A script as the server wants it."""

    name: str
    text: str
    #: What the server knows it by.
    digest: str


@functools.cache
def script(name: str) -> Script:
    """The script *name*."""
    folder = resources.files(__package__) / "lua"
    files = [folder / f"{each}.lua" for each in (*LIBRARIES[name], name)]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
