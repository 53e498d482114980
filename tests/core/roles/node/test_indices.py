"""Numbers of named resources: never one twice at a time."""

from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.roles.node.indices import Indices


def test_the_lowest_free_numbers_are_given() -> None:
    indices = Indices({"gpu": 4, "disk": 1})
    first = indices.take({"gpu": 2})
    second = indices.take({"gpu": 1, "disk": 1})
    assert first == {"gpu": (0, 1)}
    assert second == {"gpu": (2,), "disk": (0,)}
    indices.give_back(first)
    assert indices.take({"gpu": 3}) == {"gpu": (0, 1, 3)}


def test_more_than_there_is_gives_what_there_is_and_takes_it_back() -> None:
    indices = Indices({"gpu": 1})
    taken = indices.take({"gpu": 3, "nothing": 2})
    assert taken == {"gpu": (0,), "nothing": ()}
    indices.give_back(taken)
    assert indices.take({"gpu": 1}) == {"gpu": (0,)}


@given(st.lists(st.integers(1, 4), max_size=20), st.data())
def test_no_number_is_held_twice(asked: list[int], data: st.DataObject) -> None:
    indices = Indices({"gpu": 6})
    held: list[dict[str, tuple[int, ...]]] = []
    for count in asked:
        held.append(indices.take({"gpu": count}))
        numbers = [number for taken in held for number in taken["gpu"]]
        assert len(set(numbers)) == len(numbers)
        if data.draw(st.booleans()):
            indices.give_back(held.pop(data.draw(st.integers(0, len(held) - 1))))
    for taken in held:
        indices.give_back(taken)
    assert indices.take({"gpu": 6}) == {"gpu": (0, 1, 2, 3, 4, 5)}
