"""Parts that start together, in the master's state machine: all at once or none, and nobody waits for ever."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discomputify_core.cluster import report, why
from discomputify_core.cluster.capacity import seated
from discomputify_core.cluster.gangs import GANG_PATIENCE
from discomputify_core.cluster.machine import Cluster
from discomputify_core.cluster.state import Job
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model import events as ev
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import End, JobState, Outcome, Request
from discomputify_core.model.view import ClusterView, Decision, Placement, Ready
from discomputify_core.plugins.fifo import Fifo
from discomputify_sched_leastload.policy import LeastLoad
from discomputify_sched_roundrobin.policy import RoundRobin

from .test_machine import Driver, facts

POLICIES = [Fifo, RoundRobin, LeastLoad]


class Gangs(Driver):
    """A driver for jobs by name, whose clock can be moved on."""

    def __init__(self, *slots: int, policy: Scheduler | None = None) -> None:
        super().__init__()
        self.cluster = Cluster(policy or Fifo())
        for name, count in zip("abcdef", slots, strict=False):
            self.join(name, count)

    def join(self, name: str, slots: int, **more: Any) -> None:
        self.do(ev.NodeJoined(facts(name, slots, **more), f"{name}:1"))

    def gang(self, name: str, parts: int, **more: Any) -> list[object]:
        return self.submit(parts, name, together=True, **more)

    def of(self, name: str) -> Job:
        return self.cluster.job(ProcessId(name))

    def live(self, name: str) -> int:
        return len(self.of(name).live)

    def why(self, name: str) -> str:
        return why.why_job(self.cluster.state, self.of(name), self.cluster.waits)

    def wait(self, seconds: float) -> list[object]:
        """Let time pass as it does: nodes are heard of, and ticks come."""
        self.now += seconds
        beats = [ev.NodeBeat(node.name, node.load) for node in self.cluster.state.nodes.values()]
        return self.do(*beats, ev.Tick(self.now))

    def end_one(self, name: str, how: End = End.DONE, part: int = 0) -> None:
        """End a part of the job *name*, the one that was started first unless *part* says which."""
        start = next(each for each in self.starts if each.spec.process_id == name and part in (0, each.part))
        self.starts.remove(start)
        self.end(start, how)

    def where(self) -> dict[int, str]:
        """The nodes of the parts that were started."""
        return {start.part: start.node for start in self.starts}

    def all_fail(self) -> dict[int, str]:
        """All that runs fails at one time; where it ran."""
        ran, starts, self.starts = self.where(), self.starts, []
        self.do(*[ev.AttemptEnded(start.node, Outcome(start.attempt, End.EXIT), 200.0) for start in starts])
        return ran


@pytest.mark.parametrize("policy", POLICIES)
def test_all_parts_are_placed_at_once_or_none(policy: type[Scheduler]) -> None:
    gangs = Gangs(2, 2, policy=policy())
    gangs.submit(1, "busy")
    gangs.gang("big", 4)
    assert gangs.live("big") == 0
    gangs.end_one("busy")
    assert gangs.live("big") == 4
    gangs.finish()
    assert gangs.of("big").state is JobState.DONE
    assert not gangs.cluster.faults


def test_why_says_how_many_would_fit_and_for_how_many_it_waits() -> None:
    gangs = Gangs(2, 2)
    gangs.submit(2, "busy")
    gangs.gang("big", 4)
    assert gangs.why("big") == (
        "its 4 parts start together: 2 of 4 would fit now; waiting for 2 more free slots on a, b"
    )
    gangs.wait(GANG_PATIENCE)
    assert gangs.why("big").endswith(" on a, b")  # there is nobody who could be held back
    gangs.submit(3, "small")
    assert gangs.live("small") == 0
    assert gangs.why("big").endswith("on a, b; other jobs are held back for it")
    gangs.wait(25)
    assert (
        gangs.why("small") == "3 parts are ready; held back: 'big' (4 parts together) is next and has waited for 35 s"
    )
    assert report.job_status(gangs.cluster.state, gangs.of("small")).reason == gangs.why("small")
    assert why.why_part(gangs.cluster.state, gangs.of("big"), 1)[0].startswith("part 1 is ready: its 4 parts start")
    gangs.end_one("busy")
    assert "3 of 4 would fit now; waiting for 1 more free slot on a, b" in gangs.why("big")


def test_others_pass_a_gang_for_a_while_and_then_let_it_go_first() -> None:
    gangs = Gangs(2, 2)
    gangs.submit(1, "busy")
    gangs.gang("big", 4)
    gangs.wait(GANG_PATIENCE - 1)
    gangs.submit(2, "small")
    gangs.submit(3, "more")
    assert (gangs.live("small"), gangs.live("more")) == (2, 1)
    told = gangs.wait(1)
    assert {getattr(each, "process_id", "") for each in told} == {"big", "more"}  # they look different now
    gangs.end_one("small")
    gangs.end_one("small")
    gangs.end_one("more")
    gangs.submit(1, "urgent", priority=1)
    assert (gangs.live("more"), gangs.live("urgent")) == (0, 1)
    gangs.end_one("urgent")
    gangs.end_one("busy")
    assert gangs.live("big") == 4
    assert "held back" not in gangs.why("more")
    gangs.end_one("big")
    assert gangs.live("more") == 1
    gangs.finish()
    assert all(job.state is JobState.DONE for job in gangs.cluster.state.jobs.values())


@pytest.mark.parametrize(
    ("event", "started"),
    [(ev.JobStopAsked(ProcessId("big")), 3), (ev.NodeLeft(NodeName("b"), "s1"), 1)],
)
def test_who_was_held_back_goes_on_when_the_gang_is_gone_or_cannot_start(event: ev.Event, started: int) -> None:
    gangs = Gangs(2, 2)
    gangs.submit(1, "busy")
    gangs.gang("big", 4)
    gangs.wait(GANG_PATIENCE)
    gangs.submit(4, "small")
    assert gangs.live("small") == 0
    gangs.do(event)
    assert gangs.live("small") == started


def test_a_gang_that_no_patience_would_help_holds_nobody_back() -> None:
    gangs = Gangs(2, 2)
    gangs.gang("big", 12)
    assert gangs.why("big") == (
        "its 12 parts start together and need 12 CPUs; the connected nodes have 4 in all (a, b)"
    )
    gangs.wait(100)
    gangs.submit(4, "small")
    assert gangs.live("small") == 4
    gangs.join("c", 8)
    assert gangs.why("big").startswith("its 12 parts start together: 8 of 12 would fit now")
    gangs.submit(1, "late")
    assert "held back: 'big' (12 parts together) is next and has waited for 100 s" in gangs.why("late")
    gangs.finish()
    assert gangs.of("big").state is JobState.DONE


def test_what_else_than_cpus_makes_a_gang_too_large_is_told() -> None:
    gangs = Gangs(4, 4)
    gangs.gang("wide", 4, request=Request(3))
    assert gangs.why("wide") == (
        "its 4 parts start together and need 12 CPUs; the connected nodes have 8 in all (a, b)"
    )
    gangs.gang("fat", 3, request=Request(1, 5 << 30))
    assert gangs.why("fat") == (
        "its 3 parts start together; without any other job the connected nodes have room for 2 of them (a, b)"
    )
    gangs.gang("alone", 3, per_node=1)
    assert gangs.why("alone").endswith("have room for 2 of them (a, b), at most 1 on a node")
    gangs.join("c", 1, resources={"gpu": 1}, memory=0)
    assert gangs.live("alone") == 3
    gangs.gang("gpus", 2, request=Request(1, 0, {"gpu": 1}))
    assert (
        gangs.why("gpus") == "its 2 parts start together and need 2 CPUs; the nodes that it may use have 1 in all (c)"
    )


def test_limits_per_node_and_resources_apply() -> None:
    gangs = Gangs(4)
    gangs.join("b", 4, resources={"gpu": 1})
    gangs.gang("two", 4, per_node=2)
    assert Counter(start.node for start in gangs.starts) == {"a": 2, "b": 2}
    gangs.join("c", 1, resources={"gpu": 1})
    gangs.gang("gpus", 2, request=Request(1, 0, {"gpu": 1}))
    assert [start.node for start in gangs.starts[-2:]] == ["b", "c"]


def test_parts_that_were_separated_from_the_others_join_them_before_other_jobs() -> None:
    gangs = Gangs(2, 2)
    gangs.gang("big", 3)
    gangs.submit(9, "small")
    gangs.submit(1, "lesser", priority=-1)
    gangs.end_one("small")
    gangs.end_one("big", End.LOST)
    assert (gangs.live("big"), gangs.live("small")) == (3, 1)
    assert [start.spec.process_id for start in gangs.starts][-1] == "big"


def test_parts_that_have_to_join_wait_for_room_that_is_kept_for_them_in_the_end() -> None:
    gangs = Gangs(3, 1)
    gangs.gang("pair", 2, request=Request(1, 0), attempts=2, priority=1)
    gangs.submit(9, "small")
    assert gangs.live("small") == 2
    gangs.end_one("pair", End.EXIT)  # on a, where it shall not be tried again while b could run it
    assert (gangs.live("pair"), gangs.live("small")) == (1, 3)
    assert gangs.why("pair") == (
        "1 part is ready, to join another one of it that is under way; "
        "it failed on a before; waiting for a free slot on b, in use by running parts"
    )
    gangs.wait(GANG_PATIENCE)
    assert gangs.why("pair").endswith("; other jobs are held back for it")
    assert "held back: 'pair' (1 part to join its others) is next" in gangs.why("small")
    on_b = next(start for start in gangs.starts if start.node == "b")
    gangs.starts.remove(on_b)
    gangs.end(on_b)
    assert gangs.live("pair") == 2
    assert "held back" not in gangs.why("small")


def test_a_part_joins_where_it_failed_if_its_own_others_hold_all_room_elsewhere() -> None:
    gangs = Gangs(2, 2)
    gangs.gang("big", 4)
    gangs.end_one("big", End.EXIT)
    assert gangs.live("big") == 4
    assert gangs.starts[-1].node == "a"


def test_why_says_that_there_is_no_room_beside_the_others() -> None:
    gangs = Gangs(2, 2)
    gangs.gang("big", 4)
    gangs.do(ev.NodeLeft(NodeName("a"), "s1"))
    assert gangs.live("big") == 2
    assert gangs.why("big") == (
        "2 parts are ready, to join 2 others of it that are under way, beside which b cannot hold all of them"
    )
    gangs.wait(GANG_PATIENCE)
    gangs.end_one("big", part=3)
    assert gangs.live("big") == 2


def test_parts_that_all_failed_start_together_again_elsewhere_than_where_they_failed() -> None:
    gangs = Gangs(2, 2)
    gangs.gang("big", 4)
    first = gangs.all_fail()
    assert gangs.where() == {part: "b" if node == "a" else "a" for part, node in first.items()}


def test_places_where_parts_failed_are_used_if_there_are_too_few_others() -> None:
    gangs = Gangs(2, 1)
    gangs.gang("two", 2)
    assert gangs.all_fail() == {1: "a", 2: "a"}
    assert gangs.where() == {1: "a", 2: "a"}


def test_of_two_gangs_the_first_in_order_wins() -> None:
    gangs = Gangs(2, 2)
    gangs.submit(2, "busy")
    gangs.gang("one", 3)
    gangs.gang("other", 4)
    gangs.wait(GANG_PATIENCE)
    gangs.gang("little", 2)
    assert gangs.live("little") == 0
    assert gangs.why("other") == (
        "its 4 parts start together; held back: 'one' (3 parts together) is next and has waited for 10 s"
    )
    gangs.end_one("busy")
    assert (gangs.live("one"), gangs.live("little")) == (3, 0)
    gangs.end_one("busy")
    assert "2 of 4" not in gangs.why("other")
    assert gangs.why("other") == (
        "its 4 parts start together: 1 of 4 would fit now; waiting for 3 more free slots on a, b; "
        "other jobs are held back for it"
    )
    gangs.finish()
    assert all(job.state is JobState.DONE for job in gangs.cluster.state.jobs.values())


def test_nodes_that_a_gang_cannot_use_are_not_kept_for_it() -> None:
    gangs = Gangs(2, 2)
    gangs.join("c", 2, resources={"gpu": 1})
    gangs.join("d", 2, resources={"gpu": 1})
    gangs.submit(1, "busy", request=Request(1, 0, {"gpu": 1}))
    gangs.gang("big", 2, request=Request(1, 0, {"gpu": 1}))
    gangs.wait(GANG_PATIENCE)
    gangs.submit(9, "small")
    assert {start.node for start in gangs.starts if start.spec.process_id == "small"} == {"a", "b"}
    assert "5 parts are ready; held back: 'big'" in gangs.why("small")


def test_jobs_before_a_gang_are_placed_before_it() -> None:
    gangs = Gangs()
    gangs.gang("big", 3)
    gangs.submit(2, "urgent", priority=1)
    gangs.submit(2, "later")
    gangs.join("a", 6)
    assert [start.spec.process_id for start in gangs.starts] == ["urgent"] * 2 + ["big"] * 3 + ["later"]


def test_a_single_part_is_like_any_other() -> None:
    gangs = Gangs(1)
    gangs.submit(1, "busy")
    gangs.gang("single", 1)
    assert gangs.why("single") == "1 part is ready; waiting for a free slot on a, in use by running parts"
    gangs.wait(GANG_PATIENCE)
    gangs.finish()
    assert gangs.of("single").state is JobState.DONE


def test_without_nodes_the_usual_is_said() -> None:
    gangs = Gangs()
    gangs.gang("big", 3)
    assert gangs.why("big") == "3 parts are ready; no computing node is connected"
    gangs.wait(GANG_PATIENCE)


class Asked(Fifo):
    """Notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
        self.asked.append([each.process_id for each in ready])
        return super().place(ready, view)


