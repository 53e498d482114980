"""Jobs that are submitted again: what is done stays, the rest runs with the program as it is now."""

from __future__ import annotations

from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.cluster import report, saving
from discomputify_core.cluster.lifecycle import Cause
from discomputify_core.cluster.parts import NOWHERE, Outputs, Parts
from discomputify_core.errors import BadInput, NoSuchJob
from discomputify_core.model import events as ev
from discomputify_core.model.commands import CheckTree, ClearMemory, ClearStore, DropJob
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec, JobState, PartState, Request

from .test_machine import DIGEST, JOB, Driver, facts

NEW_TREE = "blake3:" + "cd" * 32


def again(driver: Driver, key: str = "k2", process_id: ProcessId = JOB, **changes: Any) -> list[object]:
    """Submit the job again, as a client would."""
    spec = attrs.evolve(driver.cluster.job(process_id).spec, key=key, tree=NEW_TREE, **changes)
    assert driver.cluster.check_resubmit(spec)
    commands = driver.do(ev.JobResubmitted(spec, 300.0))
    assert CheckTree(process_id, key, NEW_TREE) in commands
    return [*commands, *driver.do(ev.TreeChecked(process_id, key))]


def one_of_three_done(**more: Any) -> Driver:
    """A job with part 1 done, part 2 failed and part 3 stopped."""
    driver = Driver(facts(slots=1))
    driver.submit(3, attempts=1, **more)
    driver.end(driver.starts.pop(0), output_bytes=100)
    driver.end(driver.starts.pop(0), End.EXIT, reason="exit code 1")
    driver.do(ev.JobStopAsked(JOB, "anna", 250.0))
    driver.end(driver.starts.pop(0), End.STOPPED)
    assert driver.state() is JobState.STOPPED
    return driver


def outputs_of(driver: Driver) -> dict[int, str]:
    return {each.part: each.attempt for each in report.outputs(driver.job, 0, 100).outputs}


def test_only_what_is_not_done_runs_again() -> None:
    driver = one_of_three_done()
    again(driver)
    assert driver.state() is JobState.RUNNING
    assert driver.status.ended_at is None
    assert driver.status.reason != "stopped by anna"
    for number, part in enumerate((2, 3)):
        start = driver.starts[number]
        assert (start.part, start.number, start.spec.tree) == (part, 2, NEW_TREE)
        assert start.attempt == f"job.{part}.2.k2"
        driver.end(start, output_bytes=50)
    assert driver.state() is JobState.DONE
    assert driver.status.trees == ((DIGEST, 1), (NEW_TREE, 2))
    assert driver.status.output_bytes == 200
    assert outputs_of(driver) == {1: "job.1.1.k", 2: "job.2.2.k2", 3: "job.3.2.k2"}
    assert [each.attempt for each in report.attempts(driver.job, 1)] == ["job.1.1.k"]
    assert [each.attempt for each in report.attempts(driver.job, 2)] == ["job.2.1.k", "job.2.2.k2"]


def test_clients_that_page_through_outputs_go_on_where_they_were() -> None:
    driver = one_of_three_done()
    seen = report.outputs(driver.job, 0, 100)
    assert seen.ended
    again(driver)
    driver.end(driver.starts.pop(0))
    more = report.outputs(driver.job, seen.next, 100)
    assert [each.part for each in more.outputs] == [2]
    assert not more.ended


def test_budgets_are_fresh_and_nodes_are_not_avoided() -> None:
    driver = Driver(facts("a", slots=1), facts("b", slots=1))
    driver.submit(1, attempts=2)
    driver.end(driver.starts.pop(0), End.EXIT)
    driver.end(driver.starts.pop(0), End.EXIT)
    assert driver.state() is JobState.FAILED
    again(driver, attempts=3)
    for number, node in ((3, "a"), (4, "b"), (5, "a")):
        start = driver.starts.pop(0)
        assert (start.number, start.node) == (number, node)
        driver.end(start, End.EXIT)
    assert driver.state() is JobState.FAILED


def test_a_job_may_be_submitted_again_and_again() -> None:
    driver = one_of_three_done()
    again(driver)
    driver.end(driver.starts.pop(0), End.EXIT)
    driver.end(driver.starts.pop(0), End.EXIT)
    again(driver, "k3")
    driver.finish()
    assert driver.state() is JobState.DONE
    assert driver.status.trees == ((DIGEST, 1), (NEW_TREE, 2))
    assert outputs_of(driver) == {1: "job.1.1.k", 2: "job.2.3.k3", 3: "job.3.3.k3"}


def test_the_first_program_that_never_came_is_made_up_for() -> None:
    driver = Driver(facts())
    spec = JobSpec(JOB, "k", 3, DIGEST)
    driver.do(ev.JobSubmitted(spec), ev.TreeChecked(JOB, "k", "the store does not hold it"))
    assert driver.state() is JobState.FAILED
    again(driver)
    driver.do(ev.TreeChecked(JOB, "k", "an answer that comes late"))
    driver.finish()
    assert driver.state() is JobState.DONE
    assert driver.status.trees == ((DIGEST, 0), (NEW_TREE, 3))


