"""What requests of old clients may say."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.errors import BadInput, BadPath
from discomputify_core.model.files import check_path
from discomputify_core.model.old_clients import OldRequest
from discomputify_ftp.old_requests import (
    ALL,
    LARGEST,
    Chunk,
    ShownName,
    asked_job,
    clean_path,
    read_chunk,
    read_offset,
    shown_name,
)

#: Paths that are nearly right, more often than random text is.
paths = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(["", ".", "..", "...", "a", "B", "ä", "a b", "x ", "nul", "C:", "\x00", "\\", "~"]), max_size=8
    ).map("/".join),
)


def write(data: Any, metadata: Any = None) -> OldRequest:
    return OldRequest("a", "WRITE", data, metadata or {})


@given(paths)
def test_a_path_lies_inside_or_is_refused(path: str) -> None:
    try:
        clean = clean_path(path)
    except BadPath:
        return
    assert clean_path(clean) == clean
    if clean == ALL:
        assert not set(path) - {"/", "."}
        return
    assert check_path(clean) == clean
    parts = PurePosixPath(clean).parts
    assert not set(parts) & {"", ".", "..", "/"}
    assert parts == tuple(part for part in path.split("/") if part not in ("", "."))
    for part in parts:
        check_path(part)


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("qwe/main.py", "qwe/main.py"),
        ("1700000000000000/./qwe/main.py", "1700000000000000/qwe/main.py"),
        ("./qwe//main.py/", "qwe/main.py"),
        ("a..b/...c", "a..b/...c"),
        ("Ä b/ß", "Ä b/ß"),
        *((path, ALL) for path in ("", "/", "//", ".", "./", "././/")),
    ],
)
def test_what_means_nothing_is_taken_out(path: str, clean: str) -> None:
    assert clean_path(path) == clean


@pytest.mark.parametrize(
    "path",
    [
        *("..", "a/../b", "a/..", "/etc/passwd", "//a", "C:/x", "a/C:x", "a/nul", "a/b ", "a/b."),
        *("a\x00b", "a\nb", "a\\b", "\ud800", "a" * 256, "a/" * 600, "/" * 5000),
    ],
)
def test_bad_paths_are_refused(path: str) -> None:
    with pytest.raises(BadPath) as caught:
        clean_path(path)
    assert len(str(caught.value)) < 2000


@given(st.binary(max_size=50), st.integers(0, 5), st.integers(0, 100), st.integers(0, 100))
def test_a_chunk_belongs_where_it_ends(data: bytes, index: int, before: int, after: int) -> None:
    before = before if index else 0
    about = {"UPLOADED": before + len(data), "FILESIZE": before + len(data) + after}
    chunk = read_chunk(write([data.hex(), index], about))
    assert chunk == Chunk(data, index == 0, about["FILESIZE"], before)
    assert chunk.last == (after == 0)


def test_a_chunk_without_a_place() -> None:
    for about in ({}, {"FILESIZE": 3}, {"UPLOADED": 3}):
        assert read_chunk(write(["00FF", 3], about)) == Chunk(b"\x00\xff", False)


@pytest.mark.parametrize(
    "data",
    [
        *(None, 0, "00", {}, [], ["00"], ["00", 0, 0], [0, 0], [["00"], 0]),
        *(["00", "0"], ["00", True], ["00", -1], ["00", 0.0]),
        *(["0", 0], ["zz", 0], ["0x00", 0], ["0 0 ", 0], ["ää", 0]),
    ],
)
def test_what_is_no_chunk_is_refused(data: Any) -> None:
    with pytest.raises(BadInput, match="DATA"):
        read_chunk(write(data, {"FILESIZE": 1, "UPLOADED": 1}))


@pytest.mark.parametrize("wrong", [None, "1", 1.0, True, -1, [], LARGEST + 1])
@pytest.mark.parametrize("key", ["FILESIZE", "UPLOADED"])
def test_numbers_of_bytes_are_numbers(wrong: Any, key: str) -> None:
    with pytest.raises(BadInput, match=key):
        read_chunk(write(["00", 0], {"FILESIZE": 1, "UPLOADED": 1} | {key: wrong}))


@pytest.mark.parametrize(("index", "uploaded", "size"), [(0, 1, 9), (1, 1, 9), (1, 10, 9), (0, 3, 9)])
def test_a_chunk_lies_inside_its_file(index: int, uploaded: int, size: int) -> None:
    with pytest.raises(BadInput, match="UPLOADED"):
        read_chunk(write(["0000", index], {"FILESIZE": size, "UPLOADED": uploaded}))


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())))
def test_an_offset_is_a_number_and_nothing_else(data: Any) -> None:
    request = OldRequest("a", "READ", data)
    if type(data) is not int:
        assert read_offset(request) is None
    elif data >= 0:
        assert read_offset(request) == data
    else:
        with pytest.raises(BadInput, match="negative"):
            read_offset(request)


@pytest.mark.parametrize("data", [None, [], "qwe", {}, {"PROCESS_ID": 1}, {"PROCESS_ID": "a/b"}, {"PROCESS_ID": ""}])
def test_a_query_names_a_job(data: Any) -> None:
    assert asked_job(OldRequest("/", "GET_DIR_NAMES", {"PROCESS_ID": "q_1"})) == "q_1"
    with pytest.raises(BadInput, match="PROCESS_ID"):
        asked_job(OldRequest("/", "GET_DIR_NAMES", data))


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True), st.integers(1, 10**7), st.integers(1, 10**7))
def test_names_of_outputs_are_taken_apart(job: str, part: int, total: int) -> None:
    assert shown_name(f"{job}_{part}_{total}") == ShownName(job, part, total)


@pytest.mark.parametrize("name", ["", "qwe", "qwe_1", "_1_3", "qwe_0_3", "qwe_01_3", "qwe_1_3_", "qwe_a_3", "qwe_1_٣"])
def test_other_names_are_not(name: str) -> None:
    assert shown_name(name) is None
