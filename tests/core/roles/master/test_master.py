"""The master as nodes and clients meet it: orders, reports, limits, restarts, its own mistakes."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from discomputify_core.cluster.machine import Cluster, Settings
from discomputify_core.edge.calls import Link, Peer
from discomputify_core.edge.connect import hello, master_address
from discomputify_core.errors import (
    BadInput,
    BadPath,
    DiscomputifyError,
    JobExists,
    NameTaken,
    NoSuchJob,
    OurBug,
    PeerBroke,
    Refused,
    Unreachable,
)
from discomputify_core.interfaces.calls import Asked, Operation, Reply
from discomputify_core.model import events as ev
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.files import Manifest
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec, JobState, JobStatus, Outcome, Request
from discomputify_core.model.message import Beat, Join, Joined, Progress, Report, Start, Work
from discomputify_core.model.node import NodeFacts, NodeLoad
from discomputify_core.roles.master import master as module
from discomputify_core.roles.master.master import MasterNode
from discomputify_testkit.fakes.memory_store import MemoryStore
from discomputify_testkit.running import run, until

Small = Callable[[], Any]
MIB = 1024 * 1024


class FakeNode:
    """A computing node that runs nothing: it notes what it is told, and reports what a test wants."""

    def __init__(self, cluster: Any, name: str = "n1", slots: int = 2, session: str = "s1", **facts: Any) -> None:
        self.facts = NodeFacts(NodeName(name), slots, memory=10**9, cache_limit=10**9, session=session, **facts)
        loaded = cluster.loaded()
        self.attempts: tuple[Any, ...] = ()
        self.joined: list[Joined] = []
        self.works: list[Work] = []
        self.log = b""
        self.link = Link(
            loaded.transport(),
            master_address(loaded.conf),
            "master_node",
            hello("computing_node", name),
            operations={"node.work": Operation(self._work), "node.log": Operation(self._log)},
            greet=self._greet,
        )

    async def _greet(self, peer: Peer) -> None:
        reply = await peer.call("node.join", to_plain(Join(self.facts, self.attempts)), timeout=10)
        self.joined.append(from_plain(reply.data, Joined))

    async def _work(self, asked: Asked) -> Reply:
        self.works.append(from_plain(asked.data, Work))
        return Reply()

    async def _log(self, asked: Asked) -> Reply:
        return Reply(None, self.log[asked.data.get("offset", 0) :])

    @property
    def started(self) -> list[Start]:
        return [start for work in self.works for start in work.start]

    @property
    def stopped(self) -> dict[str, str]:
        return {attempt: why for work in self.works for attempt, why in work.stop.items()}

    async def told(self, parts: int) -> list[Start]:
        """The starts, once there are so many."""
        await until(lambda: len(self.started) >= parts)
        return self.started

    async def report(self, **what: Any) -> None:
        await self.link.call("node.report", to_plain(Report(**what)), timeout=10)

    async def done(self, *starts: Start) -> None:
        await self.report(ended=tuple(Outcome(s.attempt, End.DONE, manifest="blake2b:" + "0" * 64) for s in starts))

    async def close(self) -> None:
        await self.link.close()


async def fake(cluster: Any, name: str = "n1", slots: int = 2, **facts: Any) -> FakeNode:
    """A fake node that has joined, closed with the cluster."""
    node = FakeNode(cluster, name, slots, **facts)
    cluster._open.append(node)
    await node.link.connect(10)
    return node


async def submitted(cluster: Any, process_id: str = "job", parts: int = 2, **more: Any) -> JobStatus:
    """A job whose program is in the store."""
    pid = ProcessId(process_id)
    tree = await cluster.store.commit(pid, "program", Manifest(()))
    spec = JobSpec(pid, more.pop("key", "key"), parts, tree, **more)
    status: JobStatus = await asked(cluster, "job.submit", to_plain(spec), JobStatus)
    return status


async def asked(cluster: Any, operation: str, data: Any, kind: type = object) -> Any:
    """The master's answer to a client."""
    client = cluster.client()
    reply = await client._master.call(operation, data, timeout=20)
    await client.close()
    return reply.data if kind is object else from_plain(reply.data, kind)