def test_it_may_ask_for_other_things_than_before() -> None:
    driver = one_of_three_done()
    again(driver, request=Request(cpus=2), priority=3, args=("--faster",), require=("numpy",))
    assert not driver.starts
    assert "no node has numpy" in driver.status.reason
    driver.do(ev.NodeJoined(facts("two", slots=2, packages={"numpy": "2"})))
    driver.finish()
    assert driver.state() is JobState.DONE


def test_its_deadline_and_its_age_count_from_then_on() -> None:
    driver = one_of_three_done(deadline=50.0)
    driver.now = 200.0
    again(driver)
    driver.do(ev.Tick())
    assert not driver.job.stop_asked
    driver.now = 250.0
    driver.do(ev.Tick())
    assert driver.job.limit_passed


def test_warnings_know_the_packages_that_the_program_names_now() -> None:
    driver = Driver(facts("a", packages={"numpy": "2"}), facts("b", packages={"numpy": "1"}))
    driver.submit(4, attempts=1)
    while driver.starts:
        start = driver.starts.pop(0)
        driver.end(start, End.EXIT if start.part == 4 else End.DONE)
    again(driver, requirements=("numpy", "scipy"))
    driver.finish()
    assert any("numpy" in each and "1 on b" in each for each in driver.status.warnings)


def test_a_node_that_comes_back_late_with_an_old_attempt_is_told_to_stop_it() -> None:
    driver = Driver(facts("a", slots=1), facts("b", slots=1))
    driver.submit(2, attempts=1, lost_attempts=0)
    old = driver.starts[0]
    driver.do(ev.NodeFenced(old.node, "s1", "silent for 20 s"))
    driver.end(driver.starts[1], End.EXIT)
    assert driver.state() is JobState.FAILED
    again(driver)
    assert driver.cluster.unknown_attempts([old.attempt]) == (old.attempt,)
    driver.do(ev.NodeJoined(facts(old.node, slots=1), "", (old.attempt,)))
    driver.end(old)
    assert driver.status.parts.done == 0
    assert driver.cluster.state.late


def test_nodes_are_told_when_it_ends_another_time() -> None:
    driver = one_of_three_done()
    again(driver)
    driver.end(driver.starts.pop(0))
    assert DropJob(NodeName("one"), JOB) in driver.end(driver.starts.pop(0))


def test_it_can_be_cleared_like_any_other() -> None:
    driver = one_of_three_done()
    again(driver)
    with pytest.raises(BadInput, match="stop it first"):
        driver.cluster.check_clear(JOB)
    driver.finish()
    assert ClearStore(JOB) in driver.do(ev.JobClearAsked(JOB))
    assert not driver.cluster.state.jobs


# --- shared memory ----------------------------------------------------------------------------------


def test_parts_that_shared_memory_run_again_all_of_them() -> None:
    driver = Driver(facts(slots=1))
    driver.submit(3, attempts=1)
    driver.end(driver.starts.pop(0))
    start = driver.starts.pop(0)
    driver.do(ev.MemoryUsed(start.node, start.attempt, "t"))
    driver.end(start)
    scope = driver.job.scope
    driver.end(driver.starts.pop(0), End.EXIT)
    commands = again(driver)
    assert ClearMemory(scope) in commands
    assert driver.job.scope != scope
    assert [start.part for start in driver.starts] == [2]
    driver.finish()
    assert driver.state() is JobState.DONE
    assert outputs_of(driver) == {1: "job.1.1.k", 2: "job.2.2.k2", 3: "job.3.2.k2"}
    assert any("submitted again" in each for each in driver.status.warnings)


# --- jobs that follow each other --------------------------------------------------------------------


def test_those_that_failed_because_of_it_stay_failed_and_can_be_submitted_again() -> None:
    following = ProcessId("next")
    driver = Driver(facts(slots=1))
    driver.submit(1, attempts=1)
    driver.submit(1, following, after=(JOB,))
    driver.end(driver.starts.pop(0), End.EXIT)
    after = driver.cluster.job(following)
    assert after.state is JobState.FAILED
    with pytest.raises(BadInput, match="discomputify resubmit job"):
        driver.cluster.check_resubmit(attrs.evolve(after.spec, key="k2"))
    again(driver)
    assert after.state is JobState.FAILED
    again(driver, process_id=following)
    assert after.pending
    assert len(driver.starts) == 1
    driver.finish()
    assert (driver.state(), after.state) == (JobState.DONE, JobState.DONE)


def test_what_it_followed_may_be_forgotten_unless_it_takes_inputs_from_it() -> None:
    following, taking = ProcessId("next"), ProcessId("taking")
    driver = Driver(facts(slots=1))
    driver.submit(1)
    driver.finish()
    driver.submit(1, following, after=(JOB,), attempts=1)
    driver.end(driver.starts.pop(0), End.EXIT)
    driver.submit(1, taking, inputs_from=(JOB,), attempts=1)
    driver.do(ev.InputsGathered(taking, "k", NEW_TREE))
    driver.end(driver.starts.pop(0), End.EXIT)
    driver.do(ev.JobClearAsked(JOB))
    again(driver, process_id=following)
    driver.finish()
    assert driver.cluster.job(following).state is JobState.DONE
    with pytest.raises(BadInput, match="not known any more"):
        driver.cluster.check_resubmit(attrs.evolve(driver.cluster.job(taking).spec, key="k2"))


