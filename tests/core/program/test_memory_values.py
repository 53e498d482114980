"""What can be shared, how it travels, and that it comes back as it was."""

from __future__ import annotations

import enum
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from discomputify_core.errors import BadName, BadValue, MemoryFull
from discomputify_core.model.memory import check_name
from discomputify_core.program.arguments import name_of
from discomputify_core.program.large import read_file, write_file
from discomputify_core.program.values import Encoded, decode, encode

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
INTS = st.integers(-(2**63), 2**64 - 1)
LEAVES = st.one_of(st.none(), st.booleans(), INTS, st.floats(allow_nan=False, allow_infinity=False), TEXT)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
DTYPES = st.one_of(
    arrays.scalar_dtypes(),
    arrays.array_dtypes(arrays.scalar_dtypes(), max_size=3),
    st.sampled_from([np.dtype([("a", "<f8", (2, 3)), ("b", [("c", "S3"), ("é", "<U2")])])]),
)


def back(encoded: Encoded) -> Any:
    """What another part reads."""
    meta = json.loads(json.dumps(encoded.meta))
    return decode({"kind": encoded.kind, "meta": meta}, encoded.raw())


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_json_comes_back_and_equal_values_have_equal_bytes(value: Any) -> None:
    encoded = encode(value)
    assert encoded.kind == "json"
    assert repr(back(encoded)) == repr(json.loads(json.dumps(value, sort_keys=True)))
    assert encode(back(encoded)).raw() == encoded.raw()


def test_json_is_canonical() -> None:
    assert encode({"b": (1, 2.5), "ä": [None, True]}).raw() == '{"b":[1,2.5],"ä":[null,true]}'.encode()
    assert encode({"b": 1, "a": 2}).raw() == encode({"a": 2, "b": 1}).raw()


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(2.5), 2.5),
        (np.float32(0.5), 0.5),
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        ({"a": [np.int64(3), np.float16(1)]}, {"a": [3, 1.0]}),
        (np.str_("text"), "text"),
        (enum.IntEnum("Number", "one").one, 1),  # type: ignore[attr-defined]
    ],
)
def test_numpys_scalars_and_other_kinds_of_numbers_become_plain_ones(value: Any, plain: Any) -> None:
    found = back(encode(value))
    assert (found, type(found)) == (plain, type(plain))


@pytest.mark.parametrize("value", [b"", b"\0\xff", bytearray(b"abc"), memoryview(b"abcdef")[::2]])
def test_bytes_come_back_as_bytes(value: Any) -> None:
    assert back(encode(value)) == bytes(value)
    assert type(back(encode(value))) is bytes


class Unknown:
    def __repr__(self) -> str:
        return "Unknown()"


class Unshown:
    def __repr__(self) -> str:
        raise RuntimeError("broken")


