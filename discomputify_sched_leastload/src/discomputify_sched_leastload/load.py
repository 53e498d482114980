"""How loaded a node is, as one number: what it reports, what runs there, and what it was given in this pass."""

from __future__ import annotations

import attrs

from discomputify_core.model.conf import key
from discomputify_core.model.view import NodeView, Ready


@attrs.frozen
class LeastLoadOptions:
    """The section "leastload" of the conf: how much each kind of load counts. 0 ignores it."""

    cpu_weight: float = key(
        1.0, doc="How much the CPU load of a node counts (1.0 = all its CPUs busy).", most=1_000_000
    )
    memory_weight: float = key(
        1.0, doc="How much the memory load of a node counts (1.0 = all memory used).", most=1_000_000
    )
    parts_weight: float = key(1.0, doc="How much parts on a node count (1.0 = one part per slot).", most=1_000_000)

    def __attrs_post_init__(self) -> None:
        for name, weight in attrs.asdict(self).items():
            # With a negative weight a load would shrink while work is given out; NaN compares with nothing.
            if not 0 <= weight < float("inf"):
                raise ValueError(f"{name} is {weight}; expected a number that is not negative")


class Load:
    """The load of one node during a pass. It only grows.

    CPU_LOAD and MEM_LOAD are as old as the node's last beat, so parts given out since then, here those of this
    pass, are added with the CPUs and the memory that they asked for.
    """

    def __init__(self, node: NodeView, weights: LeastLoadOptions) -> None:
        self._weights = weights
        self._slots = max(node.facts.slots, 1)
        self._memory = node.facts.memory
        self._cpu_load = node.load.CPU_LOAD / 100
        self._memory_load = node.load.MEM_LOAD / 100
        self._parts = node.running
        self._given_cpus = 0
        self._given_memory = 0

    def add(self, ready: Ready) -> None:
        """One part of the range goes to the node."""
        self._parts += 1
        self._given_cpus += ready.request.cpus
        self._given_memory += ready.request.memory

    @property
    def now(self) -> float:
        """The weighted sum of CPU load, memory load and parts per slot; 0 for an idle node."""
        weights = self._weights
        given_memory = self._given_memory / self._memory if self._memory > 0 else 0.0
        return (
            weights.cpu_weight * (self._cpu_load + self._given_cpus / self._slots)
            + weights.memory_weight * (self._memory_load + given_memory)
            + weights.parts_weight * self._parts / self._slots
        )
