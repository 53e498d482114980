"""Random histories of jobs that share memory: tables are lost, parts ask to start over, and some learn of it late."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from discomputify_core.model import events as ev
from discomputify_core.model.commands import ClearMemory, Command, StartPart, TellMemory
from discomputify_core.model.ids import AttemptId, NodeName
from discomputify_core.model.job import End, JobState, Outcome, PartState
from discomputify_core.model.memory import AGAIN, Over, Scope

from .test_histories import DIGEST, Histories


class Sharing(Histories):
    """As before, with a memory that is lost now and then. Who learns of it, and when, is left to chance."""

    @initialize()
    def begin(self) -> None:
        self.table = 0
        #: Losses that the master does not know of yet.
        self.unknown: list[str] = []
        #: What each scope was told, by table is left out: a scope is told anew in every table.
        self.told: dict[Scope, dict[int, Over]] = {}
        #: What is not needed any more, and what of that is free.
        self.cleared: set[Scope] = set()
        self.freed: set[Scope] = set()
        #: Which table each attempt used.
        self.used: dict[AttemptId, str] = {}
        super().begin()
        self.join("b")
        self.submit(parts=9, cpus=1, memory=0, gpu=False, attempts=2, priority=0, per_node=0)

    def see(self, commands: Sequence[Command]) -> None:
        super().see(commands)
        for command in commands:
            if isinstance(command, StartPart):
                assert command.generation == self.cluster.job(command.spec.process_id).generation
            elif isinstance(command, TellMemory):
                assert command.scope == self.cluster.job(command.scope.process_id).scope
                assert command.scope not in self.cleared
                self.told.setdefault(command.scope, {}).update({over.part: over for over in command.over})
            elif isinstance(command, ClearMemory):
                assert command.scope not in self.freed
                self.cleared.add(command.scope)

    def some(self, data: st.DataObject) -> tuple[str, AttemptId]:
        name = data.draw(st.sampled_from([name for name, held in self.running.items() if held]))
        return name, data.draw(st.sampled_from(list(self.running[name])))

    @precondition(lambda self: any(self.running.values()))
    @rule(data=st.data(), known=st.booleans())
    def use(self, data: st.DataObject, known: bool) -> None:
        name, attempt = self.some(data)
        table = self.used.setdefault(attempt, f"t{self.table}")
        self.do(ev.MemoryUsed(NodeName(name), attempt, table if known else ""))

    @precondition(lambda self: any(self.running.values()))
    @rule(data=st.data())
    def ask_to_start_over(self, data: st.DataObject) -> None:
        name, attempt = self.some(data)
        self.used.setdefault(attempt, f"t{self.table}")
        self.do(ev.StartOverAsked(NodeName(name), attempt, "forgotten"))

    @precondition(lambda self: any(self.running.values()))
    @rule(data=st.data())
    def use_and_be_done(self, data: st.DataObject) -> None:
        name, attempt = self.some(data)
        table = self.used.setdefault(attempt, f"t{self.table}")
        self.do(ev.MemoryUsed(NodeName(name), attempt, table))
        if self.running[name].pop(attempt, None):
            self.do(ev.AttemptEnded(NodeName(name), Outcome(attempt, End.DONE, manifest=DIGEST)))

    @precondition(lambda self: self.cleared - self.freed)
    @rule()
    def free(self) -> None:
        self.freed = set(self.cleared)
        self.do(*(ev.MemoryCleared(scope) for scope in sorted(self.freed, key=str)))

    @rule(told=st.booleans())
    def lose(self, told: bool) -> None:
        self.unknown.append(f"t{self.table}")
        self.table += 1
        if told:
            self.do(ev.MemoryTableLost(self.unknown.pop(), "gone"))

    @precondition(lambda self: any(self.running.values()))
    @rule(data=st.data())
    def node_learns(self, data: st.DataObject) -> None:
        """A node ends what used a table that is gone."""
        name = data.draw(st.sampled_from([name for name, held in self.running.items() if held]))
        for attempt in list(self.running[name]):
            if self.used.get(attempt, f"t{self.table}") != f"t{self.table}" and attempt in self.running[name]:
                self.running[name].pop(attempt)
                lost = Outcome(attempt, End.LOST, reason="lost", memory_lost=True)
                self.do(ev.AttemptEnded(NodeName(name), lost))

    @precondition(lambda self: self.unknown)
    @rule()
    def master_learns(self) -> None:
        self.do(ev.MemoryTableLost(self.unknown.pop(), "gone"))

    @invariant()
    def shares(self) -> None:
        if not hasattr(self, "cluster"):
            return
        for job in self.cluster.state.jobs.values():
            tables = {each.memory for each in job.live.values() if each.memory and not each.ends_as}
            if job.memory.any_done():
                tables.add(job.memory.table)
            # A job that is being stopped does not start over; its nodes may be too far away to hear of it.
            assert job.stop_asked or len(tables - {""}) <= 1, "parts that count on each other are in different tables"
            assert all(each.losses <= job.spec.lost_attempts + 1 for each in job.parts.trouble.values())
            assert job.memory.used or not job.memory.told
            if job.memory.told and job.state is not JobState.STOPPED:
                told = self.told.get(job.scope, {})
                over = (PartState.DONE, PartState.FAILED)
                parts = [part for state in over for part in job.parts.having(state)]
                assert all(told[part].stands != AGAIN for part in parts), "a part is over and nobody was told"

    def teardown(self) -> None:
        """As before; a part may have been committed in several generations, of which one counts."""
        self.committed = {}
        super().teardown()


TestSharing = Sharing.TestCase
TestSharing.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