LOOP: list[Any] = []
LOOP.append(LOOP)
RELEASED = memoryview(b"abc")
RELEASED.release()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "the number nan; only finite"),
        ([1, {"a": math.inf}], "At [1]['a'] in it is the number inf"),
        (np.float64("nan"), "nan"),
        (2**64, "make it text: str(number)"),
        (-(2**63) - 1, "more than 64 bits"),
        ({1: 2}, "the key 1 of type int; keys are text"),
        ({"a": {"b": {3}}}, "At ['a']['b'] in it is a set; make it a list"),
        (Unknown(), "Unknown() of type"),
        (1 + 2j, "of type complex"),
        (LOOP, "contains itself"),
        ([b"abc"], "bytes; share them under a name of their own"),
        ([np.zeros(3)], "share it under a name of its own, or as a list"),
        ("\ud800", "lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
        (np.datetime64("2020-01-01"), "of type numpy.datetime64"),
        (np.timedelta64(3, "s"), "of type numpy.timedelta64"),
        (np.array([None]), "its elements are Python objects"),
        (np.array([(1, None)], dtype=[("a", "i4"), ("b", "O")]), "its elements are Python objects"),
        (np.ma.masked_array([1, 2], [True, False]), "masked array"),
        (np.zeros(2, np.dtype({"names": ["a"], "formats": ["i4"], "offsets": [4], "itemsize": 12})), "repack_fields"),
        (np.zeros(2, np.dtype({"names": "ab", "formats": ["i4", "i4"], "offsets": [0, 0]})), "no (short) name"),
        (np.zeros(2, [(f"field {number}", "i4") for number in range(100)]), "cannot be shared: that type"),
        (Unshown(), "This is <Unshown that cannot be shown> of type"),
        ({Unshown(): 1}, "the key <Unshown that cannot be shown> of type Unshown; keys are text"),
        ({10**5000: 1}, "the key <int that cannot be shown>"),
        (RELEASED, "cannot be read any more"),
    ],
)
def test_what_cannot_be_shared_is_refused_with_a_hint(value: Any, words: str) -> None:
    with pytest.raises(BadValue) as caught:
        encode(value)
    assert words in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert len(str(caught.value)) < 400


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_arrays_keep_type_shape_order_and_bytes(data: st.DataObject) -> None:
    array = data.draw(arrays.arrays(data.draw(DTYPES), arrays.array_shapes(min_dims=0, min_side=0, max_dims=4)))
    array = data.draw(
        st.sampled_from([array, array.T, array[..., :1] if array.ndim else array, np.asfortranarray(array)])
    )
    found = back(encode(array))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()
    assert found.flags.f_contiguous or not array.flags.f_contiguous
    assert found.flags.c_contiguous or array.flags.f_contiguous
    assert not found.flags.writeable


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("step", [1, 2], ids=["whole", "every second"])
def test_large_arrays_pass_through_a_file_and_are_mapped(tmp_path: Path, order: Any, step: int) -> None:
    array = np.asarray(np.arange(60_000.0).reshape(200, 300), order=order)[::step]
    encoded = encode(array)
    path = tmp_path / "array"
    path.write_bytes(bytes(encoded.size))
    write_file(str(path), encoded)
    found = read_file(str(path), {"of": "array", "size": encoded.size, **encoded.meta})
    path.unlink()
    assert np.array_equal(found, array)
    assert not found.flags.writeable
    assert not found.flags.owndata
    assert found.flags.f_contiguous == (order == "F" and step == 1)
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 1


def test_large_bytes_pass_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(300_000))
    write_file(str(path), encode(b"abc" * 100_000))
    assert read_file(str(path), {"of": "bytes", "size": 300_000}) == b"abc" * 100_000


def test_a_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(MemoryFull, match="3 bytes cannot be kept on this computer"):
        write_file(str(tmp_path / "none" / "x"), encode(b"abc"))


def verdict(check: Callable[[str], str], name: str) -> object:
    try:
        return check(name)
    except BadName as refused:
        return str(refused), refused.fields


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(st.characters(codec=None)), st.sampled_from(["", "a" * 256, "a" * 257, "é" * 128, "é" * 129])))
def test_a_name_is_one_for_programs_if_it_is_one_for_the_service(name: str) -> None:
    assert verdict(name_of, name) == verdict(check_name, name)


@pytest.mark.parametrize("name", [None, 3, b"abc", ("a",)])
def test_a_name_is_text(name: Any) -> None:
    with pytest.raises(BadName, match="is text, not"):
        name_of(name)


def test_values_and_their_way_need_neither_numpy_nor_anything_heavy() -> None:
    script = (
        "import sys\n"
        "from discomputify_core.program import shared_memory\n"
        "from discomputify_core.program.values import encode\n"
        "encode([1.5, {'a': 'b'}]), encode(b'abc')\n"
        "heavy = {'numpy', 'asyncio', 'attr', 'attrs', 'msgpack', 'threading', 'pathlib', 'random'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
        "print(*sorted(n for n in sys.modules if n.startswith('discomputify_core.') and '.program' not in n))"
    )
    source = str(Path(__file__).parents[3] / "discomputify_core" / "src")
    command = [sys.executable, "-I", "-S", "-c", f"import sys\nsys.path.append({source!r})\n{script}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == ["", "discomputify_core.errors"]
