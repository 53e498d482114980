"""All policies of this repository keep what policies promise."""

from __future__ import annotations

from discomputify_core.plugins.fifo import Fifo
from discomputify_sched_leastload.load import LeastLoadOptions
from discomputify_sched_leastload.policy import LeastLoad
from discomputify_sched_roundrobin.policy import RoundRobin
from discomputify_testkit.scheduler import SchedulerConformance


class TestFifo(SchedulerConformance):
    def make_scheduler(self) -> Fifo:
        return Fifo()


class TestRoundRobin(SchedulerConformance):
    def make_scheduler(self) -> RoundRobin:
        return RoundRobin()


class TestLeastLoad(SchedulerConformance):
    def make_scheduler(self) -> LeastLoad:
        return LeastLoad()


class TestLeastLoadThatWeighsNothing(SchedulerConformance):
    def make_scheduler(self) -> LeastLoad:
        return LeastLoad(LeastLoadOptions(0, 0, 0))
