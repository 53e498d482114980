"""What is on its way to a node: in order, and in messages that can travel."""

from typing import Any, Union

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from discomputify_core.edge.weights import MOST_OF_A_JOB, check_job
from discomputify_core.model.codec import to_plain
from discomputify_core.model.commands import DropJob, StartPart, StopAttempt
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId, attempt_id
from discomputify_core.model.job import JobSpec
from discomputify_core.model.message import Work
from discomputify_core.roles.master.desk import NodeDesk, work_for

MIB = 1024 * 1024
NODE = NodeName("n1")
Order = Union[StartPart, StopAttempt, DropJob]


def spec(name: str, key: str = "key", size: int = 0) -> JobSpec:
    return JobSpec(ProcessId(name), key, 10_000_000, "blake3:" + "0" * 64, args=("x" * size,))


def start(job: JobSpec, part: int) -> StartPart:
    return StartPart(NODE, attempt_id(job.process_id, part, 1, job.key), part, 1, job)


def desk() -> NodeDesk:
    peer: Any = None  # nothing is sent here
    return NodeDesk(peer, "session")


def small_enough(works: list[Work]) -> bool:
    return all(len(msgpack.packb(to_plain(work))) < MIB for work in works)


def test_a_job_travels_with_its_first_part_only() -> None:
    at, job = desk(), spec("job")
    first = list(work_for(at, [start(job, 1), start(job, 2)]))
    second = list(work_for(at, [start(job, 3)]))
    assert [len(work.jobs) for work in (*first, *second)] == [1, 0]
    assert [each.part for work in (*first, *second) for each in work.start] == [1, 2, 3]


def test_a_job_that_was_dropped_travels_again_and_after_its_drop() -> None:
    at = desk()
    orders: list[Order] = [start(spec("job"), 1), DropJob(NODE, ProcessId("job")), start(spec("job", "other"), 1)]
    works = list(work_for(at, orders))
    assert [(len(work.jobs), len(work.start), len(work.drop)) for work in works] == [(1, 1, 1), (1, 1, 0)]
    assert works[1].jobs[0].key == "other"


def test_another_job_of_the_same_name_travels_again() -> None:
    at = desk()
    works = list(work_for(at, [start(spec("job"), 1), start(spec("job", "other"), 1)]))
    assert [job.key for work in works for job in work.jobs] == ["key", "other"]


def test_ten_thousand_parts_of_the_longest_names_travel() -> None:
    job = check_job(spec("j" * 128, "k" * 64))
    works = list(work_for(desk(), [start(job, 9_990_000 + part) for part in range(10_000)]))
    assert [each.part for work in works for each in work.start] == [9_990_000 + part for part in range(10_000)]
    assert small_enough(works)
    assert len(works) < 40


def test_many_jobs_of_the_biggest_size_travel() -> None:
    jobs = [check_job(spec(f"job{number}", size=MOST_OF_A_JOB - 1000)) for number in range(5)]
    works = list(work_for(desk(), [start(job, part) for job in jobs for part in (1, 2)]))
    assert sum(len(work.jobs) for work in works) == 5
    assert small_enough(works)


def test_ten_thousand_stops_and_drops_travel() -> None:
    orders: list[Order] = [StopAttempt(NODE, AttemptId(f"{'j' * 128}.{part}.1.key"), "é" * 300) for part in range(5000)]
    orders += [DropJob(NODE, ProcessId(f"{'j' * 120}{number}")) for number in range(5000)]
    works = list(work_for(desk(), orders))
    assert sum(len(work.stop) for work in works) == sum(len(work.drop) for work in works) == 5000
    assert small_enough(works)


ORDERS = st.lists(
    st.builds(start, st.builds(spec, st.sampled_from(["a1", "b1"]), st.sampled_from(["k", "l"])), st.integers(1, 9))
    | st.builds(DropJob, st.just(NODE), st.sampled_from([ProcessId("a1"), ProcessId("b1")])),
    max_size=12,
)


@given(ORDERS)
@settings(max_examples=60)
def test_a_node_that_follows_knows_every_job_that_it_starts(orders: list[Order]) -> None:
    known: dict[str, str] = {}
    for work in work_for(desk(), orders):
        # The order in which a node works through one message.
        known.update((job.process_id, job.key) for job in work.jobs)
        assert {each.process_id: each.key for each in work.start}.items() <= known.items()
        for process_id in work.drop:
            known.pop(process_id, None)


def test_nothing_to_do_is_no_message() -> None:
    assert list(work_for(desk(), [])) == []
