"""What a simulation is made of: nodes, jobs and faults, as values. Not here: where they come from (histories.py)."""

from __future__ import annotations

import zlib
from random import Random

import attrs

from discomputify_core.model.job import JobSpec
from discomputify_testkit.simulator.durations import Durations

#: What may happen, and what a fault's ``seconds`` and ``more`` are.
FAULTS = {
    "kill": "the node's process dies; it is started again after SECONDS",
    "power": "the node's machine goes off: nobody is told; it is back after SECONDS",
    "leave": "the node stops as planned; it is back after SECONDS",
    "cut": "the node's connection breaks; it can dial again after SECONDS",
    "half": "the node's connection breaks and the master does not notice; it can dial again after SECONDS",
    "silence": "nothing gets through between node and master for SECONDS, then everything does, late",
    "mute": "nothing gets through from node to master for SECONDS",
    "deaf": "nothing gets through from master to node for SECONDS",
    "all": "nothing gets through between all nodes and the master for SECONDS",
    "repeat": "the node tells everything twice for SECONDS",
    "swap": "what the node tells arrives in another order for SECONDS",
    "slow": "what starts on the node within SECONDS takes MORE times as long",
    "paused": "the node takes no new parts for SECONDS, since its disk is full",
    "broken": "every part fails on the node for SECONDS",
    "drain": "the node is drained; that is undone after SECONDS",
    "master": "the master dies, and the share MORE of what it was writing is on the disk; back after SECONDS",
    "disk": "the journal cannot be written for SECONDS",
    "store": "the store does not answer for SECONDS",
    "table": "what the shared memory holds is lost",
}


@attrs.frozen
class NodePlan:
    """A node."""

    name: str
    slots: int = 4
    memory: int = 0
    #: How many times as fast as usual parts run there.
    speed: float = 1.0
    #: When it comes for the first time, seconds.
    begins: float = 0.0


@attrs.frozen
class JobPlan:
    """A job, and what becomes of its parts."""

    spec: JobSpec
    #: When it is submitted, seconds.
    at: float = 0.0
    seconds: Durations = attrs.field(factory=Durations)
    #: The share of attempts that fail by themselves.
    fails: float = 0.0
    #: Whether its parts use shared memory.
    shares: bool = False
    #: Whether its parts keep a checkpoint half way.
    keeps: bool = False
    #: When somebody asks to stop it; None: nobody does.
    stop: float | None = None
    #: Whether it is submitted again, once, if it did not end well.
    again: bool = False
    #: Whether it is cleared a while after it has ended.
    clear: bool = False


@attrs.frozen
class Fault:
    """Something that goes wrong."""

    at: float
    kind: str = attrs.field(validator=attrs.validators.in_(FAULTS))
    node: str = ""
    seconds: float = 0.0
    more: float = 0.0

    def __str__(self) -> str:
        where = f" {self.node}" if self.node else ""
        more = f", {self.more:g}" if self.more else ""
        return f"{self.at:.3f} s: {self.kind}{where} ({self.seconds:g} s{more})"


@attrs.frozen
class Scenario:
    """All that a history follows from."""

    seed: int = 0
    policy: str = "fifo"
    nodes: tuple[NodePlan, ...] = ()
    jobs: tuple[JobPlan, ...] = ()
    faults: tuple[Fault, ...] = ()

    def part_seconds(self, job: int, part: int) -> float:
        """How long the program of a part of the job at index *job* takes on a usual node."""
        plan = self.jobs[job]
        if plan.seconds.kind == "fixed":
            return plan.seconds.draw(_UNUSED)
        return plan.seconds.draw(self._chance(job, part, 0))

    def fails(self, job: int, part: int, number: int) -> bool:
        """Whether an attempt fails by itself."""
        share = self.jobs[job].fails
        return bool(share) and self._chance(job, part, number).random() < share

    def _chance(self, job: int, part: int, number: int) -> Random:
        """What is drawn for one thing does not depend on what is drawn for others."""
        name = zlib.crc32(self.jobs[job].spec.process_id.encode())
        return Random(((self.seed << 32 | name) << 32 | part) << 16 | number)


_UNUSED = Random(0)
