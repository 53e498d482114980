"""Jobs that follow other jobs, in the master's state machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from discomputify_core.cluster import dependencies, report, why
from discomputify_core.cluster.state import Job
from discomputify_core.errors import BadInput, NoSuchJob
from discomputify_core.model import events as ev
from discomputify_core.model.commands import CheckTree, GatherInputs, JobChanged
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import DEPENDANTS, End, JobSpec, JobState, JobStatus

from .test_machine import DIGEST, Driver, facts

JOINED = "blake3:" + "ef" * 32


class Jobs(Driver):
    """A driver for several jobs."""

    def add(self, name: str, parts: int = 1, after: Sequence[str] = (), **more: Any) -> list[object]:
        for option in ("after_any", "inputs_from"):
            more[option] = tuple(map(ProcessId, more.get(option, ())))
        return self.submit(parts, name, after=tuple(map(ProcessId, after)), attempts=1, **more)

    def of(self, name: str) -> Job:
        return self.cluster.job(ProcessId(name))

    def told(self, name: str) -> JobStatus:
        return report.job_status(self.cluster.state, self.of(name))

    def why(self, name: str) -> str:
        return why.why_job(self.cluster.state, self.of(name))

    def runs(self) -> list[str]:
        return [start.spec.process_id for start in self.starts]

    def all_end(self, end: End = End.DONE, **more: Any) -> list[object]:
        """End what runs; what is started by that is left to run."""
        starts, self.starts = self.starts, []
        return [command for start in starts for command in self.end(start, end, **more)]


def gathered(name: str = "b", **more: Any) -> ev.InputsGathered:
    told: dict[str, Any] = {"tree": JOINED, "tree_bytes": 7, "tree_files": 3, "part_bytes": 5, "wall": 300.0}
    return ev.InputsGathered(ProcessId(name), "k", **{**told, **more})


def test_a_job_starts_when_those_before_it_are_done() -> None:
    jobs = Jobs(facts(slots=8))
    jobs.add("a", 2)
    jobs.add("b")
    jobs.add("c", after=["a", "b"])
    assert jobs.runs() == ["a", "a", "b"]
    assert jobs.told("c").state is JobState.WAITING
    assert jobs.told("a").dependants == ("c",)
    for start in (*jobs.starts[1:], jobs.starts[0]):
        assert "c" not in jobs.runs()
        jobs.end(start)
    assert jobs.runs()[-1] == "c"
    jobs.finish()
    assert jobs.told("c").state is JobState.DONE
    assert (jobs.told("c").after, jobs.told("c").reason) == (("a", "b"), "")


def test_why_says_what_it_waits_for_and_how_far_that_is() -> None:
    jobs = Jobs(facts(slots=1))
    jobs.add("a", 8)
    for _ in range(3):
        jobs.end(jobs.starts.pop(0))
    jobs.add("b")
    jobs.add("c", after=["a", "b"])
    assert jobs.why("c") == "waits for 'a' (running, 3 of 8 parts done) and 'b'"
    assert why.why_part(jobs.cluster.state, jobs.of("c"), 1) == [f"part 1 waits: {jobs.why('c')}"]
    jobs.do(ev.JobSubmitted(JobSpec(ProcessId("d"), "k", 1, DIGEST, after=(ProcessId("b"),))))
    jobs.do(ev.TreeChecked(ProcessId("d"), "k", "waiting for the store: gone", final=False))
    assert jobs.why("d") == "waits for 'b'; waiting for the store: gone"
    many = [f"m{number}" for number in range(9)]
    for name in many:
        jobs.add(name, after=["a"])
    jobs.add("e", after=many)
    assert jobs.why("e") == "waits for 'm0', 'm1', 'm2', 'm3', 'm4' and 4 more jobs"


def test_it_does_not_start_before_the_store_has_confirmed_its_files() -> None:
    jobs = Jobs(facts())
    jobs.add("a")
    jobs.do(ev.JobSubmitted(JobSpec(ProcessId("b"), "k", 1, DIGEST, after=(ProcessId("a"),))))
    jobs.all_end()
    assert not jobs.starts
    assert "store" in jobs.why("b")
    jobs.do(ev.TreeChecked(ProcessId("b"), "k"))
    assert jobs.runs() == ["b"]


@pytest.mark.parametrize("how", ["failed", "stopped"])
def test_a_job_before_it_that_is_not_done_ends_it_with_that_reason(how: str) -> None:
    jobs = Jobs(facts())
    jobs.add("a")
    jobs.add("b", 3, after=["a"])
    jobs.add("c", after=["b"])
    if how == "failed":
        jobs.all_end(End.EXIT, code=1, reason="exit code 1")
        because = "'a' failed: part 1 failed after 1 attempt, the last on one: exit code 1"
    else:
        jobs.do(ev.JobStopAsked(ProcessId("a"), "ann@home", 250.0))
        jobs.all_end(End.STOPPED)
        because = "'a' was stopped by ann@home"
    told, quoted = jobs.told("b"), "'a' "
    assert (told.state, told.parts.failed) == (JobState.FAILED, 3)
    assert told.reason == f"the job 'a', which it was to follow, {because.removeprefix(quoted)}"
    assert told.ended_at is not None
    assert jobs.told("c").reason == f"the job 'b', which it was to follow, failed because {because}"
    assert not jobs.starts


def test_any_end_is_enough_for_after_any() -> None:
    jobs = Jobs(facts())
    jobs.add("a")
    jobs.add("b", after_any=["a"])
    jobs.add("c", after=["b"], after_any=["a"])
    jobs.all_end(End.EXIT, code=1)
    assert jobs.runs() == ["b"]
    jobs.finish()
    assert jobs.told("c").state is JobState.DONE


def test_what_is_named_twice_has_to_be_done() -> None:
    jobs = Jobs(facts())
    jobs.add("a")
    jobs.add("b", after=["a"], after_any=["a"])
    jobs.all_end(End.EXIT, code=1)
    assert jobs.told("b").state is JobState.FAILED


def test_a_job_before_it_that_has_ended_already_counts_at_once() -> None:
    jobs = Jobs(facts())
    jobs.add("good")
    jobs.add("bad")
    first, second = jobs.starts
    jobs.end(first)
    jobs.end(second, End.EXIT, code=1)
    jobs.starts.clear()
    jobs.add("b", after=["good"], after_any=["bad"])
    assert jobs.runs() == ["b"]
    commands = jobs.add("c", after=["good", "bad"])
    assert jobs.told("c").state is JobState.FAILED
    assert "'bad'" in jobs.told("c").reason
    assert not any(isinstance(command, CheckTree) for command in commands)


def test_a_waiting_job_can_be_stopped() -> None:
    jobs = Jobs(facts())
    jobs.add("a")
    jobs.add("b", after=["a"])
    jobs.add("c", after=["b"])
    jobs.do(ev.JobStopAsked(ProcessId("b"), "ann", 250.0))
    assert jobs.told("b").state is JobState.STOPPED
    assert jobs.told("c").reason == "the job 'b', which it was to follow, was stopped by ann"
    jobs.all_end()
    assert not jobs.starts


def test_outputs_of_other_jobs_are_gathered_before_it_starts() -> None:
    jobs = Jobs(facts(cache_limit=1000))
    jobs.add("a")
    assert not [each for each in jobs.add("b", inputs_from=["a"]) if isinstance(each, GatherInputs)]
    (gather,) = [each for each in jobs.all_end() if isinstance(each, GatherInputs)]
    assert gather.spec == jobs.of("b").spec
    assert jobs.why("b") == "the outputs of 'a' are being put among its inputs"
    assert not jobs.starts
    jobs.do(gathered(fault="waiting for the store: gone", final=False))
    assert jobs.why("b") == "waiting for the store: gone"
    jobs.do(gathered())
    (start,) = jobs.starts
    assert (start.spec.tree, start.spec.part_bytes, start.spec.tree_files) == (JOINED, 5, 3)
    assert jobs.told("b").tree == JOINED
    jobs.do(gathered(tree=DIGEST))
    assert jobs.told("b").tree == JOINED
    jobs.finish()
    assert jobs.told("b").state is JobState.DONE


def test_outputs_that_cannot_be_gathered_end_it() -> None:
    jobs = Jobs(facts())
    jobs.add("a")
    jobs.add("b", inputs_from=["a"])
    jobs.add("c", after=["b"])
    jobs.do(gathered(fault="too early"))
    assert not jobs.of("b").ended
    jobs.all_end()
    jobs.do(gathered(fault="the path is too long"))
    assert (jobs.told("b").state, jobs.told("b").reason) == (JobState.FAILED, "the path is too long")
    assert jobs.told("c").reason == "the job 'b', which it was to follow, failed: the path is too long"
    assert jobs.told("b").ended_at == 300.0


def test_answers_for_another_job_of_that_id_are_not_taken() -> None:
    jobs = Jobs(facts())
    jobs.add("a")
    jobs.add("b", inputs_from=["a"])
    jobs.all_end()
    jobs.do(ev.InputsGathered(ProcessId("b"), "other", JOINED), ev.InputsGathered(ProcessId("zzz"), "k", JOINED))
    assert not jobs.starts
    jobs.do(ev.JobStopAsked(ProcessId("b")), gathered())
    assert jobs.told("b").state is JobState.STOPPED


def test_unknown_jobs_are_refused_by_name_and_option() -> None:
    jobs = Jobs(facts())
    jobs.add("known")
    spec = JobSpec(ProcessId("n"), "k", 1, DIGEST)
    unknown = (ProcessId("x"),)
    with pytest.raises(NoSuchJob, match=r"^--after x: .* no job 'x' .*known"):
        jobs.cluster.check_submit(attrs.evolve(spec, after=unknown))
    with pytest.raises(NoSuchJob, match=r"^--after-any x: .* no job 'x' .*known"):
        jobs.cluster.check_submit(attrs.evolve(spec, after_any=unknown))
    both = attrs.evolve(spec, after=unknown, inputs_from=unknown)
    with pytest.raises(NoSuchJob, match=r"^--inputs-from x"):
        jobs.cluster.check_submit(both)
    # Gone between the question and the event: it ends at once instead of waiting for ever.
    jobs.do(ev.JobSubmitted(both))
    assert "not known" in jobs.told("n").reason
    assert jobs.cluster.check_submit(both) is False


def test_no_job_can_wait_for_itself() -> None:
    with pytest.raises(BadInput, match="'a' cannot wait for itself"):
        JobSpec(ProcessId("a"), "k", 1, DIGEST, after_any=(ProcessId("a"),))
    jobs = Jobs(facts())
    with pytest.raises(NoSuchJob):  # a cycle of two would begin with a job that is not there yet
        jobs.cluster.check_submit(JobSpec(ProcessId("a"), "k", 1, DIGEST, after=(ProcessId("b"),)))


def test_a_job_is_not_cleared_while_one_that_depends_on_it_goes_on() -> None:
    jobs = Jobs(facts())
    jobs.add("a")
    jobs.all_end()
    jobs.add("b", after=["a"])
    with pytest.raises(BadInput, match=r"'b' is running and depends on 'a'.*stop b"):
        jobs.cluster.check_clear(ProcessId("a"))
    jobs.do(ev.JobClearAsked(ProcessId("a")))
    assert jobs.of("a")
    jobs.finish()
    jobs.cluster.check_clear(ProcessId("a"))
    jobs.do(ev.JobClearAsked(ProcessId("a")))
    assert jobs.told("b").after == ("a",)
    jobs.add("a")
    assert jobs.told("a").dependants == ()
    jobs.do(ev.JobClearAsked(ProcessId("b")))
    jobs.finish()
    assert jobs.told("a").state is JobState.DONE


def test_a_cleared_dependant_is_forgotten_by_those_before_it() -> None:
    jobs = Jobs(facts())
    jobs.add("a")
    jobs.add("b", after=["a"])
    jobs.do(ev.JobStopAsked(ProcessId("b")))
    jobs.do(ev.JobClearAsked(ProcessId("b")))
    assert jobs.told("a").dependants == ()
    jobs.all_end()
    assert jobs.told("a").state is JobState.DONE


def test_chains_of_thousands_end_without_recursion_and_say_where_it_began() -> None:
    length = 5_000
    assert length > sys.getrecursionlimit()
    jobs = Jobs(facts())
    jobs.add("j0")
    specs = [
        JobSpec(ProcessId(f"j{number}"), "k", 1, DIGEST, after=(ProcessId(f"j{number - 1}"),))
        for number in range(1, length)
    ]
    jobs.cluster.handle(*map(ev.JobSubmitted, specs), *(ev.TreeChecked(s.process_id, "k") for s in specs), now=0.0)
    changed = [each for each in jobs.all_end(End.EXIT, reason="exit code 1") if isinstance(each, JobChanged)]
    assert len(changed) == length
    last = jobs.told(f"j{length - 1}")
    assert last.state is JobState.FAILED
    assert "'j0' failed: part 1 failed" in last.reason
    assert len(last.reason) < 300


def test_the_end_of_a_job_costs_as_much_as_it_has_dependants(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(facts())
    jobs.add("a")
    jobs.add("b", after=["a"])
    for number in range(200):
        jobs.add(f"other{number}", after=["b"])
    looked_at: list[str] = []
    start_perhaps = dependencies.start_perhaps

    def noted(turn: Any, job: Job) -> None:
        looked_at.append(job.id)
        start_perhaps(turn, job)

    monkeypatch.setattr(dependencies, "start_perhaps", noted)
    jobs.all_end()
    assert looked_at == ["b"]


def test_only_the_first_dependants_are_told() -> None:
    jobs = Jobs(facts())
    jobs.add("a")
    for number in range(30):
        jobs.add(f"d{number}", after=["a"])
    assert jobs.told("a").dependants == tuple(f"d{number}" for number in range(DEPENDANTS))


def test_priority_counts_among_jobs_that_become_ready_together() -> None:
    jobs = Jobs(facts(slots=1))
    jobs.add("a")
    jobs.add("low", after=["a"])
    jobs.add("high", after=["a"], priority=5)
    jobs.all_end()
    assert jobs.runs() == ["high"]