def test_a_policy_is_asked_once_unless_a_gang_can_start_and_never_in_vain() -> None:
    policy = Asked()
    gangs = Gangs(2, 2, policy=policy)
    for name in ("x", "y", "z"):
        gangs.submit(1, name, request=Request(2))
    gangs.gang("big", 3)
    policy.asked.clear()
    gangs.submit(1, "last")
    gangs.wait(1)
    gangs.wait(1)
    assert policy.asked == []  # there is no room at all
    gangs.end_one("x")
    assert policy.asked == [["z", "last"]]
    gangs.end_one("y")
    gangs.end_one("z")
    assert policy.asked[-1:] == [["big"]] or policy.asked[-2:] == [["big"], ["last"]]
    asked = len(policy.asked)
    gangs.wait(100)
    assert len(policy.asked) == asked


class Picky(RoundRobin):
    """Has a reason never to place all of a job at once."""

    name = "picky"

    def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
        decision = super().place(ready, view)
        if len(ready) == 1 and ready[0].count > 2:
            return Decision(decision.placements[:1], {ready[0].key: "ann has her share"})
        return decision


def test_an_answer_that_is_not_taken_does_not_count_for_the_policy() -> None:
    gangs, plain = Gangs(3, 2, policy=Picky()), Gangs(3, 2, policy=Picky())
    gangs.gang("big", 3)
    assert gangs.live("big") == 0
    assert gangs.why("big") == "its 3 parts start together; ann has her share"
    for each in (gangs, plain):
        each.submit(1, "one")
        each.submit(1, "two")
    assert [start.node for start in gangs.starts] == [start.node for start in plain.starts] == ["a", "b"]
    gangs.wait(GANG_PATIENCE)  # it is not room that it waits for, so others are not held back
    gangs.submit(1, "more")
    assert gangs.live("more") == 1


