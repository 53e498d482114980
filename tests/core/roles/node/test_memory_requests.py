"""What a program may ask of shared memory, and that nothing else gets through."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.errors import BadInput, BadName
from discomputify_core.model import memory as cmd
from discomputify_core.model.memory import ARRAY, BYTES, JSON, REF, Value
from discomputify_core.roles.node.memory_requests import LARGEST, WEEK, command, quiet, reserved_size, wait

META = {"dtype": "<f8", "shape": [2, 3], "order": "F"}
KEPT = {"id": "a", "node": "n1", "of": ARRAY, "size": 48, **META}


def asked(do: str, body: bytes = b"", **data: Any) -> cmd.Command:
    return command({"do": do, "name": "x", **data}, body, part=2, total=3)


@pytest.mark.parametrize(
    ("data", "body", "wanted"),
    [
        ({"do": "put", "value": {"kind": JSON}}, b"1", cmd.Put("x", Value(JSON, b"1"))),
        (
            {"do": "put", "value": {"kind": BYTES, "meta": {}}, "version": 0, "ephemeral": True},
            b"",
            cmd.Put("x", Value(BYTES), 0, True),
        ),
        ({"do": "put", "value": {"kind": REF, "meta": KEPT}}, b"", cmd.Put("x", Value(REF, b"", KEPT))),
        ({"do": "append", "value": {"kind": ARRAY, "meta": META}}, b"ab", cmd.Append("x", Value(ARRAY, b"ab", META))),
        ({"do": "get"}, b"", cmd.Get("x")),
        ({"do": "remove"}, b"", cmd.Remove("x")),
        ({"do": "add"}, b"", cmd.Add("x", 1)),
        ({"do": "add", "by": -2.5}, b"", cmd.Add("x", -2.5)),
        ({"do": "pop"}, b"", cmd.Pop("x")),
        ({"do": "names"}, b"", cmd.Names("")),
        ({"do": "names", "prefix": "a"}, b"", cmd.Names("a")),
        ({"do": "lock", "lease": 30}, b"", cmd.Lock("x", 30.0)),
        ({"do": "lock", "lease": 1e30}, b"", cmd.Lock("x", WEEK)),
        ({"do": "renew", "token": 7, "lease": 0.5}, b"", cmd.Renew("x", 7, 0.5)),
        ({"do": "unlock", "token": 7}, b"", cmd.Unlock("x", 7)),
        ({"do": "meet", "kind": "barrier"}, b"", cmd.Meet("barrier", "x", 0)),
        (
            {"do": "meet", "kind": "gather", "value": {"kind": JSON}, "sign": "sum"},
            b"1",
            cmd.Meet("gather", "x", 0, Value(JSON, b"1"), sign="sum"),
        ),
        (
            {"do": "meet", "kind": "broadcast", "root": 2, "value": {"kind": JSON}},
            b"1",
            cmd.Meet("broadcast", "x", 0, Value(JSON, b"1"), 2),
        ),
        ({"do": "meet", "kind": "broadcast", "root": 1}, b"", cmd.Meet("broadcast", "x", 0)),
    ],
)
def test_commands(data: dict[str, Any], body: bytes, wanted: cmd.Command) -> None:
    assert command({"name": "x", **data}, body, part=2, total=3) == wanted


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ({}, b""),
        ({"do": None}, b""),
        ({"do": ["get"]}, b""),
        ({"do": "flush"}, b""),
        ({"do": "get", "name": 1}, b""),
        ({"do": "get"}, b"body"),
        ({"do": "get", "value": {"kind": JSON}}, b""),
        ({"do": "put"}, b""),
        ({"do": "put", "value": 1}, b"1"),
        ({"do": "put", "value": {"kind": [JSON]}}, b"1"),
        ({"do": "put", "value": {"kind": "pickle"}}, b"1"),
        ({"do": "put", "value": {"kind": JSON}}, b""),
        ({"do": "put", "value": {"kind": JSON, "meta": {"x": 1}}}, b"1"),
        ({"do": "put", "value": {"kind": JSON}, "version": -1}, b"1"),
        ({"do": "put", "value": {"kind": JSON}, "version": True}, b"1"),
        ({"do": "put", "value": {"kind": JSON}, "ephemeral": 1}, b"1"),
        ({"do": "put", "value": {"kind": ARRAY, "meta": {**META, "order": "A"}}}, b"1"),
        ({"do": "put", "value": {"kind": ARRAY, "meta": {**META, "dtype": 8}}}, b"1"),
        ({"do": "put", "value": {"kind": ARRAY, "meta": {**META, "shape": [-1]}}}, b"1"),
        ({"do": "put", "value": {"kind": ARRAY, "meta": {**META, "shape": [1] * 65}}}, b"1"),
        ({"do": "put", "value": {"kind": ARRAY, "meta": {**META, "shape": 6}}}, b"1"),
        ({"do": "put", "value": {"kind": REF, "meta": KEPT}}, b"1"),
        ({"do": "put", "value": {"kind": REF, "meta": {**KEPT, "size": 0}}}, b""),
        ({"do": "put", "value": {"kind": REF, "meta": {**KEPT, "node": None}}}, b""),
        ({"do": "put", "value": {"kind": REF, "meta": {**KEPT, "of": JSON}}}, b""),
        ({"do": "add", "by": "1"}, b""),
        ({"do": "add", "by": True}, b""),
        ({"do": "add", "by": float("nan")}, b""),
        ({"do": "add", "by": float("inf")}, b""),
        ({"do": "add", "by": LARGEST + 1}, b""),
        ({"do": "names", "prefix": 1}, b""),
        ({"do": "names", "prefix": "x" * 300}, b""),
        ({"do": "lock"}, b""),
        ({"do": "lock", "lease": 0}, b""),
        ({"do": "renew", "lease": 1}, b""),
        ({"do": "unlock", "token": 1.0}, b""),
        ({"do": "meet", "kind": "scan"}, b""),
        ({"do": "meet", "kind": ["barrier"]}, b""),
        ({"do": "meet", "kind": "barrier", "value": {"kind": JSON}}, b"1"),
        ({"do": "meet", "kind": "gather"}, b""),
        ({"do": "meet", "kind": "broadcast", "root": 2}, b""),
        ({"do": "meet", "kind": "broadcast", "root": 1, "value": {"kind": JSON}}, b"1"),
        ({"do": "meet", "kind": "barrier", "root": 4}, b""),
        ({"do": "meet", "kind": "barrier", "root": 0}, b""),
        ({"do": "meet", "kind": "barrier", "sign": 1}, b""),
        ({"do": "meet", "kind": "barrier", "sign": "x" * 2000}, b""),
    ],
)
def test_nonsense_is_refused(data: dict[str, Any], body: bytes) -> None:
    with pytest.raises(BadInput):
        command({"name": "x", **data}, body, part=2, total=3)


@pytest.mark.parametrize("name", ["", "x" * 257, "\ud800"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(BadName):
        asked("get", name=name)


def test_waits_are_finite() -> None:
    assert [wait(data) for data in ({}, {"wait": -3}, {"wait": 2.5}, {"wait": 1e300})] == [0.0, 0.0, 2.5, WEEK]
    for bad in ("1", None, True, float("nan"), float("inf")):
        with pytest.raises(BadInput):
            wait({"wait": bad})


def test_other_words() -> None:
    assert (quiet({}), quiet({"quiet": True}), reserved_size({"size": 5}, b"")) == (False, True, 5)
    for bad in (0, -1, 1.0, "1", None, 2**63):
        with pytest.raises(BadInput):
            reserved_size({"size": bad}, b"")
    with pytest.raises(BadInput):
        reserved_size({"size": 5}, b"x")
    with pytest.raises(BadInput):
        quiet({"quiet": 1})


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["put", JSON, REF]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(KEPT)), inner, max_size=4),
    max_leaves=8,
)
WORDS = ("do", "name", "value", "by", "lease", "token", "kind", "root", "sign", "version", "prefix", "wait")
DOS = ("put", "get", "remove", "add", "append", "pop", "names", "lock", "renew", "unlock", "meet")


@given(st.sampled_from(DOS), st.dictionaries(st.sampled_from(WORDS), plain), st.binary(max_size=4))
def test_whatever_comes_is_a_command_or_refused(do: str, data: dict[str, Any], body: bytes) -> None:
    try:
        wait(data)
        command({"do": do, "name": "x", **data}, body, part=1, total=2)
    except (BadInput, BadName):
        pass
