from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.errors import BadInput, BadPath
from discomputify_core.model.files import check_path
from discomputify_core.model.ids import check_process_id
from discomputify_ftp import layout
from discomputify_ftp.hashing import digest_of

ids = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}", fullmatch=True)
trees = st.text(min_size=1, max_size=60).filter(lambda text: text.isprintable())


def usable(path: str) -> None:
    assert check_path(path) == path
    assert PurePosixPath(path).parts[0] in ("blobs", "jobs", "incoming", "damaged")


@given(st.binary(max_size=10), st.integers(0, 2**50))
def test_files_of_blobs_stay_below_the_base(data: bytes, size: int) -> None:
    digest = digest_of(data)
    for path in (layout.blob_file(digest), layout.part_file(digest, size), layout.damaged_file(digest, "ab")):
        usable(path)
        assert digest.partition(":")[2] in path


@given(st.one_of(ids, st.text(max_size=200)), st.one_of(trees, st.text(max_size=600)))
def test_files_of_trees_stay_below_the_base_or_are_refused(process_id: str, tree: str) -> None:
    try:
        path = layout.tree_file(process_id, tree)
    except BadInput:
        return
    check_process_id(process_id)
    usable(path)
    assert len(PurePosixPath(path).parts) == 3
    assert all(len(name.encode()) <= 255 for name in PurePosixPath(path).parts)


@given(trees, trees)
def test_two_trees_are_two_files_also_where_capitals_do_not_count(one: str, two: str) -> None:
    same = layout.tree_file("job", one).casefold() == layout.tree_file("job", two).casefold()
    assert same == (one == two)


@pytest.mark.parametrize(("one", "two"), [("job", "JOB"), ("Job", "jOB"), ("a" * 128, "A" * 128)])
def test_ids_that_differ_in_capitals_are_two_folders(one: str, two: str) -> None:
    assert layout.job_folder(one).casefold() != layout.job_folder(two).casefold()


def test_plain_names_are_kept_for_people() -> None:
    assert layout.tree_file("1700000000000000", "program") == "jobs/1700000000000000/program"


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "blake3:",
        "../../etc/passwd",
        "blake3:" + "g" * 64,
        "blake3:" + "a" * 63,
        "sha256:" + "a" * 64,
        "blake3:" + "A" * 64,
        "blake3:" + "a" * 64 + "/..",
    ],
)
def test_what_is_not_a_digest_never_becomes_a_file(digest: str) -> None:
    with pytest.raises(BadPath):
        layout.blob_file(digest)


@pytest.mark.parametrize("tree", ["", "a\x00b", "a\nb", "\ud800", "x" * 513])
def test_names_of_trees_are_plain_text(tree: str) -> None:
    with pytest.raises(BadInput):
        layout.check_tree(tree)
