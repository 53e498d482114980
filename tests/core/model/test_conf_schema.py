"""The conf's JSON Schema says what the reader checks."""

from __future__ import annotations

import json
from typing import Literal

import attrs

from discomputify_core.model.conf import key
from discomputify_core.model.conf_fields import conf_fields
from discomputify_core.model.conf_schema import DIALECT, schema


@attrs.frozen
class Options:
    url: str
    weight: float = key(1.0, doc="How much.", most=10)
    mode: Literal["fast", "safe"] = "fast"
    names: tuple[str, ...] = ()


def test_every_key_is_described() -> None:
    described = schema({})
    assert described["$schema"] == DIALECT
    assert set(described["properties"]) == set(conf_fields())
    assert all(each["description"] for each in described["properties"].values())
    json.dumps(described)


def test_types_limits_and_defaults() -> None:
    properties = schema({})["properties"]
    assert properties["FTP_PORT"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 65535,
        "description": "Port of the store.",
        "default": 11112,
    }
    assert properties["SLOTS"]["anyOf"][1] == {"type": "null"}
    assert properties["COMPUTING_NODES"]["items"] == {"type": "string", "minLength": 1}
    assert properties["RESOURCES"]["additionalProperties"] == {"type": "integer", "minimum": 1}
    assert properties["ENCRYPTION_KEY"]["anyOf"][0]["minLength"] == 32


def test_sections_know_no_other_options() -> None:
    section = schema({"plug": Options, "bare": None})["properties"]["plug"]
    assert section["additionalProperties"] is False
    assert section["required"] == ["url"]
    assert section["properties"]["mode"] == {"enum": ["fast", "safe"], "default": "fast"}
    assert section["properties"]["weight"]["maximum"] == 10
    assert schema({"bare": None})["properties"]["bare"]["properties"] == {}
