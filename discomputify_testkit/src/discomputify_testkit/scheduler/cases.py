"""Made-up clusters and ready work for the scheduler suite: random, and the same in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import Request
from discomputify_core.model.node import NodeFacts, NodeLoad
from discomputify_core.model.view import ClusterView, NodeView, Ready

GB = 2**30


@attrs.frozen
class Situation:
    """What one pass is given."""

    ready: tuple[Ready, ...]
    view: ClusterView


def make_ready(key: int = 0, count: int = 1, **changes: Any) -> Ready:
    """A range of parts that need one CPU each, with *changes*."""
    given = {"process_id": ProcessId(f"job{key}"), "owner": "somebody@somewhere", "priority": 0, "request": Request()}
    return Ready(key=key, count=count, **{**given, **changes})


def make_node(
    name: str,
    slots: int = 4,
    *,
    free: int | None = None,
    memory: int = 8 * GB,
    free_memory: int | None = None,
    load: NodeLoad | None = None,
    **resources: int,
) -> NodeView:
    """A node with *slots* CPUs of which *free* are free (default: all)."""
    free = slots if free is None else free
    return NodeView(
        name=NodeName(name),
        facts=NodeFacts(NodeName(name), slots, memory, dict(resources)),
        load=load or NodeLoad(),
        free_cpus=free,
        free_memory=memory if free_memory is None else free_memory,
        free_resources=dict(resources),
        running=slots - free,
    )


def make_view(*nodes: NodeView, live: int | None = None, now: float = 0.0) -> ClusterView:
    """A cluster of *nodes*, the full ones left out as the master does."""
    free = tuple(node for node in nodes if node.free_cpus > 0)
    return ClusterView(free, len(nodes) if live is None else live, now)


def histories(count: int, passes: int = 4) -> Iterator[list[Situation]]:
    """*count* different histories of *passes* passes over one cluster each, whose nodes come, go and fill."""
    for seed in range(count):
        chance = random.Random(seed)  # noqa: S311 (nothing secret: it has to be the same every time)
        names = [f"node{number}" for number in range(chance.randint(1, 12))]
        chance.shuffle(names)
        yield [_situation(chance, names, now=60.0 * number) for number in range(passes)]


def _situation(chance: random.Random, names: Sequence[str], now: float) -> Situation:
    present = [name for name in names if chance.random() < 0.85]
    view = make_view(*(_node(chance, name) for name in present), now=now)
    count = chance.choice((0, 1, 2, 5, 12))
    keys = chance.sample(range(100), count)
    priorities = sorted((chance.randint(-1, 2) for _ in range(count)), reverse=True)
    return Situation(
        tuple(_ready(chance, key, priority, names) for key, priority in zip(keys, priorities, strict=True)), view
    )


def _node(chance: random.Random, name: str) -> NodeView:
    slots = chance.choice((1, 2, 4, 8, 32))
    memory = chance.choice((0, 1, 8, 64)) * GB
    return make_node(
        name,
        slots,
        free=chance.randint(0, slots),
        memory=memory,
        free_memory=chance.randint(0, memory),
        load=NodeLoad(chance.uniform(0, 100), chance.uniform(0, 100), chance.uniform(0, 64)),
        **{kind: chance.randint(0, 3) for kind in ("gpu", "licence") if chance.random() < 0.4},
    )


def _ready(chance: random.Random, key: int, priority: int, names: Sequence[str]) -> Ready:
    needs = {kind: chance.randint(1, 2) for kind in ("gpu", "licence") if chance.random() < 0.15}
    return make_ready(
        key,
        chance.choice((1, 1, 2, 7, 40, 5000)),
        priority=priority,
        owner=chance.choice(("ann@one", "bob@two")),
        request=Request(chance.choice((1, 1, 1, 2, 3, 8)), chance.choice((0, 0, 1, 5)) * GB, needs),
        avoid=frozenset(NodeName(name) for name in names if chance.random() < chance.choice((0, 0, 0.5, 1))),
    )


def big_cluster(nodes: int) -> Situation:
    """*nodes* nodes of ten slots, some short of memory, and more work than fits, in ranges of several kinds."""
    cluster = [
        make_node(
            f"node{number}",
            10,
            memory=(1 if number % 3 else 64) * GB,
            load=NodeLoad(number * 7 % 100, number * 13 % 100),
            **({"gpu": 2} if number % 10 == 0 else {}),
        )
        for number in range(nodes)
    ]
    kinds = (
        Request(),
        Request(1, 2 * GB),
        Request(2),
        Request(1, 0, {"gpu": 1}),
        Request(3, GB // 4),
        Request(64),
    )
    ready = [
        make_ready(key, nodes // 5, request=kinds[key % len(kinds)], avoid=frozenset({NodeName(f"node{key % 3}")}))
        for key in range(60)
    ]
    return Situation((*ready, make_ready(60, 20 * nodes)), make_view(*cluster))
