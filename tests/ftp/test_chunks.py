from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.model.message import MAX_BODY
from discomputify_ftp.chunks import MAX_CHUNK, batches, chunk_size, chunks, slices

sizes = st.lists(st.integers(0, 1000), max_size=50)


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 3000))
def test_chunks_cover_the_rest_of_a_blob_once(start: int, size: int, length: int) -> None:
    at = start
    for offset, count in chunks(start, size, length):
        assert offset == at
        assert 0 < count <= length
        at += count
    assert at == max(start, size)


@given(sizes, st.integers(1, 1500), st.integers(1, 7))
def test_batches_keep_the_order_and_both_bounds(items: list[int], most_bytes: int, most: int) -> None:
    made = list(batches(items, lambda item: item, most_bytes, most))
    assert [item for batch in made for item in batch] == items
    for batch in made:
        assert 0 < len(batch) <= most
        assert sum(batch) <= most_bytes or len(batch) == 1


@given(sizes, st.integers(1, 7))
def test_slices_keep_the_order(items: list[int], most: int) -> None:
    made = list(slices(items, most))
    assert [item for part in made for item in part] == items
    assert all(0 < len(part) <= most for part in made)


@given(st.integers(1, 2**40))
def test_a_chunk_always_fits_into_a_message(wanted: int) -> None:
    assert 1 <= chunk_size(wanted) <= min(wanted, MAX_CHUNK, MAX_BODY)
