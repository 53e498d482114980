"""Trees of jobs that follow each other."""

from __future__ import annotations

from typing import Any

from discomputify_core.cli import chains
from discomputify_core.errors import NoSuchJob
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import DEPENDANTS, JobState, JobStatus, PartCounts
from discomputify_testkit.running import run


def job(name: str, *after: str, at: float = 0.0, **more: Any) -> JobStatus:
    counts = PartCounts(total=2, done=2)
    before = tuple(map(ProcessId, after))
    return JobStatus(ProcessId(name), JobState.DONE, counts, submitted_at=at, after=before, **more)


def lines(start: str, *jobs: JobStatus) -> list[str]:
    """What is shown around *start* of a cluster with these jobs; what follows what is worked out."""
    known = {each.process_id: each for each in jobs}

    async def ask(process_id: ProcessId) -> JobStatus:
        if process_id not in known:
            raise NoSuchJob(f"no {process_id}")
        return known[process_id]

    async def main() -> list[str]:
        return [line async for line in chains.chain_lines(known[ProcessId(start)], ask)]

    return run(main())


def ids(*names: str) -> tuple[ProcessId, ...]:
    return tuple(map(ProcessId, names))


def names(*jobs: JobStatus) -> list[str]:
    return [chains.indented(depth, each.process_id) for depth, each in chains.nested(jobs)]


def test_jobs_stand_below_the_first_one_that_they_follow() -> None:
    shown = names(job("a"), job("x"), job("b", "a"), job("c", "x", "a"), job("d", "b"), job("e", after_any=ids("a")))
    assert shown == ["a", "  b", "    d", "  e", "x", "  c"]


def test_a_job_that_came_later_is_not_the_one_that_was_followed() -> None:
    assert names(job("b", "a"), job("a", "b")) == ["b", "  a"]
    assert names(job("c", "gone", "b"), job("b")) == ["c", "b"]


def test_chains_of_thousands_are_listed_and_moved_in_only_so_far() -> None:
    many = [job("j0"), *(job(f"j{number}", f"j{number - 1}") for number in range(1, 5000))]
    found = chains.nested(many)
    assert [each for _, each in found] == many
    assert found[-1][0] == 4999
    assert chains.indented(4999, "x") == " " * 2 * chains.DEEPEST + "x"


def test_a_job_is_shown_between_those_before_it_and_those_behind() -> None:
    found = lines(
        "c",
        job("a", dependants=ids("b")),
        job("b", "a", inputs_from=ids("a"), dependants=ids("c")),
        job("c", "b", "gone", dependants=ids("d", "e")),
        job("d", "c", inputs_from=ids("c"), dependants=ids("e")),
        job("e", "c", "d"),
    )
    assert found == [
        "  follows",
        "    b: done, 2 of 2 parts done",
        "      a (its outputs are inputs): done, 2 of 2 parts done",
        "    gone: cleared",
        "  followed by",
        "    d (takes the outputs as inputs): done, 2 of 2 parts done",
        "      e: done, 2 of 2 parts done",
        "    e: see above",
    ]


def test_nothing_is_said_about_a_job_that_stands_alone() -> None:
    assert lines("a", job("a")) == []


def test_what_came_later_than_its_follower_is_another_job() -> None:
    assert lines("b", job("a", at=9.0), job("b", "a", at=5.0)) == ["  follows", "    a: cleared"]


def test_a_long_chain_is_cut_off() -> None:
    many = [job("j0"), *(job(f"j{number}", f"j{number - 1}") for number in range(1, 100))]
    found = lines("j99", *many)
    assert len(found) == chains.SHOWN + 2
    assert found[-1].strip() == "…"


def test_where_more_jobs_follow_than_are_told_that_is_shown() -> None:
    behind = [job(f"d{number}", "a") for number in range(DEPENDANTS)]
    found = lines("a", job("a", dependants=tuple(each.process_id for each in behind)), *behind)
    assert found[-2:] == [f"    d{DEPENDANTS - 1}: done, 2 of 2 parts done", "    …"]
