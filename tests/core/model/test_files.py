"""Paths and manifests: nothing outside a tree can ever be named."""

import posixpath
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.errors import BadPath
from discomputify_core.model.files import MAX_COMPONENT, MAX_PATH, Entry, Manifest, check_digest, check_path

DIGEST = "blake3:" + "0" * 64
PATHS = st.from_regex(r"[a-c]{1,2}(/[a-c]{1,2}){0,3}", fullmatch=True)
ENTRIES = st.lists(
    st.builds(Entry, PATHS, st.integers(0, 2**40), st.just(DIGEST), st.booleans())
    | st.builds(Entry, PATHS, folder=st.just(True)),
    max_size=8,
)


@pytest.mark.parametrize(
    "path",
    ["a", "a/b/c", "INPUT_PATH/über größe.txt", ".hidden", "a..b", "...a", "日本語", "a b", "x" * 255, "-rf", "~"],
)
def test_paths(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "empty"),
        ("/a", "absolute"),
        ("C:/a", "absolute"),
        ("c:a", "absolute"),
        ("..", "goes up"),
        ("a/../b", "goes up"),
        ("a/..", "goes up"),
        (".", "empty component"),
        ("a//b", "empty component"),
        ("a/", "empty component"),
        ("a/./b", "empty component"),
        ("a\\b", "backslash"),
        ("a\x00b", "control"),
        ("a\nb", "control"),
        ("a\x7f", "control"),
        ("a ", "space or a dot"),
        ("a.", "space or a dot"),
        ("a /b", "space or a dot"),
        ("nul", "reserved"),
        ("a/COM1.txt", "reserved"),
        ("a\udcff", "valid text"),
        ("ü" * 128, "component is longer"),
        ("a/" * 512 + "a", f"longer than {MAX_PATH}"),
    ],
)
def test_what_is_no_path(path: str, why: str) -> None:
    with pytest.raises(BadPath, match=why) as caught:
        check_path(path)
    str(caught.value).encode()  # the message itself can be shown and sent
    caught.value.fields["path"].encode()


@given(st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "", "a", "C:", "nul", "b "])).map("/".join))
def test_a_path_stays_inside_its_tree(path: str) -> None:
    try:
        check_path(path)
    except BadPath:
        return
    assert not PurePosixPath(path).is_absolute()
    assert not PureWindowsPath(path).drive
    assert not PureWindowsPath(path).root
    assert posixpath.normpath(path) == path
    assert not posixpath.normpath(posixpath.join("/tree", path)).startswith("/tree/..")
    assert all(len(name.encode()) <= MAX_COMPONENT for name in path.split("/"))


@pytest.mark.parametrize(
    "text", ["", "blake3", "blake3:", "blake3:xyz", "BLAKE3:" + "0" * 64, "a:../" + "0" * 40, DIGEST + "\n"]
)
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(BadPath, match="not a digest"):
        check_digest(text)


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "a", "size": -1, "digest": DIGEST},
        {"path": "a"},
        {"path": "a", "folder": True, "digest": DIGEST},
        {"path": "a", "folder": True, "size": 1},
        {"path": "../a", "digest": DIGEST},
    ],
)
def test_what_is_no_entry(entry: dict[str, Any]) -> None:
    with pytest.raises(BadPath):
        Entry(**entry)


@given(ENTRIES)
def test_a_manifest_comes_back_from_its_rows(entries: list[Entry]) -> None:
    try:
        manifest = Manifest(entries)
    except BadPath:
        return
    rows = msgpack.unpackb(msgpack.packb(manifest.to_rows()))
    assert Manifest.from_rows(rows) == manifest
    assert manifest == Manifest(reversed(entries))
    assert [entry.path for entry in manifest.entries] == sorted(entry.path for entry in entries)


@given(ENTRIES)
def test_a_manifest_can_be_laid_out_as_folders_and_files(entries: list[Entry]) -> None:
    paths = [entry.path for entry in entries]
    files = {entry.path for entry in entries if not entry.folder}
    above = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    fits = len(set(paths)) == len(paths) and not files & above
    try:
        Manifest(entries)
    except BadPath:
        assert not fits
    else:
        assert fits


def test_part_of_a_manifest() -> None:
    entries = [
        Entry("out/a", 1, DIGEST),
        Entry("out/b/c", 2, DIGEST, True),
        Entry("outer", 3, DIGEST),
        Entry("out/d", folder=True),
    ]
    found = Manifest(entries).under("out")
    assert [(entry.path, entry.folder) for entry in found.entries] == [("a", False), ("b/c", False), ("d", True)]
    assert (found.size, len(found.files)) == (3, 2)
    assert Manifest(entries).under("out/") == found


NONSENSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=12,
)


@given(NONSENSE)
def test_rows_that_are_no_manifest_are_refused_as_such(rows: Any) -> None:
    try:
        Manifest.from_rows(rows)
    except BadPath:
        pass


@pytest.mark.parametrize(
    "row",
    [
        ["a", "1", DIGEST, 0],
        ["a", 1.0, DIGEST, 0],
        ["a", float("inf"), DIGEST, 0],
        [b"a", 1, DIGEST, 0],
        ["a", 1, None, 0],
        ["a", 1, DIGEST, 4],
        ["a", 1, DIGEST, -1],
        ["a", 1, DIGEST],
        ["a", 1, DIGEST, 0, 0],
    ],
)
def test_rows_are_not_coerced(row: list[Any]) -> None:
    with pytest.raises(BadPath):
        Manifest.from_rows([row])
