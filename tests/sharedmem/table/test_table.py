"""The table, where random sequences seldom come: sentences, clocks, what is freed and remembered."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from discomputify_core.errors import AttemptOver, BadName, MemoryFull, MemoryLost, PartGone, PeerBroke, TooLate
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.memory import (
    BARRIER,
    BROADCAST,
    BYTES,
    GATHER,
    JSON,
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
    Value,
)
from discomputify_sharedmem.table import Table

SCOPE = Scope(ProcessId("job"), "k")
ONE = Value(JSON, b"1")


class Rig:
    """A table and its clock."""

    def __init__(self, total: int = 3, limits: Limits | None = None, forget_after: float = 1000.0) -> None:
        self.table = Table(limits or Limits(), forget_after)
        self.total = total
        self.now = 0.0
        self.tickets = 0

    def do(self, part: int, command: Any, wait: float = 0.0, number: int = 1) -> Answer | None:
        member = Member(SCOPE, AttemptId(f"job.{part}.{number}.k"), part, number, self.total)
        self.tickets += 1
        return self.table.do(member, command, ("me", self.tickets), self.now + wait, self.now)

    def over(self, part: int, stands: str, number: int = 1, reason: str = "") -> None:
        over = Over(part, number, AttemptId(f"job.{part}.{number}.k"), stands, reason)
        self.table.ended(SCOPE, self.total, [over], self.now)

    def woken(self) -> dict[int, Any]:
        return {number: outcome for (_, number), outcome in self.table.woken()}


def barrier(number: int = 1, name: str = "b") -> Meet:
    return Meet(BARRIER, name, number)


def test_who_is_late_is_told_which_parts_were_never_seen() -> None:
    rig = Rig(total=15)
    rig.do(2, Names())
    with pytest.raises(TooLate) as caught:
        rig.do(1, barrier())
    assert caught.value.fields["parts"] == list(range(2, 16))
    text = str(caught.value)
    assert "part 2 did not come; parts 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 3 more have not been seen at all" in text
    assert text.endswith("perhaps they wait for a free slot; submit with --together.")


def test_who_is_late_is_not_told_of_slots_when_all_were_seen() -> None:
    rig = Rig(total=2)
    rig.do(2, Names())
    with pytest.raises(TooLate, match=r"was not complete in time: part 2 did not come\.$"):
        rig.do(1, barrier())


def test_why_a_part_is_gone_is_said() -> None:
    rig = Rig()
    rig.over(3, "gone", reason="exit code 7")
    with pytest.raises(PartGone, match=r"Part 3 can never come .*: it failed or was stopped \(exit code 7\)\.$"):
        rig.do(1, barrier(), wait=5)


def test_a_part_that_was_gone_and_runs_again_is_waited_for_again() -> None:
    rig = Rig(total=2)
    rig.do(2, barrier(), wait=9)
    rig.over(2, "done")
    rig.do(2, Names(), number=2)
    assert rig.do(1, barrier()) == Answer()
    assert rig.do(2, barrier(2), wait=9, number=2) is None
    rig.over(1, "done")
    assert isinstance(rig.woken()[2 + 2], PartGone)


def test_a_broadcast_is_not_kept_for_parts_that_were_gone_before() -> None:
    rig = Rig(total=3)
    rig.over(3, "gone")
    rig.do(1, Meet(BROADCAST, "w", 1, ONE))
    assert rig.table.look(SCOPE, "", rig.now).size > 0
    assert rig.do(2, Meet(BROADCAST, "w", 1)) == Answer(value=ONE)
    assert rig.table.look(SCOPE, "", rig.now).size == 0


def test_the_next_deadline_is_that_of_the_first_lease_or_wait() -> None:
    rig = Rig(forget_after=100.0)
    assert rig.table.next_deadline() is None
    rig.do(1, Lock("l", 10.0))
    assert rig.table.next_deadline() == 10.0
    rig.do(2, Get("x"), wait=5.0)
    assert rig.table.next_deadline() == 5.0
    rig.now = 6.0
    rig.table.tick(rig.now)
    assert rig.woken() == {2: Answer(False)}
    rig.do(1, Renew("l", 1, 20.0))
    assert rig.table.next_deadline() == 26.0
    rig.over(1, "again")
    assert rig.table.next_deadline() == 100.0


def test_many_renewals_are_not_remembered() -> None:
    rig = Rig()
    rig.do(1, Lock("l", 10.0))
    for _ in range(5000):
        rig.do(1, Renew("l", 1, 10.0))
    assert len(rig.table._shared.deadlines._heap) < 2000


def test_a_wait_that_is_given_up_is_not_served() -> None:
    rig = Rig()
    rig.do(1, Pop("q"), wait=5.0)
    assert rig.table.cancel(("me", 1), rig.now)
    assert not rig.table.cancel(("me", 1), rig.now)
    rig.do(2, Append("q", ONE))
    assert rig.woken() == {}
    assert rig.do(2, Pop("q")) == Answer(value=ONE)


def test_a_value_that_is_put_back_is_the_first_again_and_goes_to_who_waits() -> None:
    rig = Rig(limits=Limits(job_entries=1))
    rig.do(1, Append("q", ONE))
    rig.do(1, Pop("q"))
    rig.do(1, Put("other", ONE))
    rig.table.put_back(SCOPE, "q", ONE, rig.now)
    assert rig.do(1, Names()) == Answer(names=("other", "q"))
    rig.do(1, Pop("q"))
    rig.do(2, Pop("q"), wait=5.0)
    rig.over(1, "gone")
    rig.table.put_back(SCOPE, "q", ONE, rig.now)
    assert rig.woken() == {6: Answer(value=ONE)}
    rig.table.put_back(Scope(ProcessId("other"), "k"), "q", ONE, rig.now)


def test_what_nobody_asks_about_is_freed_and_that_is_said() -> None:
    rig = Rig(forget_after=100.0)
    rig.do(1, Put("a", ONE))
    rig.now = 60.0
    rig.do(1, Get("a"))
    rig.now = 120.0
    assert rig.do(1, Get("w"), wait=200.0) is None
    rig.now = 250.0
    rig.table.tick(rig.now)
    assert rig.do(1, Get("a")) is not None
    rig.now = 340.0
    assert rig.table.look(SCOPE, "", rig.now).count == 1
    rig.now = 441.0
    assert rig.table.look(SCOPE, "", rig.now).count == 0
    with pytest.raises(MemoryLost, match="Nobody used the shared memory of 'job' for long"):
        rig.do(1, Get("a"))
    assert rig.table.next_deadline() is None


def test_what_is_cleared_leaves_no_deadline_and_is_remembered() -> None:
    rig = Rig()
    rig.do(1, Lock("l", 10.0))
    rig.do(2, Lock("l", 10.0), wait=50.0)
    rig.table.clear(SCOPE, rig.now)
    assert isinstance(rig.woken()[2], AttemptOver)
    assert rig.table.next_deadline() is None
    rig.over(1, "done")
    with pytest.raises(AttemptOver, match="'job' was cleared"):
        rig.do(1, Get("a"))


def test_limits_name_their_option_and_sizes() -> None:
    rig = Rig(limits=Limits(value_bytes=1000, job_bytes=1500))
    with pytest.raises(MemoryFull, match=r"A value of 1,001 bytes would be over the limit of 1,000 bytes.*value_bytes"):
        rig.do(1, Put("a", Value(BYTES, b"x" * 1001)))
    rig.do(1, Put("a", Value(BYTES, b"x" * 1000)))
    with pytest.raises(MemoryFull, match=r"with 2,130 bytes would be over the limit of 1,500 bytes.*job_bytes"):
        rig.do(1, Put("b", Value(BYTES, b"x" * 1000)))


def test_names_of_rounds_are_bounded() -> None:
    rig = Rig(total=1, limits=Limits(job_entries=5))
    for number in range(50):
        rig.do(1, barrier(1, f"epoch-{number}"))
    with pytest.raises(MemoryFull) as caught:
        rig.do(1, barrier(1, "epoch-50"))
    assert caught.value.fields["limit"] == "job_entries"
    rig.do(1, barrier(1, "epoch-0"))
    rig.do(1, barrier(2, "epoch-0"))


def test_names_stay_sorted_while_they_come_and_go() -> None:
    rig = Rig()
    expected: set[str] = set()
    for step in range(3000):
        name = f"n{step * 7919 % 500}"
        if step % 3 == 2:
            rig.do(1, Remove(name))
            expected.discard(name)
        else:
            rig.do(1, Put(name, ONE))
            expected.add(name)
        if step % 61 == 0 or step > 2980:
            answer = rig.do(1, Names("n1"))
            assert answer is not None
            assert list(answer.names) == sorted(each for each in expected if each.startswith("n1"))


@pytest.mark.parametrize(
    ("total", "part"), [(3, 0), (3, 4), (2, 1)], ids=["part 0", "a part too many", "another total"]
)
def test_parts_that_the_job_has_not_are_refused(total: int, part: int) -> None:
    rig = Rig()
    rig.do(1, Names())
    rig.total = total
    with pytest.raises(PeerBroke):
        rig.do(part, Names())
    with pytest.raises(PeerBroke):
        rig.over(part, "gone")


def test_a_gather_without_a_value_is_refused() -> None:
    rig = Rig()
    with pytest.raises(PeerBroke):
        rig.do(1, Meet(GATHER, "g", 1))
    with pytest.raises(PeerBroke):
        rig.do(1, Meet(BROADCAST, "g", 1))


def test_names_are_checked() -> None:
    rig = Rig()
    for name in ("", "x" * 257, "ß" * 129):
        with pytest.raises(BadName):
            rig.do(1, Add(name))
    rig.do(1, Add("ß" * 128))


def test_a_listing_is_bounded_and_shows_one_entry() -> None:
    rig = Rig(total=200)
    for number in range(1010):
        rig.do(1, Put(f"n{number}", Value(BYTES, b"x" * 10)))
    for number in range(150):
        rig.do(1, Append("list", Value(JSON, str(number).encode())))
    for part in range(1, 151):
        rig.do(part, barrier(), wait=5.0)
    listing = rig.table.look(SCOPE, "", rig.now)
    assert (len(listing.rows), listing.more) == (1000, 12)
    (row,) = rig.table.look(SCOPE, "b", rig.now).rows
    assert (row.kind, row.holds, len(row.waiting), row.missing) == ("barrier", "round 1", 100, tuple(range(151, 201)))
    shown = rig.table.look(SCOPE, "list", rig.now)
    assert (shown.rows[0].holds, len(shown.values)) == ("150", 100)
    assert attrs.astuple(rig.table.look(Scope(ProcessId("x"), "y"), "", rig.now))[0] == ()
