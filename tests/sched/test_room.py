"""The shared book-keeping of policies agrees with the plain way of looking at every node."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.model.ids import NodeName
from discomputify_core.model.job import Request
from discomputify_core.model.view import NodeView, Ready, Room, fits
from discomputify_testkit.scheduler import make_node, make_ready

NAMES = [f"n{number}" for number in range(5)]

nodes = st.lists(
    st.builds(
        lambda slots, memory, gpus: (slots, memory, gpus), st.integers(0, 4), st.integers(0, 9), st.integers(0, 2)
    ),
    max_size=5,
).map(lambda rows: [make_node(name, row[0], memory=row[1], gpu=row[2]) for name, row in zip(NAMES, rows, strict=False)])
requests = st.builds(
    Request, st.integers(1, 3), st.integers(0, 5), st.sampled_from([{}, {"gpu": 1}, {"gpu": 2}, {"tpu": 1}])
)
ranges = st.builds(
    lambda request, avoid: make_ready(request=request, avoid=frozenset(map(NodeName, avoid))),
    requests,
    st.sets(st.sampled_from(NAMES), max_size=2),
)


def plain(left: list[NodeView], ready: Ready, free: list[tuple[int, int, dict[str, int]]], start: int) -> int | None:
    """The first node from *start* on that fits, the slow way."""
    for index in range(start, len(left)):
        if left[index].name not in ready.avoid and fits(ready.request, *free[index]):
            return index
    return None


@given(nodes, st.lists(st.tuples(ranges, st.integers(0, 5)), max_size=20))
def test_room_finds_what_looking_everywhere_finds(cluster: list[NodeView], asks: list[tuple[Ready, int]]) -> None:
    room = Room(cluster)
    free = [(node.free_cpus, node.free_memory, dict(node.free_resources)) for node in cluster]
    for ready, start in asks:
        start = min(start, len(cluster))
        index = room.find(ready, start)
        assert index == plain(cluster, ready, free, start)
        assert room.cpus == sum(cpus for cpus, _, _ in free)
        if index is None:
            continue
        assert room.most(ready, index) >= 1
        room.take(ready, index)
        cpus, memory, resources = free[index]
        for name, count in ready.request.needs.items():
            resources[name] -= count
        free[index] = (cpus - ready.request.cpus, memory - ready.request.memory, resources)


def test_taking_leaves_the_view_as_it_was() -> None:
    node = make_node("n", 4, gpu=2)
    room = Room([node])
    room.take(make_ready(request=Request(1, 1, {"gpu": 1})), 0, 2)
    assert room.find(make_ready(request=Request(1, 0, {"gpu": 1}))) is None
    assert room.find(make_ready()) == 0
    assert node.free_resources == {"gpu": 2}
