"""Random histories of jobs that have limits and requirements, are submitted again, and are forgotten for their age."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from discomputify_core.cluster import report
from discomputify_core.cluster.machine import Settings
from discomputify_core.cluster.state import Job
from discomputify_core.errors import BadInput
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model import events as ev
from discomputify_core.model.commands import Command, StartPart
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec, JobState, Outcome, PartState
from discomputify_core.model.node import NodeFacts
from discomputify_core.plugins.fifo import Fifo

from .test_everything_histories import Everything
from .test_gang_histories import POLICIES
from .test_histories import DIGEST

OTHER = "blake3:" + "12" * 32
REQUIRED = [(), (), ("numpy>=2",), ("python==3.12",), ("numpy", "scipy<2")]
PACKAGES = {"a": {"numpy": "1.26"}, "b": {"numpy": "2.1", "scipy": "1.9"}, "c": {}}
KEEP = 60.0


class Limited(Everything):
    """As before; a job that ended badly may go on with another program."""

    @initialize(policy=st.sampled_from(POLICIES))
    def begin(self, policy: type[Scheduler] = Fifo) -> None:
        #: Jobs that were submitted again, which may end another time; and that ended before that.
        self.resumed: set[ProcessId] = set()
        self.ended_before: set[ProcessId] = set()
        #: Outputs of done parts when their job was submitted again.
        self.finished: dict[ProcessId, dict[int, tuple[str, str]]] = {}
        super().begin(policy)

    def do(self, *events: ev.Event) -> None:
        if self.cluster.settings.keep is None:
            self.cluster.settings = Settings(keep=KEEP)
            self.cluster._turn.settings = self.cluster.settings
        super().do(*events)

    def see(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, StartPart):
                job = self.cluster.job(command.spec.process_id)
                assert command.attempt.endswith(f".{command.number}.{job.spec.key}")
                assert command.part not in self.finished.get(job.id, {}) or job.generation
        super().see(commands)

    def may_start(self, spec: JobSpec, *, gathered: bool = True) -> None:
        needed = (*spec.after, *spec.inputs_from)
        assert all(self.ends.get(each) is JobState.DONE for each in needed)
        assert all(each in self.ends or each in self.ended_before for each in spec.after_any)

    @rule(name=st.sampled_from(["a", "b", "c"]))
    def join(self, name: str) -> None:
        facts = NodeFacts(
            NodeName(name),
            slots=3,
            memory=100,
            resources={"gpu": 1} if name == "b" else {},
            cache_limit=1 << 30,
            python="3.11.9" if name == "a" else "3.12.1",
            packages=PACKAGES[name],
            session=self.session(name),
        )
        attempts = tuple(self.running[name])
        self.do(ev.NodeJoined(facts, f"{name}:1", attempts))
        for attempt in self.cluster.unknown_attempts(attempts):
            self.running[name].pop(attempt, None)

    @rule(
        parts=st.integers(1, 8),
        require=st.sampled_from(REQUIRED),
        deadline=st.sampled_from([0.0, 5.0, 40.0]),
        max_failures=st.integers(0, 2),
        attempts=st.integers(1, 2),
        together=st.booleans(),
    )
    def submit_limited(
        self,
        parts: int,
        require: tuple[str, ...],
        deadline: float,
        max_failures: int,
        attempts: int,
        together: bool,
    ) -> None:
        self.jobs += 1
        name = ProcessId(f"job{self.jobs}")
        spec = JobSpec(
            name,
            "k",
            parts,
            DIGEST,
            attempts=attempts,
            require=require,
            deadline=deadline,
            max_failures=max_failures,
            together=together,
        )
        self.specs[name] = spec
        self.do(ev.JobSubmitted(spec, self.now), ev.TreeChecked(name, "k"))

    @precondition(lambda self: any(self.running.values()))
    @rule(data=st.data(), memory=st.booleans())
    def resubmit_half_done(self, data: st.DataObject, memory: bool) -> None:
        """What runs of a job is done; then it is stopped, and goes on with another program."""
        starts = {start.spec.process_id for held in self.running.values() for start in held.values()}
        name = data.draw(st.sampled_from(sorted(starts)))
        for node, held in self.running.items():
            for attempt in [start.attempt for start in held.values() if start.spec.process_id == name]:
                if memory and attempt in held:
                    table = self.used.setdefault(attempt, f"t{self.table}")
                    self.do(ev.MemoryUsed(NodeName(node), attempt, table))
                if held.pop(attempt, None):
                    self.do(ev.AttemptEnded(NodeName(node), Outcome(attempt, End.DONE, manifest=DIGEST)))
        job = self.cluster.state.jobs.get(name)
        if job is not None:
            self.do(ev.JobStopAsked(name))
            self.go_on(data, job, checked=True, deadline=0.0, attempts=2)

    @precondition(lambda self: self.cluster.state.jobs)
    @rule(data=st.data(), checked=st.booleans(), deadline=st.sampled_from([0.0, 40.0]), attempts=st.integers(1, 2))
    def resubmit(self, data: st.DataObject, checked: bool, deadline: float, attempts: int) -> None:
        job = self.cluster.job(data.draw(st.sampled_from(list(self.cluster.state.jobs))))
        if data.draw(st.booleans()):
            self.do(ev.JobStopAsked(job.id))
        self.go_on(data, job, checked=checked, deadline=deadline, attempts=attempts)

    def go_on(self, data: st.DataObject, job: Job, *, checked: bool, deadline: float, attempts: int) -> None:
        """Submit *job* again, if that is possible."""
        key = f"k{len(job.origins)}"
        spec = attrs.evolve(
            job.spec,
            key=key,
            tree=OTHER,
            deadline=deadline,
            attempts=attempts,
            require=data.draw(st.sampled_from(REQUIRED)),
        )
        before = self.outputs_of(job.id)
        try:
            assert self.cluster.check_resubmit(spec)
        except BadInput:
            # What is refused changes nothing, whoever asks for it.
            self.do(ev.JobResubmitted(spec, self.now))
            assert self.cluster.job(job.id).spec.key != key
            return
        used = job.memory.used
        self.resumed.add(job.id)
        self.ended_before.add(job.id)
        self.ends.pop(job.id, None)
        # Jobs that it followed may have been cleared since then.
        self.specs[job.id] = attrs.evolve(
            spec,
            after=self.known(spec.after),
            after_any=self.known(spec.after_any),
            inputs_from=self.known(spec.inputs_from),
        )
        self.committed = {each: count for each, count in self.committed.items() if each[0] != job.id}
        self.do(ev.JobResubmitted(spec, self.now))
        assert not self.cluster.check_resubmit(spec)
        counts = job.parts.counts()
        assert counts.done + counts.waiting == counts.total
        assert not job.ended
        assert all(not each.failures and not each.losses for each in job.parts.trouble.values())
        after = self.outputs_of(job.id)
        assert after.items() <= before.items()
        assert used or after == before
        self.finished[job.id] = after
        if checked:
            self.do(ev.TreeChecked(job.id, key))

    def known(self, jobs: Iterable[ProcessId]) -> tuple[ProcessId, ...]:
        return tuple(each for each in jobs if each in self.cluster.state.jobs)

    def outputs_of(self, process_id: ProcessId) -> dict[int, tuple[str, str]]:
        found = report.outputs(self.cluster.job(process_id), 0, 1000).outputs
        return {each.part: (each.attempt, each.manifest) for each in found}

    @rule(data=st.data(), fault=st.sampled_from(["", "", "gone"]))
    def check_tree(self, data: st.DataObject, fault: str) -> None:
        unchecked = [job for job in self.cluster.state.jobs.values() if not job.checked]
        if unchecked:
            job = data.draw(st.sampled_from(unchecked))
            self.do(ev.TreeChecked(job.id, job.spec.key, fault))

    @invariant()
    def limits_hold(self) -> None:
        """What was done when a job was submitted again stays; no job outlives its deadline or its time to be kept."""
        if not hasattr(self, "cluster"):
            return
        for job in self.cluster.state.jobs.values():
            kept = self.finished.get(job.id, {})
            if not job.generation:
                assert kept.items() <= self.outputs_of(job.id).items()
            status = report.job_status(self.cluster.state, job)
            assert sum(count for _, count in status.trees) == status.parts.done
            failed = job.parts.count(PartState.FAILED)
            assert job.state is not JobState.FAILED or failed or job.limit_passed

    def teardown(self) -> None:
        """As before, once the store has answered everything; jobs that are too old are forgotten."""
        if hasattr(self, "cluster"):
            self.calm = True
            for job in list(self.cluster.state.jobs.values()):
                self.do(ev.TreeChecked(job.id, job.spec.key))
        super().teardown()
        if hasattr(self, "cluster"):
            for _ in range(40):
                self.now += 3.0
                for name in self.running:
                    self.do(ev.NodeBeat(NodeName(name), self.cluster.state.nodes[NodeName(name)].load))
                self.do(ev.Tick(self.now))
            assert not self.cluster.state.jobs


TestLimited = Limited.TestCase
TestLimited.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
