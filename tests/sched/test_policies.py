"""What makes each policy the one it is, beyond what all policies do."""

from __future__ import annotations

import pytest

from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model.ids import NodeName
from discomputify_core.model.job import Request
from discomputify_core.model.node import NodeLoad
from discomputify_core.model.view import ClusterView, NodeView, Placement, Ready
from discomputify_core.plugins.fifo import Fifo
from discomputify_sched_leastload.load import LeastLoadOptions
from discomputify_sched_leastload.policy import LeastLoad
from discomputify_sched_roundrobin.policy import REMEMBERED, RoundRobin
from discomputify_testkit.scheduler import make_node, make_ready, make_view


def given_out(policy: Scheduler, view: ClusterView, *ready: Ready) -> dict[str, int]:
    """How many parts each node is given."""
    found: dict[str, int] = {}
    for placement in policy.place(ready, view).placements:
        found[placement.node] = found.get(placement.node, 0) + placement.count
    return found


def cluster(*names: str, slots: int = 4) -> ClusterView:
    return make_view(*(make_node(name, slots) for name in names))


# --- fifo ---------------------------------------------------------------------------------------


def test_fifo_fills_the_first_node_first_in_blocks() -> None:
    decision = Fifo().place([make_ready(7, 6), make_ready(9, 5)], cluster("a", "b", "c"))
    assert decision.placements == (
        Placement(7, NodeName("a"), 4),
        Placement(7, NodeName("b"), 2),
        Placement(9, NodeName("b"), 2),
        Placement(9, NodeName("c"), 3),
    )


def test_fifo_lets_a_small_range_pass_one_that_fits_nowhere() -> None:
    big = make_ready(0, request=Request(cpus=8))
    assert given_out(Fifo(), cluster("a"), big, make_ready(1)) == {"a": 1}


# --- roundrobin ---------------------------------------------------------------------------------


def test_roundrobin_gives_every_node_one_part_before_any_gets_two() -> None:
    assert given_out(RoundRobin(), cluster("a", "b", "c"), make_ready(0, 4)) == {"a": 2, "b": 1, "c": 1}


def test_roundrobin_goes_on_with_the_next_range_where_the_last_one_ended() -> None:
    ready = [make_ready(0, 2), make_ready(1, 2)]
    placements = RoundRobin().place(ready, cluster("a", "b", "c")).placements
    assert [(each.key, each.node) for each in placements] == [(0, "a"), (0, "b"), (1, "c"), (1, "a")]


def test_roundrobin_remembers_the_turn_between_passes() -> None:
    policy, view = RoundRobin(), cluster("a", "b", "c")
    turns = [next(iter(given_out(policy, view, make_ready()))) for _ in range(7)]
    assert turns == ["a", "b", "c", "a", "b", "c", "a"]


def test_roundrobin_keeps_the_turn_of_nodes_that_come_and_go() -> None:
    policy = RoundRobin()
    assert given_out(policy, cluster("a", "b", "c"), make_ready(0, 3)) == {"a": 1, "b": 1, "c": 1}
    assert given_out(policy, cluster("a"), make_ready()) == {"a": 1}  # the others are full
    assert given_out(policy, cluster("a", "b"), make_ready()) == {"b": 1}
    assert given_out(policy, cluster("a", "b", "c", "new"), make_ready()) == {"new": 1}
    assert given_out(policy, cluster("a", "b", "c", "new"), make_ready()) == {"c": 1}


def test_roundrobin_skips_full_nodes_and_fills_what_is_left() -> None:
    view = make_view(make_node("small", 1), make_node("big", 10))
    assert given_out(RoundRobin(), view, make_ready(0, 8)) == {"small": 1, "big": 7}


def test_roundrobin_does_not_remember_every_node_that_ever_was() -> None:
    policy = RoundRobin()
    for number in range(20):
        given_out(policy, cluster(*(f"n{number}.{each}" for each in range(100))), make_ready(0, 100))
    assert len(policy._served) == REMEMBERED + 100


# --- leastload ----------------------------------------------------------------------------------


def loaded(name: str, cpu: float = 0, memory: float = 0, *, slots: int = 4, free: int | None = None) -> NodeView:
    return make_node(name, slots, free=free, load=NodeLoad(cpu, memory, 0))


@pytest.mark.parametrize(
    ("busy", "idle"),
    [
        (loaded("busy", cpu=80), loaded("idle", cpu=10)),
        (loaded("busy", memory=80), loaded("idle", memory=10)),
        (loaded("busy", free=1), loaded("idle")),
        (loaded("busy", slots=4, free=2), loaded("idle", slots=16, free=14)),
        (loaded("busy", cpu=50, memory=50), loaded("idle", cpu=99)),
    ],
)
def test_leastload_takes_the_idle_node(busy: NodeView, idle: NodeView) -> None:
    for view in (make_view(busy, idle), make_view(idle, busy)):
        assert given_out(LeastLoad(), view, make_ready()) == {"idle": 1}


def test_leastload_counts_what_it_gives_away() -> None:
    view = make_view(loaded("a"), loaded("b"), loaded("c"))
    assert given_out(LeastLoad(), view, make_ready(0, 6)) == {"a": 2, "b": 2, "c": 2}
    wide = make_view(loaded("narrow", slots=2), loaded("wide", slots=8))
    assert given_out(LeastLoad(), wide, make_ready(0, 5)) == {"narrow": 1, "wide": 4}


def test_leastload_counts_memory_that_parts_ask_for() -> None:
    small = make_node("small", 64, memory=10)
    large = make_node("large", 64, memory=100)
    ready = make_ready(0, 22, request=Request(1, 1))
    assert given_out(LeastLoad(LeastLoadOptions(0, 1, 0)), make_view(small, large), ready) == {"small": 2, "large": 20}


def test_leastload_breaks_ties_by_the_order_of_the_nodes() -> None:
    assert given_out(LeastLoad(), make_view(loaded("z"), loaded("a")), make_ready()) == {"z": 1}


def test_leastload_weighs_as_it_is_told() -> None:
    view = make_view(loaded("hot", cpu=90), loaded("full", memory=90))
    assert given_out(LeastLoad(LeastLoadOptions(cpu_weight=0)), view, make_ready()) == {"hot": 1}
    assert given_out(LeastLoad(LeastLoadOptions(memory_weight=0)), view, make_ready()) == {"full": 1}


def test_leastload_bears_loads_that_are_not_numbers() -> None:
    view = make_view(loaded("odd", cpu=float("nan")), loaded("odder", memory=float("inf")), loaded("plain"))
    assert sum(given_out(LeastLoad(), view, make_ready(0, 12)).values()) == 12


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_leastload_refuses_weights_that_make_no_order(weight: float) -> None:
    with pytest.raises(ValueError, match="memory_weight"):
        LeastLoadOptions(memory_weight=weight)
