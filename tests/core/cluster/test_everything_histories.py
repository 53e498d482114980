"""Random histories in which all meets: jobs that follow others, start together, share memory, and are limited."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from discomputify_core.cluster import report, why
from discomputify_core.cluster.state import Job
from discomputify_core.model import events as ev
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec, Outcome, PartState, Request

from .test_dependency_histories import Following
from .test_gang_histories import Gathering
from .test_histories import DIGEST
from .test_memory_histories import Sharing


class Everything(Gathering, Sharing, Following):
    """All that can happen to jobs of any kind, under any policy; and whatever waits says what for."""

    @rule(
        data=st.data(),
        parts=st.integers(1, 8),
        request=st.sampled_from([Request(), Request(), Request(2), Request(1, 40), Request(1, 0, {"gpu": 1})]),
        per_node=st.integers(0, 2),
        together=st.booleans(),
        priority=st.integers(0, 1),
        budgets=st.sampled_from([(1, 0), (2, 1), (3, 5)]),
        checked=st.booleans(),
    )
    def submit_any(
        self,
        data: st.DataObject,
        parts: int,
        request: Request,
        per_node: int,
        together: bool,
        priority: int,
        budgets: tuple[int, int],
        checked: bool,
    ) -> None:
        known = list(self.cluster.state.jobs)[-6:]
        some = st.lists(st.sampled_from(known), max_size=1) if known else st.just([])
        after, after_any, inputs_from = (tuple(data.draw(some)) for _ in range(3))
        self.jobs += 1
        name = ProcessId(f"job{self.jobs}")
        spec = JobSpec(
            name,
            "k",
            parts,
            DIGEST,
            request=request,
            per_node=per_node,
            together=together,
            priority=priority,
            attempts=budgets[0],
            lost_attempts=budgets[1],
            after=after,
            after_any=after_any,
            inputs_from=inputs_from,
        )
        self.specs[name] = spec
        self.do(ev.JobSubmitted(spec, self.now))
        if checked:
            self.do(ev.TreeChecked(name, "k"))

    @precondition(lambda self: any(self.running.values()))
    @rule(data=st.data(), end=st.sampled_from([End.DONE, End.DONE, End.EXIT, End.LOST]))
    def end_all_of_a_job(self, data: st.DataObject, end: End) -> None:
        """What runs of a job ends in one report of each node, as far as it is there."""
        jobs = {start.spec.process_id for held in self.running.values() for start in held.values()}
        name = data.draw(st.sampled_from(sorted(jobs)))
        for node, held in self.running.items():
            attempts = [start.attempt for start in held.values() if start.spec.process_id == name]
            if not self.live(node) or not attempts:
                continue
            for attempt in attempts:
                del held[attempt]
            manifest = DIGEST if end is End.DONE else ""
            ends = (Outcome(attempt, end, reason=end.value, manifest=manifest) for attempt in attempts)
            self.do(*(ev.AttemptEnded(NodeName(node), outcome) for outcome in ends))

    @invariant()
    def speaks(self) -> None:
        """Whatever waits says what for; and nothing that could be placed is left to wait."""
        if not hasattr(self, "cluster"):
            return
        for job in self.cluster.state.jobs.values():
            self.speaks_of(job)

    def speaks_of(self, job: Job) -> None:
        state, waits = self.cluster.state, self.cluster.waits
        said = why.why_job(state, job, waits)
        counts = job.parts.counts()
        if not job.ended:
            assert said or (job.live and not counts.ready), f"{job.id} waits and nobody says for what"
        elif counts.failed or counts.stopped:
            assert said, f"{job.id} ended badly and nobody says why"
        assert "about to be placed" not in said, f"{job.id} could be placed: {said}"
        status = report.job_status(state, job)
        assert status.reason or not said
        for where in PartState:
            part = next(job.parts.having(where), 0)
            assert not part or all(why.why_part(state, job, part, waits))


TestEverything = Everything.TestCase
TestEverything.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