class Scattering(Fifo):
    """Begins with the node that most ranges could use, as a policy may that does not look ahead."""

    def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
        best = sorted(view.nodes, key=lambda node: sum(node.name in each.avoid for each in ready))
        return super().place(ready, ClusterView(tuple(best), view.live, view.now))


def test_a_policy_that_leaves_the_wrong_room_over_is_offered_the_parts_as_one() -> None:
    gangs = Gangs(1, 1, 1, policy=Scattering())
    gangs.gang("big", 3, attempts=9)
    for _ in range(4):
        assert len(gangs.all_fail()) == 3
    assert not gangs.cluster.faults


class Locked(Fifo):
    name = "locked"

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Twofaced(Fifo):
    name = "twofaced"

    def __deepcopy__(self, memo: object) -> Scheduler:
        return Fifo()

    def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
        return Decision()


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        (Locked, "The policy 'locked' cannot be copied, which jobs with parts that start together need: cannot pickle"),
        (Twofaced, "The policy 'twofaced' does not answer as its copy does."),
    ],
)
def test_a_policy_that_cannot_be_asked_twice_is_named(policy: type[Scheduler], fault: str) -> None:
    gangs = Gangs(2, 2, policy=policy())
    gangs.gang("big", 3)
    assert gangs.live("big") == 0
    assert gangs.cluster.faults[0].startswith(fault)


