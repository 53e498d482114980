"""The conf as JSON Schema, for editors: drawn from the same tables that check it."""

from __future__ import annotations

import collections.abc
import enum
import typing
from collections.abc import Mapping
from typing import Any

import attrs

from discomputify_core.model.conf_fields import LISTS, MAPS, Field, conf_fields, fields_of
from discomputify_core.model.conf_kinds import KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(options: Mapping[str, type | None]) -> dict[str, Any]:
    """JSON Schema of a conf; *options* are the options classes of plugins by section."""
    properties = {key: _field(field) for key, field in conf_fields().items()}
    for name, cls in options.items():
        properties[name] = _object({} if cls is None else fields_of(cls), f"Options of the plugin {name}.")
    return {
        "$schema": DIALECT,
        "title": "discomputify_conf.json",
        "type": "object",
        "properties": properties,
    }


def _object(fields: Mapping[str, Field], doc: str = "") -> dict[str, Any]:
    described: dict[str, Any] = {"description": doc} if doc else {}
    described |= {
        "type": "object",
        "properties": {key: _field(field) for key, field in fields.items()},
        "additionalProperties": False,
    }
    required = [key for key, field in fields.items() if field.default is attrs.NOTHING]
    return {**described, "required": required} if required else described


def _field(field: Field) -> dict[str, Any]:
    found = dict(_type(field.type))
    if field.most:
        found["maximum"] = field.most
    if field.optional:
        found = {"anyOf": [found, {"type": "null"}]}
    if field.doc:
        found["description"] = field.doc
    if isinstance(field.default, (bool, int, float, str)) and not field.secret:
        found["default"] = field.default
    return found


def _type(kind: Any) -> Mapping[str, Any]:
    if isinstance(kind, collections.abc.Hashable) and kind in KINDS:
        return KINDS[kind].schema
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if isinstance(origin, type):
        if issubclass(origin, enum.Enum):
            return {"enum": [choice.value for choice in origin]}
        if origin in LISTS:
            return {"type": "array", "items": _type(arguments[0]) if arguments else {}}
        if origin in MAPS:
            return {"type": "object", "additionalProperties": _type(arguments[1]) if arguments else {}}
        if attrs.has(origin):
            return _object(fields_of(origin))
    return {}