def test_inputs_are_gathered_again() -> None:
    taking = ProcessId("taking")
    driver = Driver(facts(slots=1))
    driver.submit(1)
    driver.finish()
    driver.submit(1, taking, inputs_from=(JOB,), attempts=1)
    driver.do(ev.InputsGathered(taking, "k", "blake3:" + "01" * 32))
    driver.end(driver.starts.pop(0), End.EXIT)
    again(driver, process_id=taking)
    assert not driver.starts
    joined = "blake3:" + "02" * 32
    driver.do(ev.InputsGathered(taking, "k2", joined))
    assert driver.starts[0].spec.tree == joined
    driver.finish()
    assert report.job_status(driver.cluster.state, driver.cluster.job(taking)).trees[-1] == (joined, 1)


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parts": 4}, "has 3 parts and cannot go on with 4"),
        ({"after": (ProcessId("other"),)}, "cannot follow other jobs"),
        ({"after_any": (ProcessId("other"),)}, "cannot follow other jobs"),
        ({"require": ("numpy>>2",)}, "no requirement"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    driver = one_of_three_done()
    with pytest.raises(BadInput, match=said):
        driver.cluster.check_resubmit(attrs.evolve(driver.job.spec, key="k2", **changes))


def test_only_jobs_that_have_ended_badly_are_submitted_again() -> None:
    driver = Driver(facts())
    spec = JobSpec(JOB, "k2", 2, NEW_TREE)
    with pytest.raises(NoSuchJob):
        driver.cluster.check_resubmit(spec)
    driver.submit(2)
    with pytest.raises(BadInput, match="stop it first"):
        driver.cluster.check_resubmit(spec)
    driver.do(ev.JobResubmitted(spec))
    assert driver.job.spec.key == "k"
    driver.finish()
    with pytest.raises(BadInput, match="nothing to do"):
        driver.cluster.check_resubmit(spec)
    driver.do(ev.JobResubmitted(spec))
    assert driver.state() is JobState.DONE


def test_being_asked_twice_changes_nothing() -> None:
    driver = one_of_three_done()
    again(driver)
    spec = driver.job.spec
    assert not driver.cluster.check_resubmit(spec)
    driver.finish()
    assert not driver.cluster.check_resubmit(spec)
    assert not driver.cluster.check_submit(spec)
    before = saving.save(driver.cluster.state)
    driver.do(ev.JobResubmitted(spec))
    assert saving.save(driver.cluster.state) == before


# --- parts and outputs as values --------------------------------------------------------------------


@given(st.lists(st.sampled_from(["done", "failed", "stopped"]), min_size=1, max_size=40), st.integers(1, 7))
def test_reopened_parts_are_ready_once_each_and_in_order(ends: list[str], step: int) -> None:
    parts = Parts(len(ends))
    parts.move_all(PartState.WAITING, Cause.ADMITTED)
    causes = {"done": Cause.COMMITTED, "failed": Cause.GAVE_UP, "stopped": Cause.STOPPED}
    for part in parts.take(NOWHERE, len(ends)):
        parts.move(part, Cause.PLACED)
        parts.move(part, causes[ends[part - 1]])
    parts.reopen()
    parts.move_all(PartState.WAITING, Cause.ADMITTED)
    taken: list[int] = []
    while parts.count(PartState.READY):
        ((group, count),) = parts.ready_groups()
        assert (group, count) == (NOWHERE, parts.count(PartState.READY))
        parts = Parts.load(msgpack.unpackb(msgpack.packb(parts.save())))
        for part in parts.take(NOWHERE, step):
            parts.move(part, Cause.PLACED)
            taken.append(part)
    assert taken == [part for part, end in enumerate(ends, 1) if end != "done"]


@given(st.lists(st.tuples(st.integers(-5, 2**40), st.booleans()), max_size=30), st.sets(st.integers(1, 30)))
def test_outputs_know_their_origin_and_their_size(rows: list[tuple[int, bool]], back: set[int]) -> None:
    outputs, origins = Outputs(), []
    for part, (size, begins) in enumerate(rows, 1):
        if begins:
            outputs.begin_origin()
        origins.append(len(outputs.by_origin) - 1)
        outputs.add(part, 1, NodeName("a"), DIGEST, size)
    outputs.take_back(back)
    outputs = Outputs.load(msgpack.unpackb(msgpack.packb(outputs.save())))
    left = [(at, row[0]) for at, row in outputs.positions()]
    assert left == [(part - 1, part) for part in range(1, len(rows) + 1) if part not in back]
    assert [outputs.origin(at) for at, _ in left] == [origins[at] for at, _ in left]
    assert outputs.bytes == sum(max(rows[at][0], 0) for at, _ in left)
    assert [sum(origins[at] == each for at, _ in left) for each in range(len(outputs.by_origin))] == outputs.by_origin
