"""Random sequences of commands, ends, time and cancelling: the table answers as the plain model does."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from discomputify_core.errors import DiscomputifyError
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.memory import (
    BARRIER,
    BROADCAST,
    BYTES,
    GATHER,
    JSON,
    REF,
    Add,
    Answer,
    Append,
    Get,
    Limits,
    Lock,
    Meet,
    Member,
    Names,
    Over,
    Pop,
    Put,
    Remove,
    Renew,
    Scope,
    Unlock,
    Value,
)
from discomputify_sharedmem.table import Table

from .plain_model import PlainModel

TOTAL = 3
LIMITS = Limits(job_bytes=2500, job_entries=4, value_bytes=300, history_bytes=1500, history_rounds=3)
SCOPE = Scope(ProcessId("job"), "k")
#: Nothing is forgotten during a test: a week of seconds.
FORGET = 604_800.0

parts = st.integers(1, TOTAL)
names = st.sampled_from(["a", "b", "ß"])
values = st.sampled_from(
    [
        Value(JSON, b"1"),
        Value(JSON, b'"x"'),
        Value(BYTES, b"x" * 250),
        Value(BYTES, b"x" * 301),
        Value(REF, b"", {"id": "r", "node": "n"}),
    ]
)
leases = st.sampled_from([1.5, 3.5])
waits = st.sampled_from([0.0, 1.25, 4.25])
rounds = st.sampled_from([1, 1, 1, 2, 2, 3])
signs = st.sampled_from(["", "", "", "", "", "sum"])
roots = st.sampled_from([1, 1, 1, 2])
newer = st.sampled_from([0, 0, 0, 0, 0, 0, 0, 0, 1])
stands = st.sampled_from(["again", "done", "gone"])
versions = st.one_of(st.none(), st.integers(0, 6))

the_rounds = st.sampled_from(["a", "a", "a", "b"])
meets = st.one_of(
    st.builds(Meet, st.just(BARRIER), the_rounds, rounds, st.none(), st.just(1), signs),
    st.builds(Meet, st.just(GATHER), the_rounds, rounds, values, st.just(1), signs),
    st.builds(Meet, st.just(BROADCAST), the_rounds, rounds, values, roots, signs),
)
on_entries = st.one_of(
    st.builds(Put, names, values, versions, st.booleans()),
    st.builds(Put, names, values, st.none(), st.booleans()),
    st.builds(Get, names),
    st.builds(Remove, names),
    st.builds(Add, names, st.sampled_from([1, -3, 2**63 - 2])),
    st.builds(Append, names, values),
    st.builds(Append, names, values),
    st.builds(Pop, names),
    st.builds(Names, st.sampled_from(["", "a"])),
)
on_locks = st.one_of(
    st.builds(Lock, names, leases),
    st.builds(Renew, names, st.integers(1, 4), leases),
    st.builds(Unlock, names, st.integers(1, 4)),
)
other = st.one_of(
    st.tuples(st.just("pass"), st.integers(1, 3)),
    st.tuples(st.just("cancel"), st.integers(1, 40)),
    st.tuples(st.just("over"), parts, st.sampled_from([-1, 0, 0, 0, 1]), stands),
    st.tuples(st.just("back"), names, values),
)


def steps(commands: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Sequences in which *commands* are given, seven times as often as anything else happens."""
    given_one = st.tuples(st.just("do"), parts, newer, commands, waits)
    return st.lists(st.integers(0, 7).flatmap(lambda n: given_one if n else other), min_size=15, max_size=50)


