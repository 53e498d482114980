"""A token that came is known for as long as it could be taken, and after that it is not taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from discomputify_tcp.cypher1 import MAX_AGE, Memory, changes
from discomputify_tcp.cypher1.memory import STALE

NOW = 10_000


def test_an_answer_is_found_until_its_request_is_too_old() -> None:
    memory = Memory()
    assert memory.find(b"a", NOW, NOW) is None
    memory.keep(b"a", NOW, b"done")
    assert memory.find(b"a", NOW, NOW + MAX_AGE) == b"done"
    assert memory.find(b"a", NOW, NOW + MAX_AGE + 1) is STALE
    assert len(memory) == 0


def test_after_the_clock_was_set_back_what_was_forgotten_is_not_new() -> None:
    memory = Memory()
    memory.keep(b"a", NOW, b"done")
    memory.find(b"b", NOW + 5000, NOW + 5000)
    assert memory.find(b"a", NOW, NOW) is STALE


def test_of_too_many_the_oldest_are_forgotten_and_not_taken_again() -> None:
    memory = Memory(most=3)
    for made_at in (5, 1, 3, 4):
        memory.keep(bytes([made_at]), made_at, b"x")
    assert len(memory) == 3
    assert memory.find(b"\x01", 1, 10) is STALE
    assert memory.find(b"new", 1, 10) is STALE
    assert memory.find(b"new", 2, 10) is None
    assert memory.find(b"\x03", 3, 10) == b"x"


def test_bytes_are_bounded_too_and_one_answer_always_stays() -> None:
    memory = Memory(most_bytes=100)
    memory.keep(b"a", 1, bytes(60))
    memory.keep(b"b", 2, bytes(60))
    assert memory.find(b"a", 1, 3) is STALE
    memory.keep(b"c", 3, bytes(500))
    assert memory.find(b"c", 3, 3) == bytes(500)
    assert len(memory) == 1


def test_the_first_answer_counts() -> None:
    memory = Memory()
    memory.keep(b"a", 1, b"first")
    memory.keep(b"a", 1, b"second")
    assert memory.find(b"a", 1, 1) == b"first"


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(-700, 700)), max_size=60))
def test_nothing_that_was_kept_is_ever_new(steps: list[tuple[int, int]]) -> None:
    memory, kept, now = Memory(most=4), dict[bytes, int](), NOW
    for name, step in steps:
        now = max(now + step, 0)
        digest = bytes([name])
        made_at = kept.get(digest, now)
        found = memory.find(digest, made_at, now)
        assert (digest in kept) <= (found is not None)
        if found is None:
            memory.keep(digest, made_at, b"x")
            kept[digest] = made_at
    assert len(memory) <= 4


def test_unknown_operations_count_as_changes() -> None:
    assert changes("WRITE")
    assert changes("whatever")
    assert not changes("READ")