def test_a_policy_cannot_use_nodes_that_are_kept_for_a_gang() -> None:
    class Stubborn(Fifo):
        def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
            placements = super().place(ready, view).placements
            return Decision(tuple(Placement(each.key, NodeName("a"), each.count) for each in placements))

    gangs = Gangs(policy=Stubborn())
    gangs.join("a", 4, resources={"gpu": 3})
    gangs.join("b", 1)
    gangs.submit(1, "busy", request=Request(1, 0, {"gpu": 1}))
    gangs.gang("big", 3, request=Request(1, 0, {"gpu": 1}))
    gangs.wait(GANG_PATIENCE)
    gangs.submit(1, "small")
    assert gangs.live("small") == 0
    assert gangs.cluster.faults == ["The policy 'fifo' chose the node 'a', which was not offered."]


@given(
    st.lists(st.tuples(st.integers(1, 4), st.frozensets(st.sampled_from("abc"))), max_size=3),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 4)),
)
def test_places_are_counted_as_greedily_as_possible(ranges: list[Any], room: dict[Any, int]) -> None:
    found = seated(ranges, room)
    assert found <= min(sum(count for count, _ in ranges), sum(room.values()))
    for count, avoid in ranges:
        assert found >= min(count, sum(free for name, free in room.items() if name not in avoid)) or len(ranges) > 1
    more = {name: free + 4 for name, free in room.items()}
    assert seated(ranges, more) >= found


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    slots=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    policy=st.sampled_from(POLICIES),
)
def test_no_gang_waits_for_longer_than_its_patience_and_the_parts_that_run(
    data: st.DataObject, slots: list[int], policy: type[Scheduler]
) -> None:
    """However many small jobs keep coming: once those are over that ran when its patience ended, the gang starts."""
    gangs, longest, total = Gangs(*slots, policy=policy()), 5, sum(slots) + 1
    gangs.join("last", 1)
    gangs.submit(data.draw(st.integers(1, total)), "before")
    gangs.gang("big", data.draw(st.integers(2, total)))
    ends: dict[AttemptId, float] = {}
    while not gangs.live("big"):
        assert gangs.now <= GANG_PATIENCE + longest
        gangs.submit(data.draw(st.integers(1, 2 * total)), f"small{gangs.now}")
        for start in gangs.starts:
            ends.setdefault(start.attempt, gangs.now + data.draw(st.integers(1, longest)))
        gangs.wait(1)
        for start in [each for each in gangs.starts if ends.get(each.attempt, gangs.now + 1) <= gangs.now]:
            gangs.starts.remove(start)
            gangs.end(start)
    gangs.finish()
    assert all(job.ended for job in gangs.cluster.state.jobs.values())
