"""Turning plain values into the fields of an attrs class, with every mistake noted.

Here: the types that a key or an option may have (a scalar of conf_kinds, ``X | None``, lists, maps, choices,
nested attrs classes). Not here: what the keys are, and what a user's unknown key means (conf_read.py).
"""

from __future__ import annotations

import collections.abc
import difflib
import enum
import functools
import types
import typing
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import attrs

from discomputify_core.errors import PluginBroke
from discomputify_core.model.conf import Conf
from discomputify_core.model.conf_kinds import KINDS, Kind, Wrong, shown

LISTS = (tuple, list, collections.abc.Sequence, frozenset)
MAPS = (dict, collections.abc.Mapping)


@attrs.frozen
class Problem:
    """One mistake in a conf: what was expected and what was found, and at which key."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.text} @ {self.key}"


@attrs.frozen
class Field:
    """One key of a conf or option of a section."""

    attribute: str
    #: Its type, ``| None`` taken off.
    type: Any
    optional: bool
    default: Any
    doc: str = ""
    secret: bool = False
    most: int = 0


def conf_fields() -> Mapping[str, Field]:
    """The keys of the conf, in order."""
    return _fields(Conf)


def fields_of(cls: type) -> Mapping[str, Field]:
    """The options that the attrs class *cls* of a plugin describes.

    Raises:
        PluginBroke: *cls* is not an attrs class of types that a conf can hold.
    """
    return _fields(cls)


@functools.lru_cache(maxsize=256)
def _fields(cls: type) -> Mapping[str, Field]:
    if not attrs.has(cls):
        raise PluginBroke(f"The options class {_name(cls)} is not an attrs class.", plugin=cls.__module__)
    try:
        hints = typing.get_type_hints(cls)
    except NameError as error:
        raise PluginBroke(f"The types of {_name(cls)} cannot be found: {error}.", plugin=cls.__module__) from error
    found: dict[str, Field] = {}
    for attribute in attrs.fields(cls):
        if not attribute.init or (cls is Conf and attribute.name == "sections"):
            continue
        kind, optional = _without_none(hints.get(attribute.name, object))
        meta = attribute.metadata
        name = meta.get("name") or (attribute.alias.upper() if cls is Conf else attribute.alias)
        found[name] = Field(
            attribute.alias,
            kind,
            optional,
            _default(attribute.default),
            meta.get("doc", ""),
            bool(meta.get("secret")),
            int(meta.get("most") or 0),
        )
    return found


def _default(default: Any) -> Any:
    """What an attrs field is without a value: an attrs factory is asked, unless it wants the instance."""
    if hasattr(default, "takes_self"):
        return None if default.takes_self else default.factory()
    return default


def _without_none(kind: Any) -> tuple[Any, bool]:
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind, False
    rest = [each for each in typing.get_args(kind) if each is not type(None)]
    optional = len(rest) < len(typing.get_args(kind))
    return (rest[0] if len(rest) == 1 else typing.Union[tuple(rest)]), optional


def _name(cls: Any) -> str:
    return f"{getattr(cls, '__module__', '')}.{getattr(cls, '__qualname__', cls)}".lstrip(".")


class Values:
    """Collects what was read and what was wrong."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}
        self.problems: list[Problem] = []
        #: Keys that were given, sections' options as ``tcp.NAME``.
        self.given: list[str] = []

    def problem(self, key: str, text: str) -> None:
        """Note a mistake."""
        self.problems.append(Problem(key, text))

    def take(self, field: Field, value: Any, key: str) -> None:
        """*value* for *field* of the conf, into ``arguments`` unless it is wrong."""
        self.given.append(key)
        before = len(self.problems)
        taken = self.value(field, value, key)
        if len(self.problems) == before:
            self.arguments[field.attribute] = taken

    def value(self, field: Field, value: Any, key: str) -> Any:
        """*value* as *field* wants it; mistakes are noted, and the result then means nothing."""
        if value is None and field.optional:
            return None
        taken = self._any(field.type, value, key, field.secret)
        if field.most and isinstance(taken, (int, float)) and taken > field.most:
            self.problem(key, f"expected at most {field.most}, got {shown(value)}")
        return taken

    def instance(self, cls: type, data: Mapping[str, Any], key: str) -> Any:
        """*data* as an instance of the attrs class *cls*, or None where there are mistakes."""
        fields = fields_of(cls)
        arguments: dict[str, Any] = {}
        before = len(self.problems)
        for name, value in data.items():
            at = f"{key}.{name}"
            if name in fields:
                self.given.append(at)
                arguments[fields[name].attribute] = self.value(fields[name], value, at)
            else:
                near = difflib.get_close_matches(name, fields, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(fields) or 'none'}"
                self.problem(at, f"unknown option {name!r}; {hint}")
        for name, field in fields.items():
            if field.default is attrs.NOTHING and name not in data:
                self.problem(f"{key}.{name}", f"expected {expected(field.type)}, but it is missing")
        if len(self.problems) > before:
            return None
        try:
            return cls(**arguments)
        except (ValueError, TypeError) as error:  # the class's own validators
            self.problem(key, str(error.args[0] if error.args else error))
            return None

    def _any(self, kind: Any, value: Any, key: str, secret: bool) -> Any:
        scalar = KINDS.get(kind) if isinstance(kind, collections.abc.Hashable) else None
        if scalar is not None:
            return self._scalar(scalar, value, key, secret)
        if kind in (Any, object):
            return value
        origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
        if origin is typing.Literal:
            return self._choice({choice: choice for choice in arguments}, value, key)
        if isinstance(origin, type):
            if issubclass(origin, enum.Enum):
                return self._choice({choice.value: choice for choice in origin}, value, key)
            if issubclass(origin, PurePath):
                return origin(self._scalar(KINDS[str], value, key, secret) or ".")
            if origin in LISTS and (origin is not tuple or arguments[1:] in ((), (...,))):
                return self._list(origin, arguments, value, key, secret)
            if origin in MAPS:
                return self._map(arguments, value, key, secret)
            if attrs.has(origin):
                if isinstance(value, Mapping):
                    return self.instance(origin, value, key)
                return self.problem(key, f"expected an object, got {shown(value)}")
        raise PluginBroke(f"The option {key} is of a type that no conf can hold: {kind}.", plugin=key.partition(".")[0])

    def _scalar(self, kind: Kind, value: Any, key: str, secret: bool) -> Any:
        try:
            return kind.take(value)
        except Wrong as error:
            return self.problem(key, str(error) or f"expected {kind.expected}, got {shown(value, secret)}")

    def _choice(self, choices: Mapping[Any, Any], value: Any, key: str) -> Any:
        for choice, meant in choices.items():
            if type(choice) is type(value) and choice == value:
                return meant
        return self.problem(key, f"expected one of {', '.join(map(shown, choices))}, got {shown(value)}")

    def _list(self, origin: type, arguments: tuple[Any, ...], value: Any, key: str, secret: bool) -> Any:
        item = arguments[0] if arguments else object
        if not isinstance(value, (list, tuple)):
            return self.problem(key, f"expected a list (each {expected(item)}), got {shown(value, secret)}")
        taken = [self._any(item, each, f"{key}[{number}]", secret) for number, each in enumerate(value)]
        return tuple(taken) if origin in (tuple, collections.abc.Sequence) else origin(taken)

    def _map(self, arguments: tuple[Any, ...], value: Any, key: str, secret: bool) -> Any:
        item = arguments[1] if arguments else object
        if not isinstance(value, Mapping):
            return self.problem(key, f"expected an object (each {expected(item)}), got {shown(value, secret)}")
        return {name: self._any(item, each, f"{key}.{name}", secret) for name, each in value.items()}


def expected(kind: Any) -> str:
    """What a user should write for a value of type *kind*."""
    if isinstance(kind, collections.abc.Hashable) and kind in KINDS:
        return KINDS[kind].expected
    origin = typing.get_origin(kind) or kind
    if origin is typing.Literal:
        return "one of " + ", ".join(map(shown, typing.get_args(kind)))
    if origin in LISTS:
        return "a list"
    return "text" if isinstance(origin, type) and issubclass(origin, (PurePath, enum.Enum)) else "an object"
