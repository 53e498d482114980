"""Columns of numbers: whatever is put in comes out, in few bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.cluster.column import Column

NUMBERS = st.integers(0, 2**64 - 1) | st.integers(0, 300) | st.integers(65_000, 66_000)


@given(st.lists(NUMBERS))
def test_numbers_come_out_as_they_went_in_and_back_from_bytes(numbers: list[int]) -> None:
    column = Column()
    for number in numbers:
        column.append(number)
    for found in (column, Column.load(column.save("Q"), "Q")):
        assert (list(found), len(found)) == (numbers, len(numbers))
        assert [found.index(number) for number in numbers] == [numbers.index(number) for number in numbers]
        found.trim()
        assert list(found) == numbers


@given(st.lists(st.integers(0, 300), min_size=1), NUMBERS)
def test_a_number_can_be_replaced_by_a_larger_one(numbers: list[int], number: int) -> None:
    column = Column()
    for each in numbers:
        column.append(each)
    column[len(numbers) // 2] = number
    assert column[len(numbers) // 2] == number
    numbers[len(numbers) // 2] = number
    assert list(column) == numbers


def test_small_numbers_are_saved_like_large_ones() -> None:
    column = Column()
    column.append(7)
    assert column.save() == b"\x07\x00\x00\x00"


@pytest.mark.parametrize("number", [-1, 2**64])
def test_what_cannot_be_held_is_refused(number: int) -> None:
    column = Column()
    column.append(300)
    with pytest.raises(OverflowError):
        column.append(number)
    with pytest.raises(OverflowError):
        column[0] = number
    assert list(column) == [300]