def test_parts_are_sent_reported_and_counted(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster)
            client = cluster.client()
            await submitted(cluster, parts=3)
            first = await node.told(2)
            assert [len(work.jobs) for work in node.works] == [1]
            await node.report(
                started=tuple(s.attempt for s in first), progress=(Progress(first[0].attempt, 7.0, "n" * 900),)
            )
            status = await client.status("job")
            assert (status.parts.running, status.progress, len(status.note)) == (2, 0.5, 200)
            await node.done(*first)
            (*_, third) = await node.told(3)
            assert sum(len(work.jobs) for work in node.works) == 1
            await node.done(third)
            status = await client.wait("job", 5)
            assert (status.state, dict(status.nodes)) == (JobState.DONE, {"n1": 3})
            await until(lambda: any(work.drop == ("job",) for work in node.works))

    run(main())


def test_a_report_that_comes_twice_or_late_counts_once(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            node = await fake(cluster)
            await submitted(cluster)
            starts = await node.told(2)
            await node.done(*starts)
            await node.done(*starts)
            await node.report(started=(starts[0].attempt,))
            status = await cluster.client().status("job")
            assert (status.state, status.parts.done) == (JobState.DONE, 2)
            assert master.cluster.state.late == 3

    run(main())


def test_a_node_speaks_for_itself_only(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node, other = await fake(cluster, "n1"), await fake(cluster, "n2")
            await submitted(cluster, parts=1)
            (start,) = await node.told(1)
            await other.done(start)
            assert (await cluster.client().status("job")).parts.done == 0
            with pytest.raises(Refused, match="has not joined"):
                await asked(cluster, "node.report", {})
            with pytest.raises(Refused, match="has not joined"):
                await asked(cluster, "node.leave", None)

    run(main())


def test_a_node_that_is_cut_comes_back_with_what_runs_there(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master(Settings(cut=20.0))
            node = await fake(cluster, slots=3)
            await submitted(cluster, parts=3)
            starts = await node.told(3)
            node.attempts = (starts[0].attempt, "nobody.1.1.key")
            await master.desks[node.facts.name].peer.close()
            await until(lambda: master.cluster.state.nodes[node.facts.name].state == "cut")
            node.works.clear()
            await node.link.connect(10)
            assert node.joined[-1].stop == ("nobody.1.1.key",)
            again = await node.told(2)  # two starts never arrived: they cost nothing and are sent again, with the job
            assert sum(len(work.jobs) for work in node.works) == 1
            await node.done(starts[0], *again)
            status = await cluster.client().wait("job", 5)
            assert (status.state, status.failures) == (JobState.DONE, ())

    run(main())


def test_a_restarted_node_replaces_its_predecessor_once_that_is_silent(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            await fake(cluster, session="s1")
            second = FakeNode(cluster, session="s2")
            cluster._open.append(second)
            with pytest.raises(NameTaken):
                await second.link.connect(5)
            master.cluster.state.nodes[second.facts.name].seen_at -= 60
            await second.link.connect(5)
            (node,) = await cluster.client().nodes()
            assert node.state == "live"
            assert master.desks[second.facts.name].session == "s2"

    run(main())


def test_a_node_that_was_given_up_and_is_heard_of_again_has_to_join_again(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 0.01)

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            node = await fake(cluster)
            await submitted(cluster)
            starts = await node.told(2)
            node.attempts = tuple(start.attempt for start in starts)
            seen = master.cluster.state.nodes[node.facts.name]
            seen.seen_at -= 60
            await until(lambda: seen.state == "lost")
            with pytest.raises(Refused, match="join again"):
                await node.link.call("node.beat", to_plain(Beat(NodeLoad())))
            await node.link.connect(10)
            assert node.joined[-1].stop == ()  # nothing of it had started elsewhere: it goes on
            assert seen.state == "live"
            assert seen.attempts.keys() == set(node.attempts)
            assert not master.cluster.job(ProcessId("job")).reports

    run(main())


def test_a_thousand_parts_on_one_node_and_a_job_of_the_biggest_size_travel(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster, slots=10_000)
            await submitted(cluster, "j" * 128, 5000, args=("x" * 300_000,), key="k" * 64)
            assert len(await node.told(5000)) == 5000
            assert len({start.attempt for start in node.started}) == 5000

    run(main())


def test_work_that_cannot_be_sent_ends_as_broken_attempts(
    small: Small, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    push = Peer.push

    async def fails(self: Peer, operation: str, data: Any = None, body: bytes = b"") -> None:
        if operation == "node.work" and any(start["part"] == 2 for start in data.get("start", ())):
            raise OurBug("it is too big")
        await push(self, operation, data, body)

    monkeypatch.setattr(Peer, "push", fails)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster, slots=1)
            await submitted(cluster, parts=3, attempts=2)
            await node.done((await node.told(1))[0])
            await node.done((await node.told(2))[1])
            status = await cluster.client().wait("job", 10)
            assert (status.parts.done, status.parts.failed) == (2, 1)
            assert "the last on n1: could not be sent to its node: it is too big" in status.reason

    run(main())


def test_a_bug_in_a_tick_does_not_stop_the_clock(
    small: Small, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "TICK", 0.01)
    handle, ticks = Cluster.handle, []

    def fails(self: Cluster, *batch: ev.Event, now: float) -> Any:
        if any(isinstance(event, ev.Tick) for event in batch):
            ticks.append(now)
            if len(ticks) == 2:
                raise ZeroDivisionError("a bug")
        return handle(self, *batch, now=now)

    monkeypatch.setattr(Cluster, "handle", fails)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            await until(lambda: len(ticks) > 4)

    run(main())
    assert "a tick failed" in caplog.text


def test_observers_see_every_event(small: Small) -> None:
    seen: list[ev.Event] = []

    def observe(batch: Sequence[ev.Event]) -> None:
        seen.extend(batch)

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master(observe=observe)
            node = await fake(cluster)
            await submitted(cluster, parts=1)
            await node.done(*(await node.told(1)))
            await master.close()

    run(main())
    kinds = {type(event) for event in seen}
    assert {ev.NodeJoined, ev.JobSubmitted, ev.TreeChecked, ev.AttemptEnded} <= kinds


def test_a_master_that_could_not_start_can_be_closed(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            with pytest.raises(DiscomputifyError, match="in use"):
                await cluster.master(observe=lambda batch: None)

    run(main())


# --- what clients are told --------------------------------------------------------------------------


def test_a_submit_that_is_asked_twice_makes_one_job_and_another_key_is_refused(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            await submitted(cluster)
            await submitted(cluster)
            assert len(master.cluster.state.jobs) == 1
            with pytest.raises(JobExists, match="discomputify clear job"):
                await submitted(cluster, key="other")

    run(main())


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"tree": "nonsense"}, BadPath),
        ({"key": "k" * 65}, BadInput),
        ({"args": ["x" * 500_000]}, BadInput),
        ({"process_id": "a/b"}, PeerBroke),
        ({"parts": 0}, PeerBroke),
        ({"request": {"cpus": 0}}, PeerBroke),
    ],
)
def test_what_cannot_be_a_job_is_refused_at_the_door(
    small: Small, change: dict[str, Any], error: type[DiscomputifyError]
) -> None:
    plain = {"process_id": "job", "key": "key", "parts": 2, "tree": "blake2b:" + "0" * 64}

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            with pytest.raises(error):
                await asked(cluster, "job.submit", {**plain, **change})
            assert not master.cluster.state.jobs

    run(main())


def test_a_job_whose_program_is_not_in_the_store_fails_and_says_so(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            spec = JobSpec(ProcessId("job"), "key", 2, "blake2b:" + "0" * 64)
            await asked(cluster, "job.submit", to_plain(spec))
            status = await cluster.client().wait("job", 5)
            assert (status.state, status.parts.failed) == (JobState.FAILED, 2)
            assert "submit again" in status.reason

    run(main())


def test_a_job_waits_for_a_store_that_is_away(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STORE_AGAIN", 0.01)
    given, tries = MemoryStore.manifest, []

    async def away(self: MemoryStore, *about: Any) -> Any:
        tries.append(about)
        if len(tries) < 4:
            raise Unreachable("no store at store:1")
        return await given(self, *about)

    monkeypatch.setattr(MemoryStore, "manifest", away)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster)
            await submitted(cluster)
            assert len(await node.told(2)) == 2
            assert len(tries) == 4

    run(main())


def test_a_watch_is_woken_by_the_next_change(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            client = cluster.client()
            status = await submitted(cluster)
            status = await asked(cluster, "job.watch", {"process_id": "job", "seen": status.version}, JobStatus)
            later = asyncio.ensure_future(client.changes("job", status.version).__anext__())
            node = await fake(cluster)
            await node.told(2)
            found = await later
            assert found.version > status.version

    run(main())


def test_a_watch_of_a_cleared_job_ends(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            client = cluster.client()
            await submitted(cluster)
            stopped = await client.stop("job")
            watching = asyncio.ensure_future(
                asked(cluster, "job.watch", {"process_id": "job", "seen": stopped.version - 1, "timeout": 20.0})
            )
            await watching
            await client.clear("job")
            with pytest.raises(NoSuchJob):
                await client.status("job")

    run(main())


def test_thousands_of_jobs_are_listed(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master: MasterNode = await cluster.master()
            tree = "blake2b:" + "0" * 64
            specs = [JobSpec(ProcessId(f"job{n}-" + "j" * 100), "key", 1, tree, owner="o" * 300) for n in range(3000)]
            master.flush(*(ev.JobSubmitted(spec) for spec in specs))
            await until(lambda: all(job.ended for job in master.cluster.state.jobs.values()))
            for spec in specs[::3]:
                master.cluster.job(spec.process_id).reason = "r" * 5000
            jobs = await cluster.client().jobs()
            assert [job.process_id for job in jobs] == [spec.process_id for spec in specs]
            assert max(len(job.reason) for job in jobs) == 500

    run(main())


def test_nodes_with_thousands_of_packages_are_listed(small: Small) -> None:
    packages = {f"package-number-{number}": "1.2.3" for number in range(3000)}

    async def main() -> None:
        async with small() as cluster:
            master: MasterNode = await cluster.master()
            facts = [NodeFacts(NodeName(f"n{n}"), 2, packages=packages, session="s") for n in range(60)]
            master.flush(*(ev.NodeJoined(each) for each in facts))
            client = cluster.client()
            names = [f"n{n}" for n in range(60)]
            brief = await client.nodes()
            assert [node.name for node in brief] == names
            assert all(node.facts and not node.facts.packages for node in brief)
            whole = await client.nodes(packages=True)
            assert [node.name for node in whole] == names
            assert all(node.facts and len(node.facts.packages) == 3000 for node in whole)
            assert await client._slots_or_none() == 120

    run(main())


def test_a_job_with_many_long_failures_can_be_looked_at(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster, slots=1)
            await submitted(cluster, parts=1, attempts=400)
            client = cluster.client()
            for number in range(1, 401):
                await node.told(number)
                tail = f"{number} " + "\U0001f600" * 3900
                outcome = Outcome(node.started[-1].attempt, End.EXIT, code=3, reason="r" * 1900, stderr_tail=tail)
                await node.report(ended=(outcome,))
            status = await client.wait("job", 10)
            assert (status.state, len(status.failures)) == (JobState.FAILED, 20)
            attempts = await client.attempts("job", 1)
            assert [a.number for a in attempts] == list(range(201, 401))
            assert attempts[-1].stderr_tail.startswith("400 ")
            assert (await client.why("job", 1)).text

    run(main(), 60)


def test_clearing_returns_when_the_store_is_cleared_so_that_the_id_can_be_used_at_once(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, cleared = MemoryStore.clear, asyncio.Event()

    async def slow(self: MemoryStore, process_id: ProcessId) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        await given(self, process_id)
        cleared.set()

    monkeypatch.setattr(MemoryStore, "clear", slow)

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            node = await fake(cluster)
            client = cluster.client()
            with pytest.raises(NoSuchJob):
                await client.clear("job")
            await submitted(cluster)
            with pytest.raises(BadInput, match="stop it first"):
                await client.clear("job")
            await node.done(*(await node.told(2)))
            await client.clear("job")
            assert cleared.is_set()
            assert master.clearing == {}
            await submitted(cluster, key="second")
            assert len(await node.told(4)) == 4

    run(main())


def test_stopping_tells_the_nodes_why(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster)
            await submitted(cluster, parts=5)
            starts = await node.told(2)
            client = cluster.client()
            stopping = asyncio.ensure_future(client.stop("job", 10))
            await until(lambda: len(node.stopped) == 2)
            assert set(node.stopped) == {start.attempt for start in starts}
            assert all("stopped by" in why for why in node.stopped.values())
            await node.report(ended=tuple(Outcome(start.attempt, End.STOPPED) for start in starts))
            assert (await stopping).parts.stopped == 5

    run(main())


def test_logs_come_from_the_node_while_a_part_runs(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster)
            node.log = b"a line\n"
            client = cluster.client()
            await submitted(cluster, parts=3)
            (start, _) = await node.told(2)
            await node.report(started=(start.attempt,))
            assert [piece async for piece in client.logs("job", start.part)] == [b"a line\n"]
            with pytest.raises(BadInput, match="has not been tried"):
                await client.logs("job", 3).__anext__()
            with pytest.raises(BadInput, match="no attempt 7; there are: 1"):
                await client.logs("job", start.part, attempt=7).__anext__()
            with pytest.raises(BadInput, match="parts 1 to 3"):
                await client.logs("job", 4).__anext__()
            await node.close()
            assert [piece async for piece in client.logs("job", start.part)] == []

    run(main())


def test_what_a_job_waits_for_is_said(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            client = cluster.client()
            await submitted(cluster, request=Request(needs={"gpu": 1}))

            async def said(words: str) -> str:
                while words not in (text := str((await client.why("job")).text)):
                    await asyncio.sleep(0.01)
                return text

            await said("no computing node is connected")
            await fake(cluster)
            assert "gpu" in await said("no node could ever run one")
            with pytest.raises(BadInput, match="no part 9"):
                await client.why("job", 9)

    run(main())


def test_beats_carry_the_load(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            node = await fake(cluster)
            beat = Beat(NodeLoad(12.5, 50.0, 1.0), ((ProcessId("job"), 100),))
            await node.link.call("node.beat", to_plain(beat))
            (status,) = await cluster.client().nodes()
            assert status.load == beat.load
            assert master.cluster.state.nodes[node.facts.name].held == {"job": 100}

    run(main())


def test_the_master_says_what_it_is(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            await fake(cluster)
            info = await cluster.client().info()
            assert (info.scheduler, info.jobs, info.nodes) == ("fifo", 0, 1)

    run(main())


def test_a_refused_peer_is_shown_among_the_nodes(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            master.refused(hello("computing_node", "old"), "10.0.0.9:1", "it runs version 1.0.0")
            master.refused(hello("client", "somebody"), "10.0.0.9:2", "it runs version 1.0.0")
            await asyncio.sleep(0)
            (shown,) = await cluster.client().nodes()
            assert (shown.name, shown.state, shown.reason) == ("old", "refused", "it runs version 1.0.0")

    run(main())


def test_facts_are_told_as_they_are(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster, resources={"gpu": 2}, python="3.12.1", packages={"numpy": "2.0"})
            (status,) = await cluster.client().nodes(packages=True)
            assert status.facts == attrs.evolve(node.facts)

    run(main())
