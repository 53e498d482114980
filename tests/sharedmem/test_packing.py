"""Commands and answers as bytes: they come back as they were, and nonsense is refused."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.errors import BadValue, MemoryFull, PeerBroke
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.memory import (
    BARRIER,
    BROADCAST,
    GATHER,
    Add,
    Answer,
    Append,
    Get,
    Lock,
    Meet,
    Member,
    Names,
    Pop,
    Put,
    Remove,
    Renew,
    Scope,
    Unlock,
    Value,
)
from discomputify_sharedmem.packing import (
    joined,
    pack_batch,
    pack_command,
    pack_list,
    pack_member,
    pack_outcome,
    packer,
    pieces,
)
from discomputify_sharedmem.unpacking import Members, as_outcome, unpack_batch, unpack_list
from discomputify_sharedmem.wire import ENOUGH, Batch, Cancel, PutBack

MEMBER = Member(Scope(ProcessId("job"), "k", 2), AttemptId("job.3.1.k"), 3, 1, 7)
PACK = packer()

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
tokens = st.integers(0, 2**63)
seconds = st.floats(0, 1e6)
meta = st.dictionaries(
    texts, st.one_of(texts, st.integers(-9, 2**40), st.lists(st.integers(0, 9), max_size=3)), max_size=3
)
values = st.builds(Value, texts, st.binary(max_size=50), meta)
orders = st.one_of(
    st.builds(Put, texts, values, st.one_of(st.none(), tokens), st.booleans()),
    st.builds(Get, texts),
    st.builds(Remove, texts),
    st.builds(Add, texts, st.one_of(st.integers(-(2**63), 2**63), st.floats(allow_nan=False))),
    st.builds(Append, texts, values),
    st.builds(Pop, texts),
    st.builds(Names, texts),
    st.builds(Lock, texts, seconds),
    st.builds(Renew, texts, tokens, seconds),
    st.builds(Unlock, texts, tokens),
    st.builds(
        Meet,
        st.sampled_from([BARRIER, GATHER, BROADCAST]),
        texts,
        st.integers(1, 99),
        st.one_of(st.none(), values),
        st.integers(1, 9),
        texts,
    ),
    st.builds(Cancel, tokens),
    st.builds(PutBack, texts, values),
)
answers = st.builds(
    Answer,
    st.booleans(),
    tokens,
    st.one_of(st.integers(-9, 2**40), st.floats(allow_nan=False)),
    st.one_of(st.none(), values),
    st.lists(values, max_size=3).map(tuple),
    st.booleans(),
    st.lists(texts, max_size=3).map(tuple),
)


def batch_of(*packed: bytes) -> Batch:
    return unpack_batch(pack_batch(PACK, "table", "client", 5, 3, packed), Members())


@given(st.lists(st.tuples(orders, seconds), max_size=5))
def test_commands_come_back_as_they_were(given_orders: list[tuple[Any, float]]) -> None:
    member = pack_member(PACK, MEMBER)
    batch = batch_of(*(pack_command(PACK, n, member, w, o) for n, (o, w) in enumerate(given_orders)))
    assert (batch.table, batch.client, batch.number, batch.settled) == ("table", "client", 5, 3)
    assert [(each.order, each.wait) for each in batch.asked] == given_orders
    assert [each.ticket for each in batch.asked] == list(range(len(given_orders)))
    assert all(each.member == MEMBER for each in batch.asked)


@given(answers)
def test_answers_come_back_as_they_were(answer: Answer) -> None:
    (plain,) = unpack_list(pack_list(b"", [pack_outcome(PACK, answer)]), "replies")
    assert as_outcome(plain) == answer


def test_errors_come_back_as_they_were() -> None:
    error = MemoryFull("too much", limit="job_bytes")
    got = as_outcome(msgpack.unpackb(pack_outcome(PACK, error)))
    assert isinstance(got, MemoryFull)
    assert (str(got), got.fields) == ("too much", {"limit": "job_bytes"})


@given(st.lists(st.integers(0, ENOUGH * 2), max_size=6))
def test_large_answers_come_in_pieces(sizes: list[int]) -> None:
    answer = Answer(True, 7, values=tuple(Value("bytes", bytes(size)) for size in sizes), listed=True)
    parts = pieces(answer)
    assert joined(parts) == answer
    for part in parts:
        assert isinstance(part, Answer)
        assert len(part.values) == 1 or sum(value.size for value in part.values) <= ENOUGH


@given(st.binary(max_size=200))
def test_nonsense_is_refused(data: bytes) -> None:
    for read in (lambda: unpack_batch(data, Members()), lambda: unpack_list(data, "replies")):
        try:
            read()
        except PeerBroke:
            pass


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), texts, st.binary(max_size=5)),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(anything, st.lists(anything, max_size=6), st.integers(-1, 14))
def test_what_is_well_packed_and_means_nothing_is_refused(plain: Any, fields: list[Any], code: int) -> None:
    for asked in (plain, [plain], [[plain, plain]], [[1, PACK(plain), 0.0, code, *fields]]):
        try:
            unpack_batch(PACK(["table", "client", 1, 1, asked]), Members())
        except PeerBroke:
            pass
    try:
        as_outcome(plain)
    except PeerBroke:
        pass
    command = [1, pack_member(PACK, MEMBER), 0.0, code, *fields]
    (asked_one,) = unpack_batch(PACK(["table", "client", 1, 1, [command]]), Members()).asked
    assert asked_one.order is not None


def test_one_malformed_command_spoils_no_others() -> None:
    member = pack_member(PACK, MEMBER)
    good = pack_command(PACK, 2, member, 0.0, Get("a"))
    bad, other = batch_of(PACK([1, member, 0.0, 3, "a", True]), good).asked
    assert isinstance(bad.order, BadValue)
    assert other.order == Get("a")


def test_what_cannot_be_sent_is_said_at_once() -> None:
    member = pack_member(PACK, MEMBER)
    odd: Any = object()
    with pytest.raises(BadValue):
        pack_command(PACK, 1, member, 0.0, Put("a", Value("array", b"", {"shape": odd})))
    with pytest.raises(BadValue):
        pack_command(PACK, 1, member, 0.0, Names("\ud800"))
    with pytest.raises(MemoryFull) as caught:
        pack_command(PACK, 1, member, 0.0, Add("a", 2**64))
    assert caught.value.fields["limit"] == "number"
    with pytest.raises(MemoryFull) as caught:
        pack_command(PACK, 1, member, 0.0, Put("a", Value("bytes", bytes(16 * 1024 * 1024))))
    assert caught.value.fields["limit"] == "value_bytes"
    assert pack_command(PACK, 1, member, 0.0, Get("a"))