class Pair:
    """The table and the model, asked the same."""

    def __init__(self) -> None:
        self.table = Table(LIMITS, FORGET)
        self.model = PlainModel(TOTAL, LIMITS)
        self.now = 0.0
        self.tickets = 0
        self.numbers = dict.fromkeys(range(1, TOTAL + 1), 1)

    def member(self, part: int, newer: int) -> Member:
        self.numbers[part] += newer
        number = self.numbers[part]
        return Member(SCOPE, AttemptId(f"job.{part}.{number}.k"), part, number, TOTAL)

    def do(self, part: int, newer: int, command: Any, wait: float) -> None:
        member = self.member(part, newer)
        self.tickets += 1
        ticket = ("client", self.tickets)
        expected = self.model.do(member, command, ticket, self.now + wait, self.now)
        try:
            found: Any = self.table.do(member, command, ticket, self.now + wait, self.now)
        except DiscomputifyError as error:
            found = error
        same(found, expected)

    def step(self, kind: str, *rest: Any) -> None:
        if kind == "do":
            self.do(*rest)
        elif kind == "pass":
            self.now += rest[0]
            self.table.tick(self.now)
            self.model.advance(self.now)
        elif kind == "cancel":
            ticket = ("client", rest[0])
            assert self.table.cancel(ticket, self.now) == self.model.cancel(ticket, self.now)
        elif kind == "over":
            part, offset, stands = rest
            number = max(0, self.numbers[part] + offset)
            over = Over(part, number, AttemptId(f"job.{part}.{number}.k"), stands)
            self.table.ended(SCOPE, TOTAL, [over], self.now)
            self.model.ended(over, self.now)
            self.numbers[part] = max(number, self.numbers[part])
        else:
            name, value = rest
            self.do(1, 0, Names(), 0.0)  # so that the scope is there
            self.table.put_back(SCOPE, name, value, self.now)
            self.model.put_back(name, value, self.now)

    def check(self) -> None:
        woken: dict[Any, Any] = dict(self.table.woken())
        assert woken.keys() == self.model.woken.keys()
        for ticket, outcome in woken.items():
            same(outcome, self.model.woken[ticket])
        self.model.woken.clear()
        listing = self.table.look(SCOPE, "", self.now)
        assert (listing.size, listing.count) == (self.model.size(), self.model.count())
        entries = {row.name: row for row in listing.rows if row.kind in ("value", "list") and row.version}
        assert {n: r.version for n, r in entries.items()} == {n: e.version for n, e in self.model.entries.items()}
        held = {row.name: row.missing for row in listing.rows if row.kind == "lock"}
        assert held == {name: (lock.member.part,) for name, lock in self.model.locks.items()}
        shown = sorted(part for row in listing.rows for part in row.waiting)
        assert shown == sorted(waiter.member.part for waiter in self.model.waiters)
        assert listing.rows[len(entries) :] or not self.model.open
        self.check_deadline()

    def check_deadline(self) -> None:
        expected = self.model.next_deadline()
        due = self.table.next_deadline()
        assert due is None or expected is None or due == expected
        assert due is not None or expected is None


def same(found: Any, expected: Any) -> None:
    """Both are the same answer, or the same error about the same."""
    assert type(found) is type(expected), (found, expected)
    if isinstance(found, Answer) or found is None:
        assert found == expected
        return
    for field, facts in expected.fields.items():
        if field == "part" and isinstance(facts, list):
            assert found.fields["part"] in facts
        elif field != "name":
            assert found.fields[field] == facts
    if type(found).__name__ != "AttemptOver":
        assert "name" in found.fields or "limit" in found.fields


def play(sequence: list[Any]) -> None:
    pair = Pair()
    for step in sequence:
        pair.step(*step)
        pair.check()


@settings(max_examples=150, deadline=None)
@given(steps(meets))
def test_rounds_are_as_in_the_plain_model(sequence: list[Any]) -> None:
    play(sequence)


@settings(max_examples=150, deadline=None)
@given(steps(st.one_of(on_entries, on_locks)))
def test_entries_and_locks_are_as_in_the_plain_model(sequence: list[Any]) -> None:
    play(sequence)


@settings(max_examples=100, deadline=None)
@given(steps(st.one_of(on_entries, on_locks, meets)))
def test_everything_is_as_in_the_plain_model(sequence: list[Any]) -> None:
    play(sequence)
