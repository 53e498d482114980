"""Which files a part needs: ways and patterns."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.errors import BadInput
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.inputs import (
    check_inputs,
    entries_for,
    matcher,
    most_bytes_of_a_part,
    requirements_in,
    size_of,
)


def digest(number: int) -> str:
    return f"blake3:{number:064x}"


def tree(*paths: str) -> Manifest:
    return Manifest(Entry(path, 10, digest(number)) for number, path in enumerate(paths))


PROGRAM = tree(
    "main.py", "lib/a.py", "INPUT_PATH/1/x", "INPUT_PATH/2/x", "INPUT_PATH/2/y/z", "INPUT_PATH/12/x", "INPUT_PATHS/k"
)


@pytest.mark.parametrize(
    ("inputs", "part", "wanted"),
    [
        ("all", 1, {"1/x", "2/x", "2/y/z", "12/x"}),
        ("lazy", 1, set()),
        ("INPUT_PATH/{part}/**", 1, {"1/x"}),
        ("INPUT_PATH/{part}/**", 2, {"2/x", "2/y/z"}),
        ("INPUT_PATH/{part}/*", 2, {"2/x"}),
        ("INPUT_PATH/{part}/**", 3, set()),
        ("INPUT_PATH/*{part}/x", 2, {"2/x", "12/x"}),
        ("INPUT_PATH/**/x", 1, {"1/x", "2/x", "12/x"}),
        ("INPUT_PATH/{total}/x", 5, {"12/x"}),
        ("INPUT_PATH/?/x", 5, {"1/x", "2/x"}),
    ],
)
def test_a_part_gets_its_slice_of_the_inputs_and_all_of_the_rest(inputs: str, part: int, wanted: set[str]) -> None:
    found = {entry.path for entry in entries_for(PROGRAM, "INPUT_PATH", inputs, part, 12)}
    assert found == {"main.py", "lib/a.py", "INPUT_PATHS/k", *(f"INPUT_PATH/{path}" for path in wanted)}


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a/**", ["a/b", "a/b/c", "a/"], ["a", "ab"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/xb", "ab"]),
        ("a/*.txt", ["a/x.txt", "a/.txt"], ["a/x/y.txt", "a/xtxt"]),
        ("a/{part}-{total}", ["a/3-7"], ["a/37", "a/{part}-{total}"]),
        ("a/{other}", ["a/{other}"], ["a/3"]),
        ("a/[x].(y)+", ["a/[x].(y)+"], ["a/x.y"]),
    ],
)
def test_patterns(pattern: str, yes: list[str], no: list[str]) -> None:
    found = matcher(pattern, 3, 7)
    assert [path for path in yes if not found.fullmatch(path)] == []
    assert [path for path in no if found.fullmatch(path)] == []


@given(st.text("abc.+(){}[]^$|", max_size=12))
def test_a_pattern_without_wild_cards_matches_itself_alone(text: str) -> None:
    if "{part}" not in text and "{total}" not in text:
        assert matcher(text, 1, 2).fullmatch(text)
        assert not matcher(text, 1, 2).fullmatch(text + "x")


@given(st.text(max_size=20))
def test_every_text_is_a_pattern(text: str) -> None:
    assert isinstance(matcher(text, 1, 2), re.Pattern)


@pytest.mark.parametrize("inputs", ["all", "lazy", "INPUT_PATH/{part}/**", "INPUT_PATH/x"])
def test_ways_to_bring_inputs(inputs: str) -> None:
    assert check_inputs(inputs, "INPUT_PATH") == inputs


@pytest.mark.parametrize("inputs", ["", "ALL", "INPUT_PATH", "INPUT_PATHS/x", "other/{part}", "/INPUT_PATH/x"])
def test_what_is_no_way_to_bring_inputs(inputs: str) -> None:
    with pytest.raises(BadInput, match="allowed are 'all', 'lazy'"):
        check_inputs(inputs, "INPUT_PATH")


def test_a_blob_counts_once() -> None:
    assert size_of([Entry("a", 10, digest(1)), Entry("b", 10, digest(1)), Entry("c", 5, digest(2))]) == 15


@pytest.mark.parametrize(
    ("inputs", "most"),
    [("all", 70), ("lazy", 30), ("INPUT_PATH/{part}/**", 50), ("INPUT_PATH/*/x", 60)],
)
def test_the_most_that_one_part_needs(inputs: str, most: int) -> None:
    assert most_bytes_of_a_part(PROGRAM, "INPUT_PATH", inputs, 12) == most


def test_many_parts_of_many_files_are_not_all_looked_at() -> None:
    big = tree("main.py", *(f"INPUT_PATH/{number}/x" for number in range(1, 20_001)))
    began = time.monotonic()
    assert most_bytes_of_a_part(big, "INPUT_PATH", "INPUT_PATH/{part}/**", 10_000_000) == 20
    assert time.monotonic() - began < 20


def test_requirements() -> None:
    text = """
    # a comment
    numpy>=1.20  # why
    Foo_Bar.baz==2; python_version < "4"
    numpy
    -r other.txt
    --index-url https://example.org
    requests[socks]
    """
    assert requirements_in(text) == ("numpy", "foo-bar-baz", "requests")
    assert requirements_in("") == ()
