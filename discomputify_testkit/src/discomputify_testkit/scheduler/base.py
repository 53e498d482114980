"""What every clause of the scheduler suite uses: what a subclass has to give, and an independent book-keeper."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model.ids import NodeName
from discomputify_core.model.job import Request
from discomputify_core.model.view import ClusterView, Decision, Ready, fits
from discomputify_testkit.scheduler.cases import Situation

T = TypeVar("T")


class SchedulerSuite(ABC):
    """What a subclass gives."""

    @abstractmethod
    def make_scheduler(self) -> Scheduler:
        """A fresh instance of the policy under test."""

    def place(self, *situations: Situation) -> Decision:
        """The answer of a fresh instance to the last of *situations*, after the others."""
        scheduler = self.make_scheduler()
        decisions = [scheduler.place(situation.ready, situation.view) for situation in situations]
        return decisions[-1]


class Books:
    """What is free after a decision, kept apart from any policy's own count."""

    def __init__(self, view: ClusterView) -> None:
        self.cpus = {node.name: node.free_cpus for node in view.nodes}
        self.memory = {node.name: node.free_memory for node in view.nodes}
        self.resources = {node.name: Counter(node.free_resources) for node in view.nodes}

    def take(self, request: Request, node: NodeName, count: int) -> None:
        """*count* parts go to *node*, or with a negative one come back."""
        self.cpus[node] -= request.cpus * count
        self.memory[node] -= request.memory * count
        for name, needed in request.needs.items():
            self.resources[node][name] -= needed * count

    def overdrawn(self) -> list[str]:
        """The nodes that were given more than they have, each with what."""
        return [
            f"{name}: {self.cpus[name]} CPUs, {self.memory[name]} bytes, {dict(self.resources[name])}"
            for name in self.cpus
            if self.cpus[name] < 0 or self.memory[name] < 0 or any(n < 0 for n in self.resources[name].values())
        ]

    def usable(self, ready: Ready) -> list[NodeName]:
        """The nodes that could take one more part of *ready*."""
        return [
            name
            for name in self.cpus
            if name not in ready.avoid and fits(ready.request, self.cpus[name], self.memory[name], self.resources[name])
        ]


def booked(situation: Situation, decision: Decision) -> Books:
    """The books after *decision*."""
    books, requests = Books(situation.view), {ready.key: ready.request for ready in situation.ready}
    for placement in decision.placements:
        books.take(requests[placement.key], placement.node, placement.count)
    return books


def placed(decision: Decision) -> Counter[int]:
    """How many parts of each range were placed."""
    found: Counter[int] = Counter()
    for placement in decision.placements:
        found[placement.key] += placement.count
    return found


def lines_of(work: Callable[[], T]) -> tuple[int, T]:
    """How many lines of Python *work* executes, a measure of effort that no busy machine disturbs; and its result."""
    count = 0

    def line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        result = work()
    finally:
        sys.settrace(before)
    return count, result
