"""Reports reach the master: all, in order, in messages that can travel; one that it cannot take stops nothing else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from discomputify_core.edge.weights import weight
from discomputify_core.errors import DiscomputifyError, OurBug, PeerBroke, Refused, Unreachable
from discomputify_core.model.ids import AttemptId
from discomputify_core.model.job import End, Outcome
from discomputify_core.model.message import Progress, Report, StartOver, UsesMemory
from discomputify_core.roles.node import reports as module
from discomputify_core.roles.node.reports import BATCH, REFUSED, Reports
from discomputify_testkit.running import run

Judge = Callable[[Report], DiscomputifyError | None]


def attempt(number: int) -> AttemptId:
    return AttemptId(f"job.{number}.1.key")


def done(number: int, **more: Any) -> Outcome:
    return Outcome(attempt(number), End.DONE, **more)


class Master:
    """Takes reports, or does not."""

    def __init__(self, judge: Judge = lambda report: None) -> None:
        self.judge = judge
        self.taken: list[Report] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, report: Report) -> None:
        await self.open.wait()
        assert weight(report) < 1024 * 1024
        error = self.judge(report)
        if error is not None:
            raise error
        self.taken.append(report)

    @property
    def ended(self) -> list[AttemptId]:
        return [outcome.attempt for report in self.taken for outcome in report.ended]


@asynccontextmanager
async def reporting(judge: Judge = lambda report: None) -> AsyncIterator[tuple[Reports, Master]]:
    master = Master(judge)
    reports = Reports(master.send)
    sender = asyncio.ensure_future(reports.run())
    try:
        yield reports, master
    finally:
        sender.cancel()
        await asyncio.wait([sender])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.01)


def test_everything_arrives_in_order_and_then_nothing_is_unsent() -> None:
    async def main() -> None:
        async with reporting() as (reports, master):
            master.open.clear()
            for number in range(1000):
                reports.started(attempt(number))
                reports.ended(done(number))
            assert len(reports.unsent) == 1000
            master.open.set()
            assert await reports.drained(10)
            assert reports.unsent == ()
            started = [each for report in master.taken for each in report.started]
            assert started == [attempt(number) for number in range(1000)]
            assert master.ended == started
            seen: set[AttemptId] = set()
            for report in master.taken:
                seen.update(report.started)
                assert seen.issuperset(outcome.attempt for outcome in report.ended)

    run(main())


def test_messages_are_bounded_whatever_parts_wrote() -> None:
    async def main() -> None:
        async with reporting() as (reports, master):
            master.open.clear()
            for number in range(BATCH * 2):
                reports.ended(
                    done(
                        number,
                        stderr_tail="\U0001f600" * 100_000,
                        reason="r" * 100_000,
                        missing_module="m" * 100_000,
                        strays=("s" * 10_000,) * 500,
                    )
                )
                reports.progress(Progress(attempt(number), 0.5, "n" * 10_000))
            master.open.set()
            assert await reports.drained(20)
            assert len(master.ended) == BATCH * 2

    run(main())


def test_text_that_is_none_travels_all_the_same() -> None:
    async def main() -> None:
        async with reporting() as (reports, master):
            reports.progress(Progress(attempt(1), 0.5, "\ud800"))
            reports.ended(done(1, reason="file '\udcff'", stderr_tail="\udc80", strays=("\udcff",)))
            assert await reports.drained(5)
            (outcome,) = (outcome for report in master.taken for outcome in report.ended)
            assert (outcome.reason, outcome.stderr_tail, outcome.strays) == ("file '?'", "?", ("?",))

    run(main())


def test_only_the_newest_progress_counts() -> None:
    async def main() -> None:
        async with reporting() as (reports, master):
            master.open.clear()
            reports.started(attempt(0))
            for number in range(100):
                reports.progress(Progress(attempt(1), number / 100))
            master.open.set()
            assert await reports.drained(5)
            assert [each.fraction for report in master.taken for each in report.progress][-1] == 0.99
            assert len(master.taken) <= 3

    run(main())


@pytest.mark.parametrize("error", [Unreachable("away"), Refused("this connection has not joined")])
def test_what_did_not_arrive_is_sent_again(error: DiscomputifyError) -> None:
    refusals = [error] * 3

    async def main() -> None:
        async with reporting(lambda report: refusals.pop() if refusals else None) as (reports, master):
            reports.ended(done(1))
            assert await reports.drained(5)
            assert master.ended == [attempt(1)]

    run(main())


@pytest.mark.parametrize("error", [OurBug("cannot travel"), PeerBroke("malformed")])
def test_one_report_that_cannot_be_taken_stops_no_other(
    error: DiscomputifyError, caplog: pytest.LogCaptureFixture
) -> None:
    def judge(report: Report) -> DiscomputifyError | None:
        poison = any(outcome.attempt == attempt(3) and outcome.end is End.DONE for outcome in report.ended)
        return error if poison or attempt(4) in report.started else None

    async def main() -> None:
        async with reporting(judge) as (reports, master):
            master.open.clear()
            for number in range(6):
                reports.started(attempt(number))
                reports.ended(done(number))
            master.open.set()
            assert await reports.drained(5)
            assert sorted(master.ended) == [attempt(number) for number in range(6)]
            (broken,) = (o for report in master.taken for o in report.ended if o.attempt == attempt(3))
            assert (broken.end, broken.reason) == (End.BROKEN, REFUSED)
            started = {each for report in master.taken for each in report.started}
            assert started == {attempt(number) for number in range(6) if number != 4}

    run(main())
    assert "cannot take a report" in caplog.text


def test_a_master_that_takes_no_end_at_all_does_not_stop_the_node() -> None:
    async def main() -> None:
        async with reporting(lambda report: OurBug("no") if report.ended else None) as (reports, master):
            reports.ended(done(1))
            reports.started(attempt(2))
            assert await reports.drained(5)
            assert reports.unsent == ()
            assert [report.started for report in master.taken] == [(attempt(2),)]

    run(main())


def test_what_the_master_does_not_want_is_forgotten() -> None:
    async def main() -> None:
        async with reporting() as (reports, master):
            master.open.clear()
            reports.started(attempt(0))
            await asyncio.sleep(0)  # the first report is on its way
            for number in (1, 2):
                reports.started(attempt(number))
                reports.progress(Progress(attempt(number), 0.1))
                reports.ended(done(number))
            reports.forget(attempt(1))
            assert reports.unsent == (attempt(2),)
            master.open.set()
            assert await reports.drained(5)
            assert master.ended == [attempt(2)]
            assert all(attempt(1) not in report.started for report in master.taken)

    run(main())


def test_draining_has_a_deadline() -> None:
    async def main() -> None:
        async with reporting() as (reports, master):
            assert await reports.drained(1)
            master.open.clear()
            reports.ended(done(1))
            assert not await reports.drained(0.05)

    run(main())


def test_what_the_master_hears_of_shared_memory_comes_before_progress_and_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(module, "FEW", 2)

    async def main() -> None:
        async with reporting() as (reports, master):
            master.open.clear()
            for number in range(10):
                reports.ended(done(number))
                reports.progress(Progress(attempt(number), 0.5))
                reports.start_over(attempt(number), f"reason {number}" * 1000)
                reports.start_over(attempt(number), "another")
                reports.uses_memory(attempt(number), "")
                reports.uses_memory(attempt(number), "table" * 100)
                reports.started(attempt(number))
            reports.forget(attempt(9))
            master.open.set()
            assert await reports.drained(5)
            order: list[Any] = [
                [each for report in master.taken for each in getattr(report, kind)]
                for kind in ("started", "uses_memory", "start_over", "ended")
            ]
            assert order[0] == [attempt(number) for number in range(9)]
            assert [(use.attempt, len(use.table)) for use in order[1]] == [
                (attempt(number), 200) for number in range(9)
            ]
            assert all(over.reason.startswith("reason") and len(over.reason) == 2000 for over in order[2])
            assert [over.attempt for over in order[2]] == [outcome.attempt for outcome in order[3]] == order[0]
            first = {kind: index for index, report in reversed(list(enumerate(master.taken))) for kind in told(report)}
            last = {kind: index for index, report in enumerate(master.taken) for kind in told(report)}
            assert last["started"] <= first["start_over"]
            assert last["start_over"] <= first["ended"]

    run(main())


def told(report: Report) -> list[str]:
    kinds = ("started", "uses_memory", "start_over", "progress", "ended")
    return [kind for kind in kinds if getattr(report, kind)]


def test_a_use_of_memory_that_the_master_cannot_take_stops_nothing_else() -> None:
    def judge(report: Report) -> DiscomputifyError | None:
        about = {use.attempt for use in report.uses_memory} | {over.attempt for over in report.start_over}
        return PeerBroke("no") if attempt(1) in about else None

    async def main() -> None:
        async with reporting(judge) as (reports, master):
            for number in range(3):
                reports.uses_memory(attempt(number), "t")
                reports.start_over(attempt(number), "gone")
                reports.ended(done(number))
            assert await reports.drained(5)
            assert master.ended == [attempt(number) for number in range(3)]
            uses = [use for report in master.taken for use in report.uses_memory]
            overs = [over for report in master.taken for over in report.start_over]
            assert uses == [UsesMemory(attempt(number), "t") for number in (0, 2)]
            assert overs == [StartOver(attempt(number), "gone") for number in (0, 2)]

    run(main())


def test_a_checkpoint_is_known_before_the_end_of_its_attempt_and_after_its_start() -> None:
    async def main() -> None:
        async with reporting() as (reports, master):
            master.open.clear()
            for number in range(BATCH + 10):
                reports.started(attempt(number))
                reports.kept(attempt(number), "old")
                reports.kept(attempt(number), f"new {number}")
                reports.ended(done(number))
            reports.forget(attempt(3))
            master.open.set()
            assert await reports.drained(10)
            said: dict[AttemptId, list[str]] = {}
            assert master.taken
            for report in master.taken:
                for started in report.started:
                    said.setdefault(started, []).append("started")
                for kept in report.kept:
                    said.setdefault(kept.attempt, []).append(kept.manifest)
                for outcome in report.ended:
                    said.setdefault(outcome.attempt, []).append("ended")
            assert said == {attempt(n): ["started", f"new {n}", "ended"] for n in range(BATCH + 10) if n != 3}

    run(main())


def test_who_reports_is_told_when_the_master_knows() -> None:
    async def main() -> None:
        told: list[AttemptId] = []
        master = Master()
        reports = Reports(master.send, lambda outcome: told.append(outcome.attempt))
        sender = asyncio.ensure_future(reports.run())
        master.open.clear()
        reports.ended(done(1))
        reports.ended(done(2))
        reports.forget(attempt(2))
        assert told == []
        master.open.set()
        assert await reports.drained(10)
        assert told == [attempt(1)]
        sender.cancel()
        await asyncio.wait([sender])

    run(main())
