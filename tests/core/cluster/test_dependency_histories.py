"""Random histories of jobs that follow each other: they fail, are stopped, cleared, and outputs are gathered late."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from discomputify_core.model import events as ev
from discomputify_core.model.commands import Command, GatherInputs, StartPart
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobSpec, JobState

from .test_histories import DIGEST, Histories

JOINED = "blake3:" + "ef" * 32


class Following(Histories):
    """As before, with jobs that wait for up to three others each."""

    @initialize()
    def begin(self) -> None:
        self.gathers: list[GatherInputs] = []
        self.calm = False
        #: How each job ended; jobs that were cleared, too.
        self.ends: dict[ProcessId, JobState] = {}
        self.specs: dict[ProcessId, JobSpec] = {}
        super().begin()

    def do(self, *events: ev.Event) -> None:
        super().do(*events)
        while self.calm and self.gathers:
            self.answer(self.gathers.pop())

    def see(self, commands: Sequence[Command]) -> None:
        super().see(commands)
        for job in self.cluster.state.jobs.values():
            if job.ended:
                assert self.ends.setdefault(job.id, job.state) is job.state, "a job ended twice"
        for command in commands:
            if isinstance(command, StartPart):
                self.may_start(command.spec)
            elif isinstance(command, GatherInputs):
                self.may_start(self.specs[command.spec.process_id], gathered=False)
                self.gathers.append(command)

    def may_start(self, spec: JobSpec, *, gathered: bool = True) -> None:
        assert all(self.ends.get(each) is JobState.DONE for each in (*spec.after, *spec.inputs_from))
        assert all(each in self.ends for each in spec.after_any)
        assert not spec.inputs_from or (spec.tree == JOINED) == gathered

    def answer(self, command: GatherInputs, fault: str = "", *, final: bool = True) -> None:
        tree = "" if fault else JOINED
        self.do(ev.InputsGathered(command.spec.process_id, command.spec.key, tree, fault=fault, final=final))

    @rule(data=st.data(), parts=st.integers(1, 4), checked=st.booleans())
    def submit_after(self, data: st.DataObject, parts: int, checked: bool) -> None:
        known = list(self.cluster.state.jobs)
        some = st.lists(st.sampled_from(known), max_size=2, unique=True) if known else st.just([])
        after, after_any, inputs_from = (tuple(data.draw(some)) for _ in range(3))
        self.jobs += 1
        name = ProcessId(f"job{self.jobs}")
        spec = JobSpec(name, "k", parts, DIGEST, attempts=2, after=after, after_any=after_any, inputs_from=inputs_from)
        assert self.cluster.check_submit(spec)
        self.specs[name] = spec
        self.do(ev.JobSubmitted(spec, self.now))
        if checked:
            self.do(ev.TreeChecked(name, "k"))

    @rule(data=st.data(), fault=st.sampled_from(["", "", "gone"]))
    def check_tree(self, data: st.DataObject, fault: str) -> None:
        unchecked = [job.id for job in self.cluster.state.jobs.values() if not job.checked]
        if unchecked:
            self.do(ev.TreeChecked(data.draw(st.sampled_from(unchecked)), "k", fault))

    @precondition(lambda self: self.gathers)
    @rule(data=st.data(), how=st.sampled_from(["", "", "away", "impossible"]))
    def gather(self, data: st.DataObject, how: str) -> None:
        command = data.draw(st.sampled_from(self.gathers))
        if how != "away":
            self.gathers.remove(command)
        self.answer(command, how, final=how != "away")

    @invariant()
    def in_order(self) -> None:
        if not hasattr(self, "cluster"):
            return
        for name, spec in self.specs.items():
            if name in self.cluster.state.jobs and name not in self.ends:
                needed = (*spec.after, *spec.inputs_from)
                assert all(each in self.cluster.state.jobs for each in (*needed, *spec.after_any))
                assert all(self.ends.get(each, JobState.DONE) is JobState.DONE for each in needed)

    def teardown(self) -> None:
        """As before, once the store has answered everything."""
        if hasattr(self, "cluster"):
            self.calm = True
            for job in list(self.cluster.state.jobs.values()):
                self.do(ev.TreeChecked(job.id, "k"))
        super().teardown()


TestFollowing = Following.TestCase
TestFollowing.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
