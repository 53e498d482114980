"""The master's state machine: scenarios, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from discomputify_core.cluster import invariants, report, why
from discomputify_core.cluster.machine import Cluster, Settings
from discomputify_core.cluster.state import Job
from discomputify_core.errors import BadInput, JobExists, NameTaken, NoSuchJob
from discomputify_core.model import events as ev
from discomputify_core.model.commands import CheckTree, ClearStore, DropJob, StartPart, StopAttempt
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec, JobState, JobStatus, Outcome, PartState, Request
from discomputify_core.model.node import NodeFacts, NodeLoad
from discomputify_core.model.view import ClusterView, Decision, Placement, Ready
from discomputify_core.plugins.fifo import Fifo

DIGEST = "blake3:" + "ab" * 32
JOB = ProcessId("job")


def facts(name: str = "one", slots: int = 2, session: str = "s1", **more: Any) -> NodeFacts:
    return attrs.evolve(NodeFacts(NodeName(name), slots, memory=8 << 30, cache_limit=1 << 40, session=session), **more)


class Driver:
    """A cluster and a clock; keeps what it was told to start."""

    def __init__(self, *nodes: NodeFacts, settings: Settings | None = None) -> None:
        self.cluster = Cluster(Fifo(), settings)
        self.now = 0.0
        self.starts: list[StartPart] = []
        for node in nodes:
            self.do(ev.NodeJoined(node, f"{node.name}:1"))

    def do(self, *events: ev.Event) -> list[object]:
        commands = self.cluster.handle(*events, now=self.now)
        self.starts += [command for command in commands if isinstance(command, StartPart)]
        invariants.check(self.cluster.state)
        return list(commands)

    def submit(self, parts: int = 4, process_id: str = "job", **more: Any) -> list[object]:
        spec = JobSpec(process_id=ProcessId(process_id), key="k", parts=parts, tree=DIGEST, **more)
        return [*self.do(ev.JobSubmitted(spec, 100.0)), *self.do(ev.TreeChecked(spec.process_id, "k"))]

    def end(self, start: StartPart, end: End = End.DONE, **more: Any) -> list[object]:
        outcome = Outcome(start.attempt, end, manifest=DIGEST if end is End.DONE else "", **more)
        return self.do(ev.AttemptStarted(start.node, start.attempt), ev.AttemptEnded(start.node, outcome, 200.0))

    def state(self) -> JobState:
        return self.job.state

    def finish(self) -> None:
        """End everything that is started, well, until nothing is."""
        while self.starts:
            self.end(self.starts.pop(0))

    @property
    def job(self) -> Job:
        return self.cluster.job(JOB)

    @property
    def status(self) -> JobStatus:
        return report.job_status(self.cluster.state, self.job)


def test_a_job_runs_in_slots_and_is_done() -> None:
    driver = Driver(facts())
    driver.submit(5)
    assert [start.part for start in driver.starts] == [1, 2]
    driver.finish()
    assert driver.state() is JobState.DONE
    assert driver.status.parts.done == 5
    assert report.outputs(driver.job, 0, 10).ended
    assert driver.status.nodes == {"one": 5}
    assert driver.status.ended_at == 200.0


def test_parts_wait_until_the_store_confirms_the_program() -> None:
    driver = Driver(facts())
    spec = JobSpec(process_id=JOB, key="k", parts=1, tree=DIGEST)
    commands = driver.do(ev.JobSubmitted(spec))
    assert any(isinstance(command, CheckTree) for command in commands)
    assert not driver.starts
    assert "store" in why.why_job(driver.cluster.state, driver.job)
    driver.do(ev.TreeChecked(JOB, "k", "the store is silent", final=False))
    assert driver.state() is JobState.WAITING
    driver.do(ev.TreeChecked(JOB, "k", "the store does not hold it"))
    assert driver.state() is JobState.FAILED
    assert "does not hold it" in driver.status.reason


def test_a_failing_part_is_tried_on_another_node_and_then_gives_up() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    driver.submit(1)
    first = driver.starts.pop()
    driver.end(first, End.EXIT, code=3, reason="exit code 3")
    second = driver.starts.pop()
    assert {first.node, second.node} == {"one", "two"}
    assert second.number == 2
    driver.end(second, End.EXIT, code=3, reason="exit code 3")
    third = driver.starts.pop()
    driver.end(third, End.EXIT, code=3, reason="exit code 3")
    assert driver.state() is JobState.FAILED
    assert driver.status.reason == "part 1 failed after 3 attempts, the last on one: exit code 3"


def test_a_failed_part_waits_for_a_busy_node_rather_than_its_own() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    driver.submit(2)
    one, two = driver.starts
    driver.starts.clear()
    driver.end(one, End.EXIT, code=1)
    assert not driver.starts
    driver.end(two)
    assert [(start.part, start.node) for start in driver.starts] == [(one.part, two.node)]


def test_a_part_without_attempts_left_does_not_stop_its_siblings() -> None:
    driver = Driver(facts())
    driver.submit(4, attempts=1)
    while driver.starts:
        start = driver.starts.pop(0)
        driver.end(start, End.EXIT if start.part == 2 else End.DONE, code=1, reason="exit code 1")
    assert driver.status.parts.done == 3
    assert driver.state() is JobState.FAILED
    assert [output.part for output in report.failed(driver.job, 0, 10).outputs] == [2]


def test_a_broken_node_gets_no_more_of_a_job_that_others_manage() -> None:
    driver = Driver(facts("bad", 1), facts("good", 1))
    driver.submit(12)
    ran: dict[str, int] = {"bad": 0, "good": 0}
    while driver.starts:
        start = driver.starts.pop(0)
        ran[start.node] += 1
        if start.node == "bad":
            driver.end(start, End.EXIT, code=1, reason="No module named 'x'")
        else:
            driver.end(start)
    assert driver.state() is JobState.DONE
    assert ran["bad"] == 3
    assert "bad" in driver.job.refused
    shown = next(node for node in report.node_statuses(driver.cluster.state) if node.name == "bad")
    assert "failed there" in shown.reason


def test_a_lost_node_costs_the_lost_budget_only() -> None:
    driver = Driver(facts("one", 1), facts("two", 1))
    driver.submit(2)
    one = next(start for start in driver.starts if start.node == "one")
    two = next(start for start in driver.starts if start.node == "two")
    driver.starts.clear()
    driver.do(ev.NodeCut(NodeName("one"), "s1", "reset"))
    assert driver.job.parts.state(one.part) is PartState.PLACED
    driver.now = 2.5
    driver.do(ev.Tick())
    assert driver.job.parts.state(one.part) is PartState.READY
    driver.end(one)  # late
    assert driver.cluster.state.late == 2
    assert driver.status.parts.done == 0
    driver.end(two)
    again = driver.starts.pop()
    assert (again.part, again.number, again.node) == (one.part, 2, "two")
    driver.end(again)
    assert driver.state() is JobState.DONE


def test_a_silent_node_is_fenced_but_not_for_the_masters_own_stall() -> None:
    driver = Driver(facts("one", 1))
    for driver.now in (1.0, 2.0, 3.0):
        driver.do(ev.Tick())
    driver.now = 60.0
    driver.do(ev.Tick())
    assert driver.cluster.state.nodes[NodeName("one")].live
    while driver.now < 85:
        driver.now += 1.0
        driver.do(ev.Tick())
    assert driver.cluster.state.nodes[NodeName("one")].state == "lost"


def test_a_node_that_gives_parts_back_gets_no_more_until_it_starts_again() -> None:
    driver = Driver(facts(slots=1))
    driver.submit(1)
    driver.end(driver.starts.pop(), End.RETURNED)
    assert not driver.starts
    assert driver.status.parts.ready == 1
    assert "no computing node" in driver.status.reason
    driver.do(ev.NodeLeft(NodeName("one"), "s1"))
    driver.do(ev.NodeJoined(facts(slots=1, session="s2"), "one:2"))
    (again,) = driver.starts
    assert again.number == 2
    driver.finish()
    assert driver.state() is JobState.DONE
    assert not driver.status.failures


def test_a_node_that_comes_back_keeps_what_runs_and_returns_what_never_arrived() -> None:
    driver = Driver(facts("one", 2))
    driver.submit(2)
    first, second = driver.starts
    driver.starts.clear()
    driver.do(ev.NodeCut(NodeName("one"), "s1"))
    driver.do(ev.NodeJoined(facts("one", 2), "one:2", (first.attempt,)))
    assert [(start.part, start.number) for start in driver.starts] == [(second.part, 2)]
    driver.end(first)
    driver.finish()
    assert driver.state() is JobState.DONE
    assert not driver.status.failures


def test_a_planned_stop_costs_nothing() -> None:
    driver = Driver(facts("one", 1))
    driver.submit(1, attempts=1, lost_attempts=0)
    driver.starts.clear()
    driver.do(ev.NodeLeft(NodeName("one"), "s1"))
    assert driver.status.parts.ready == 1
    driver.do(ev.NodeJoined(facts("two", 1), "two:1"))
    driver.finish()
    assert driver.state() is JobState.DONE


def test_a_restarted_node_replaces_its_dead_predecessor_and_a_second_one_is_refused() -> None:
    driver = Driver(facts("one"))
    with pytest.raises(NameTaken, match=r"one:1.*other:9"):
        driver.cluster.check_join(facts(session="s2"), "other:9", driver.now)
    driver.submit(2)
    driver.starts.clear()
    driver.do(ev.NodeCut(NodeName("one"), "s1"))
    driver.cluster.check_join(facts(session="s2"), "other:9", driver.now)
    driver.do(ev.NodeJoined(facts(session="s2"), "other:9"))
    assert [start.number for start in driver.starts] == [2, 2]


def test_stop_ends_what_runs_and_what_waits() -> None:
    driver = Driver(facts("one", 2))
    driver.submit(5)
    first, second = driver.starts
    commands = driver.do(ev.JobStopAsked(JOB, "ada@host"))
    assert {c.attempt for c in commands if isinstance(c, StopAttempt)} == {first.attempt, second.attempt}
    assert driver.state() is JobState.RUNNING
    driver.end(first, End.STOPPED)
    commands = driver.end(second)
    assert driver.state() is JobState.STOPPED
    assert driver.status.parts.stopped == 4
    assert driver.status.parts.done == 1
    assert driver.status.reason == "stopped by ada@host"
    assert any(isinstance(command, DropJob) for command in commands)


def test_clear_forgets_an_ended_job_only() -> None:
    driver = Driver(facts())
    driver.submit(1)
    with pytest.raises(BadInput, match="stop it first"):
        driver.cluster.check_clear(JOB)
    driver.finish()
    driver.cluster.check_clear(JOB)
    assert ClearStore(JOB) in driver.do(ev.JobClearAsked(JOB))
    with pytest.raises(NoSuchJob):
        driver.cluster.job(JOB)


def test_a_process_id_in_use_is_refused_but_a_repeated_submit_is_not() -> None:
    driver = Driver(facts())
    driver.submit(1, owner="ada@host")
    assert not driver.cluster.check_submit(driver.job.spec)
    with pytest.raises(JobExists, match=r"ada@host.*clear job"):
        driver.cluster.check_submit(attrs.evolve(driver.job.spec, key="other"))


def test_what_does_not_fit_is_not_placed_and_why_says_so() -> None:
    driver = Driver(facts("one", 8))
    driver.submit(8, request=Request(memory=4 << 30))
    assert len(driver.starts) == 2
    assert "4.0 GiB of free memory" in why.why_job(driver.cluster.state, driver.job)
    driver.submit(1, "gpu", request=Request(needs={"gpu": 1}))
    text = why.why_job(driver.cluster.state, driver.cluster.job(ProcessId("gpu")))
    assert "no node could ever run one" in text
    assert "1 gpu, one has none" in text


def test_inputs_that_do_not_fit_a_cache_are_told_with_both_sizes() -> None:
    driver = Driver(facts(cache_limit=1_000_000))
    driver.submit(1, part_bytes=5_000_000)
    assert not driver.starts
    text = why.why_job(driver.cluster.state, driver.job)
    assert "5.0 MB" in text
    assert "1.0 MB" in text


def test_priority_and_order_of_submission_decide_who_starts() -> None:
    driver = Driver(facts("one", 1))
    driver.submit(1, "first")
    driver.submit(1, "second")
    driver.submit(1, "urgent", priority=5)
    order = []
    while driver.starts:
        start = driver.starts.pop(0)
        order.append(start.spec.process_id)
        driver.end(start)
    assert order == ["first", "urgent", "second"]


def test_a_job_may_limit_its_parts_on_a_node() -> None:
    driver = Driver(facts("one", 4), facts("two", 4))
    driver.submit(5, per_node=1)
    driver.submit(1, "other")
    assert [(start.spec.process_id, start.node) for start in driver.starts] == [
        ("job", "one"),
        ("job", "two"),
        ("other", "one"),
    ]
    assert why.why_job(driver.cluster.state, driver.job) == (
        "3 parts are ready; waiting for a node that runs no other part of it: at most 1 at once on one, two"
    )
    driver.end(driver.starts.pop(1))
    assert driver.starts[-1].node == "two"
    driver.finish()
    assert driver.status.nodes.keys() == {"one", "two"}
    assert not any(isinstance(command, ClearStore) for command in driver.do(ev.JobClearAsked(JOB, keep_files=True)))
    driver.submit(1)
    driver.finish()
    assert driver.state() is JobState.DONE


def test_nodes_that_no_waiting_job_may_use_more_of_cost_the_policy_nothing() -> None:
    views: list[list[str]] = []

    class Watched(Fifo):
        def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
            views.append([node.name for node in view.nodes])
            return super().place(ready, view)

    driver = Driver()
    driver.cluster = Cluster(Watched())
    driver.do(ev.NodeJoined(facts("one", 9), "one:1"), ev.NodeJoined(facts("two", 9), "two:1"))
    driver.submit(3, per_node=1)
    driver.end(driver.starts.pop(0))
    assert views == [["one", "two"], ["one"]]
    driver.submit(4, "wider", per_node=3)
    driver.submit(9, "any")
    assert views[2:] == [["one", "two"], ["one", "two"]]
    driver.finish()
    assert len(driver.cluster.job(ProcessId("any")).outputs) == 9


def test_a_policy_cannot_put_more_parts_on_a_node_than_a_job_wants() -> None:
    class All(Fifo):
        def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
            return Decision(tuple(Placement(each.key, view.nodes[0].name, each.count) for each in ready))

    driver = Driver(facts("one", 4), facts("two", 4))
    driver.cluster = Cluster(All())
    driver.do(ev.NodeJoined(facts("one", 4), "one:1"))
    driver.submit(3, per_node=2)
    assert not driver.starts
    assert "no room for them" in driver.cluster.faults[0]


def test_a_policy_that_lies_is_refused_and_named() -> None:
    class Liar(Fifo):
        name = "liar"

        def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
            decision = super().place(ready, view)
            return attrs.evolve(decision, placements=tuple(attrs.evolve(p, count=99) for p in decision.placements))

    driver = Driver(facts())
    driver.cluster.policy = Liar()
    driver.submit(2)
    assert not driver.starts
    assert "liar" in driver.cluster.faults[0]
    assert driver.status.parts.ready == 2


def test_nodes_that_are_expected_and_missing_are_shown() -> None:
    driver = Driver(facts("one"), settings=Settings(expected=("one", "10.0.0.9")))
    shown = {node.name: node.state for node in report.node_statuses(driver.cluster.state)}
    assert shown == {"one": "live", "10.0.0.9": "missing"}


def test_nodes_stand_in_the_order_of_the_conf() -> None:
    expected = ("10.0.0.1", "b", "a")
    driver = Driver(settings=Settings(expected=expected))
    for name, address in (("z", "10.0.0.9:1"), ("a", "10.0.0.1:2"), ("b", "10.0.0.1:3"), ("c", "10.0.0.1:4")):
        driver.do(ev.NodeJoined(facts(name), address))
    assert [node.name for node in driver.cluster.state.open_nodes()] == ["c", "b", "a", "z"]


def test_differences_between_nodes_are_warned_of() -> None:
    driver = Driver(
        facts("one", 1, python="3.11.7", packages={"numpy": "1.26"}),
        facts("two", 1, python="3.12.1", packages={}),
    )
    driver.submit(2, requirements=("numpy",))
    driver.finish()
    text = " ".join(driver.status.warnings)
    assert "3.11.7 on one" in text
    assert "not installed on two" in text


def test_load_and_progress_are_shown() -> None:
    driver = Driver(facts("one", 2))
    driver.submit(2)
    first, second = driver.starts
    driver.do(ev.AttemptStarted(NodeName("one"), first.attempt), ev.AttemptStarted(NodeName("one"), second.attempt))
    driver.do(ev.AttemptProgressed(NodeName("one"), first.attempt, 0.5, "half"))
    driver.do(ev.NodeBeat(NodeName("one"), NodeLoad(12.0, 34.0, 5.6)))
    assert driver.status.progress == 0.25
    assert driver.status.note == "half"
    assert report.node_statuses(driver.cluster.state)[0].load.CPU_LOAD == 12.0


def test_what_a_part_waits_for_after_its_program_has_ended_is_said_until_it_is_over() -> None:
    driver = Driver(facts("one", 2))
    driver.submit(2)
    sentence = "its program has ended; its outputs wait for the store at store:1"
    for start in driver.starts:
        driver.do(ev.AttemptStarted(NodeName("one"), start.attempt))
    for start in driver.starts:
        driver.do(ev.AttemptProgressed(NodeName("one"), start.attempt, 0.5, waiting=sentence))

    state = driver.cluster.state
    assert why.why_part(state, driver.job, 1)[0] == f"part 1 ran on one, attempt 1: {sentence}"
    assert driver.status.reason == f"part 1: {sentence} (and 1 part is waiting like it)"
    assert driver.status.progress == 0.5
    driver.do(ev.AttemptProgressed(NodeName("one"), driver.starts[0].attempt, 0.5))
    assert why.why_part(state, driver.job, 1)[0] == "part 1 runs on one, attempt 1"
    driver.end(driver.starts[1])
    assert driver.status.reason == ""


def test_what_could_not_be_collected_is_warned_of_once() -> None:
    driver = Driver(facts("one", 2))
    driver.submit(2)
    for start in list(driver.starts):
        driver.end(start, unkept=("pipe is a named pipe, which cannot be part of a tree.",))
    (warning,) = driver.status.warnings
    assert warning == "some files cannot be collected: pipe is a named pipe, which cannot be part of a tree."
