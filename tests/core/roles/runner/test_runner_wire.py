"""Messages arrive whole, in order, however the bytes are cut; nonsense is an error and costs no memory."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.roles.runner.wire import MAX_MESSAGE, MessageTooLong, Reader, pack

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MESSAGES = st.lists(st.dictionaries(TEXT, TEXT | st.integers(0, 2**60) | st.lists(TEXT)), max_size=6)


@given(MESSAGES, st.lists(st.integers(1, 40)))
def test_any_cutting_gives_the_messages_back(messages: list[dict[str, object]], cuts: list[int]) -> None:
    data = b"".join(pack(message) for message in messages)
    reader = Reader()
    found: list[dict[str, object]] = []
    for cut in cuts:
        found += reader.feed(data[:cut])
        data = data[cut:]
    assert found + reader.feed(data) == messages


def test_bytes_that_are_no_text_survive() -> None:
    message = {"argv": [b"\xff\xfe".decode("utf-8", "surrogateescape")]}
    assert Reader().feed(pack(message)) == [message]


@pytest.mark.parametrize("body", [b"\x01", b"\xc1", b"\x81"], ids=["no map", "no MessagePack", "cut short"])
def test_nonsense_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        Reader().feed(struct.pack(">I", len(body)) + body)


def test_a_length_beyond_the_limit_is_refused_at_once() -> None:
    with pytest.raises(MessageTooLong):
        Reader().feed(struct.pack(">I", MAX_MESSAGE + 1))
    with pytest.raises(MessageTooLong):
        pack({"env": "x" * MAX_MESSAGE})
