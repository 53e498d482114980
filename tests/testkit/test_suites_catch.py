"""The suites notice plugins that break their promise."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Message
from discomputify_core.model.view import ClusterView, Decision, Placement, Ready
from discomputify_core.plugins.fifo import Fifo
from discomputify_testkit.fakes import memory_transport
from discomputify_testkit.fakes.memory_transport import MemoryTransport
from discomputify_testkit.scheduler import SchedulerConformance
from discomputify_testkit.transport import Capabilities, TransportConformance


class Bad(Scheduler):
    """Fifo, spoilt."""

    name = "bad"

    def __init__(self, options: object = None, spoil: Callable[..., Decision] = lambda *_: Decision()) -> None:
        super().__init__(options)
        self.spoil = spoil

    def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
        return self.spoil(ready, view, Fifo().place(ready, view))


def twice(ready: Sequence[Ready], view: ClusterView, right: Decision) -> Decision:
    return Decision((*right.placements, *right.placements))


def backwards(ready: Sequence[Ready], view: ClusterView, right: Decision) -> Decision:
    return Fifo().place(ready[::-1], view)


def lazy(ready: Sequence[Ready], view: ClusterView, right: Decision) -> Decision:
    return Decision(right.placements[:-1])


def heedless(ready: Sequence[Ready], view: ClusterView, right: Decision) -> Decision:
    return Fifo().place([attrs.evolve(each, avoid=frozenset()) for each in ready], view)


def greedy(ready: Sequence[Ready], view: ClusterView, right: Decision) -> Decision:
    return Fifo().place([attrs.evolve(each, count=each.count + 1) for each in ready], view)


def strange(ready: Sequence[Ready], view: ClusterView, right: Decision) -> Decision:
    return Decision(tuple(attrs.evolve(each, key=each.key + 1000) for each in right.placements))


def scanning(ready: Sequence[Ready], view: ClusterView, right: Decision) -> Decision:
    """First fit, looking at every node for every part."""
    cpus = {node.name: node.free_cpus for node in view.nodes}
    placements = []
    for item in ready:
        for _ in range(min(item.count, 10_000)):
            for node in view.nodes:
                free = cpus[node.name]
                if node.name not in item.avoid and free >= item.request.cpus and not item.request.memory:
                    cpus[node.name] -= item.request.cpus
                    placements.append(Placement(item.key, node.name))
                    break
    return Decision(tuple(placements))


@pytest.mark.parametrize(
    ("spoil", "clause"),
    [
        (twice, "test_s_05"),
        (twice, "test_s_06"),
        (greedy, "test_s_05"),
        (heedless, "test_s_07"),
        (lazy, "test_s_08"),
        (lazy, "test_s_09"),
        (backwards, "test_s_09"),
        (strange, "test_s_04"),
        (scanning, "test_s_13"),
    ],
)
def test_a_bad_policy_is_caught(spoil: Callable[..., Decision], clause: str) -> None:
    class Suite(SchedulerConformance):
        def make_scheduler(self) -> Scheduler:
            return Bad(spoil=spoil)

    with pytest.raises(AssertionError):
        clause_of(Suite(), clause)()


def test_a_forgetful_policy_is_caught() -> None:
    seen: list[int] = []

    def changing(ready: Sequence[Ready], view: ClusterView, right: Decision) -> Decision:
        seen.append(1)
        return Decision(right.placements[len(seen) % 2 :])

    class Suite(SchedulerConformance):
        def make_scheduler(self) -> Scheduler:
            return Bad(spoil=changing)

    with pytest.raises(AssertionError):
        clause_of(Suite(), "test_s_10")()


def test_a_policy_that_shares_what_it_keeps_with_its_copies_is_caught() -> None:
    class Turns(Fifo):
        def __init__(self) -> None:
            super().__init__()
            self.turns: list[int] = []

        def __deepcopy__(self, memo: object) -> Scheduler:
            return copy.copy(self)

        def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
            self.turns.append(1)
            return super().place(ready, attrs.evolve(view, nodes=view.nodes[:: 1 if len(self.turns) % 3 else -1]))

    class Suite(SchedulerConformance):
        def make_scheduler(self) -> Scheduler:
            return Turns()

    clause_of(Suite(), "test_s_10")()
    with pytest.raises(AssertionError):
        clause_of(Suite(), "test_s_16")()


class Spoilt(memory_transport.MemoryChannel):
    """A channel that does not keep its promise."""

    held: Message | None = None
    how = ""

    async def send(self, message: Message) -> None:
        if self.how == "cuts bodies":
            message = attrs.evolve(message, body=bytes(message.body)[:1000])
        if self.how == "swaps":
            if self.held is None and message.operation == "count":
                self.held = message
                return
            if self.held is not None:
                held, self.held = self.held, None
                await super().send(message)
                message = held
        if self.how == "forgets ids":
            message = attrs.evolve(message, request=None)
        await super().send(message)


@pytest.mark.parametrize(
    ("how", "clause", "arguments"),
    [
        ("swaps", "test_t_01", {}),
        ("cuts bodies", "test_t_02", {"size": 65_536}),
        ("cuts bodies", "test_t_06", {}),
        ("forgets ids", "test_t_05", {}),
    ],
)
def test_a_bad_transport_is_caught(
    how: str, clause: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Suite(TransportConformance):
        capabilities = Capabilities(over_tcp=False)

        def make_transport(self, conf: Conf) -> MemoryTransport:
            return MemoryTransport(conf)

    monkeypatch.setattr(Spoilt, "how", how)
    monkeypatch.setattr(memory_transport, "MemoryChannel", Spoilt)
    with pytest.raises(AssertionError):
        clause_of(Suite(), clause)(**arguments)


def test_a_transport_without_backpressure_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Suite(TransportConformance):
        capabilities = Capabilities(over_tcp=False, most_ahead=8 * 1024 * 1024)

        def make_transport(self, conf: Conf) -> MemoryTransport:
            return MemoryTransport(conf)

    monkeypatch.setattr("discomputify_testkit.fakes.memory_pipe.MAX_HELD", 2**40)
    with pytest.raises(AssertionError):
        clause_of(Suite(), "test_t_10")()


def clause_of(suite: object, start: str) -> Callable[..., None]:
    """The one method of *suite* whose name begins with *start*."""
    (name,) = (name for name in dir(suite) if name.startswith(start + "_"))
    found: Callable[..., None] = getattr(suite, name)
    return found
