"""Random histories with jobs whose parts start together among others: nodes come and go, parts fail and are lost."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from discomputify_core.cluster import gangs, together
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model import events as ev
from discomputify_core.model.commands import Command, StartPart
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobSpec, Request
from discomputify_core.plugins.fifo import Fifo
from discomputify_sched_leastload.policy import LeastLoad
from discomputify_sched_roundrobin.policy import RoundRobin

from .test_histories import DIGEST, Histories

POLICIES: list[type[Scheduler]] = [Fifo, RoundRobin, LeastLoad]


class Gathering(Histories):
    """As before; whenever parts of a gang are started beside no older ones, none that was ready is left behind."""

    @initialize(policy=st.sampled_from(POLICIES))
    def begin(self, policy: type[Scheduler] = Fifo) -> None:
        super().begin()
        self.cluster.policy = policy()

    def see(self, commands: Sequence[Command]) -> None:
        super().see(commands)
        started = {command.attempt for command in commands if isinstance(command, StartPart)}
        for job in self.cluster.state.jobs.values():
            if job.spec.together and job.live and job.live.keys() <= started:
                assert not self.cluster.state.ready(job), f"{job.id} was started in part"

    @rule(
        parts=st.integers(1, 9),
        cpus=st.integers(1, 2),
        gpu=st.booleans(),
        priority=st.integers(0, 1),
        per_node=st.integers(0, 2),
    )
    def submit_together(self, parts: int, cpus: int, gpu: bool, priority: int, per_node: int) -> None:
        self.jobs += 1
        spec = JobSpec(
            ProcessId(f"job{self.jobs}"),
            "k",
            parts,
            DIGEST,
            request=Request(cpus, 0, {"gpu": 1} if gpu else {}),
            lost_attempts=9,
            priority=priority,
            per_node=per_node,
            together=True,
        )
        self.do(ev.JobSubmitted(spec, self.now))
        self.do(ev.TreeChecked(spec.process_id, "k"))

    def give_way(self) -> bool:
        """Stop what no node could ever hold: of the rest, nobody waits for ever."""
        state, stopped = self.cluster.state, False
        for job in list(state.hungry.values()):
            if gangs.forming(state, job):
                found = together.ways(state, job)[0]
                if gangs.room_at_best(state, found) < state.ready(job):
                    self.do(ev.JobStopAsked(job.id))
                    stopped = True
        return stopped


TestGathering = Gathering.TestCase
TestGathering.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
