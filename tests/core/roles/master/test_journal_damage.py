"""A damaged journal: the master starts, says what was lost, and what the damage did not touch is as it was."""

from __future__ import annotations

import asyncio
import functools
import random
import shutil
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discomputify_core.cluster import saving, why
from discomputify_core.cluster.machine import Cluster
from discomputify_core.model import events as ev
from discomputify_core.model.commands import CheckTree, Command, GatherInputs, StartPart
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec, Outcome
from discomputify_core.model.node import NodeFacts, NodeLoad
from discomputify_core.plugins.fifo import Fifo
from discomputify_core.roles.master.journal import checking, compact, reading, snapshots
from discomputify_core.roles.master.journal import format as bytes_of
from discomputify_core.roles.master.journal.format import Framed
from discomputify_core.roles.master.journal.journal import Journal
from discomputify_core.roles.master.journal.recovery import Recovered, recover
from discomputify_testkit.running import run

DIGEST = "blake3:" + "cd" * 32
NODES = tuple(map(NodeName, ("a", "b", "c")))
#: As many jobs as the history has.
JOBS = 30


class World:
    """A cluster and nodes that do as they are told, one random step after the other."""

    def __init__(self, cluster: Cluster, seed: int, journal: Journal | None = None) -> None:
        self.cluster = cluster
        self.chance = random.Random(seed)
        self.journal = journal
        self.now = cluster.state.recorded
        self.running: dict[NodeName, list[StartPart]] = {name: [] for name in NODES}
        self.asked: list[Command] = []

    def do(self, *events: ev.Event) -> None:
        self.now += 0.1
        commands = self.cluster.handle(*events, now=self.now)
        if self.journal is not None and self.cluster.record is not None:
            self.journal.append(self.cluster.record)
        for command in commands:
            if isinstance(command, StartPart):
                self.running[command.node].append(command)
            elif isinstance(command, (CheckTree, GatherInputs)):
                self.asked.append(command)

    def join(self) -> None:
        for name in NODES:
            there = tuple(each.attempt for each in self.running[name])
            self.do(ev.NodeJoined(NodeFacts(name, 4, session=f"s{name}"), "here", there, self.now))
            stopped = self.cluster.unknown_attempts(there)
            self.running[name] = [each for each in self.running[name] if each.attempt not in stopped]

    def submit(self, number: int) -> None:
        more: dict[str, Any] = {}
        if number % 5 == 4:
            more["after"] = (f"job{number - 1}",)
        if number % 5 == 3:
            more["together"] = True
        self.do(ev.JobSubmitted(JobSpec(ProcessId(f"job{number}"), f"key{number}", 4, DIGEST, **more), self.now))

    def wait(self, seconds: float) -> None:
        """Time passes; the nodes are alive."""
        self.now += seconds
        self.do(*(ev.NodeBeat(name, NodeLoad()) for name in NODES), ev.Tick(self.now))

    def step(self) -> bool:
        """Let something happen; whether there was anything to do."""
        if self.asked:
            command = self.asked.pop(0)
            if isinstance(command, CheckTree):
                self.do(ev.TreeChecked(command.process_id, command.key))
            return True
        busy = [name for name in NODES if self.running[name]]
        if not busy:
            return False
        name = self.chance.choice(busy)
        start = self.running[name].pop(self.chance.randrange(len(self.running[name])))
        end = End.EXIT if self.chance.random() < 0.1 else End.DONE
        outcome = Outcome(start.attempt, end, code=int(end is End.EXIT), manifest=DIGEST)
        self.do(ev.AttemptStarted(name, start.attempt, self.now))
        self.do(ev.AttemptEnded(name, outcome, self.now))
        return True


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a journal: two snapshots, some segments, jobs that ended, that run and that wait."""
    folder = tmp_path_factory.mktemp("journal")

    async def main() -> None:
        journal = Journal(folder, 4096)
        await asyncio.to_thread(journal.open)
        world = World(Cluster(Fifo()), 1, journal)
        journal._compact = lambda: None  # type: ignore[method-assign]  # snapshots are made below
        journal.start(lambda: world.cluster.state)
        world.join()
        for number in range(JOBS):
            world.submit(number)
            for _ in range(5):
                world.step()
            await journal.settled()
            if number in (JOBS // 3, JOBS * 2 // 3):
                assert compact.compact(folder)
        await journal.close()

    run(main())
    assert len(snapshots.paths(folder)) == 2
    assert len(reading.segments(folder)) > 3
    return folder


def jobs_of(found: Recovered) -> dict[str, Any]:
    """What is known of each job; its place among the others aside, which depends on all that were submitted."""
    return {job["spec"]["process_id"]: {**job, "order": 0} for job in saving.save(found.state)["jobs"]}


@functools.cache
def whole(folder: Path) -> tuple[dict[str, Any], dict[int, tuple[str, ...]]]:
    """What is known of each job if nothing is damaged, and what each record is about."""
    rows = [row for each in reading.segments(folder) for row in bytes_of.scan(each.path.read_bytes())]
    return jobs_of(recover(folder)), {row.number: row.jobs for row in rows if isinstance(row, Framed)}


def spoil(folder: Path, to: Path, flips: int, cuts: int, chance: random.Random) -> Path:
    """A copy of *folder* in which bytes are flipped and files are cut."""
    shutil.copytree(folder, to)
    files = sorted(path for path in to.iterdir() if path.name != "lock")
    for _ in range(cuts):
        path = chance.choice(files)
        path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size + 1)])
    for _ in range(flips):
        path = chance.choices(files, [each.stat().st_size for each in files])[0]
        data = bytearray(path.read_bytes())
        if data:
            data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
            path.write_bytes(data)
    return to


def hit(folder: Path, found: Recovered) -> set[str] | None:
    """Jobs that the lost records were about; None: a snapshot was lost, so that all may be."""
    _jobs, about = whole(folder)
    lost = {number for each in found.damage if each.last for number in range(each.first, each.last + 1)}
    lost |= {number for number in about if number >= found.next}
    if any(number not in about for number in lost):
        return None
    return {job for number in lost for job in about[number]}


def check(history: Path, folder: Path) -> Recovered:
    """Recover *folder*, and see that what was not hit is as it was."""
    found = recover(folder)
    jobs, _ = whole(history)
    touched, now = hit(history, found), jobs_of(found)
    gone = {job for each in found.damage for job in each.jobs}
    if touched is not None:
        for name, job in jobs.items():
            if ({name, *near(job)}) & (touched | gone | found.touched.keys()):
                continue
            assert now.get(name) == job, (name, found.damage)
        about = whole(history)[1]
        lost = {number for each in found.damage if each.last for number in range(each.first, each.last + 1)}
        told = {job for number, named in about.items() if number not in lost and number < found.next for job in named}
        hidden = {job for number in lost for job in about[number]} & told
        ended = {name for name in hidden if name in now and now[name]["ended_wall"]}
        assert hidden - ended <= found.touched.keys() | gone, (found.damage, found.touched)
    assert all(str(each) for each in found.damage)
    return found


def near(job: dict[str, Any]) -> tuple[str, ...]:
    """The jobs that *job* follows, and those that follow it."""
    return (*job["spec"].get("after", ()), *job["dependants"])


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_byte_costs_what_it_hits(history: Path, tmp_path: Path, seed: int) -> None:
    found = check(history, spoil(history, tmp_path / "spoilt", 1, 0, random.Random(seed)))
    assert len(found.damage) <= 1


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_file_costs_what_is_cut_off(history: Path, tmp_path: Path, seed: int) -> None:
    check(history, spoil(history, tmp_path / "spoilt", 0, 1, random.Random(seed)))


@pytest.mark.parametrize("seed", range(12))
def test_a_master_goes_on_whatever_is_damaged(history: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(100 + seed)
    folder = spoil(history, tmp_path / "spoilt", chance.choice([2, 5, 50]), chance.choice([0, 1, 5]), chance)
    check(history, folder)

    async def main() -> World:
        journal = Journal(folder, 4096)
        again = await asyncio.to_thread(journal.open)
        world = World(Cluster(Fifo(), state=again.state), seed, journal)
        journal.start(lambda: world.cluster.state)
        world.do(ev.MasterStarted(world.now))
        world.join()
        for number in range(JOBS, JOBS + 3):
            world.submit(number)
        for _ in range(100):
            while world.step():
                pass
            world.wait(5.0)
        await journal.settled()
        await journal.close()
        return world

    world = run(main())
    state = world.cluster.state
    assert {job.id: why.why_job(state, job, {}) for job in state.jobs.values() if not job.ended} == {}
    after = recover(folder)
    assert saving.save(after.state) == saving.save(world.cluster.state)


def test_damage_to_both_snapshots_costs_the_jobs_it_hits(history: Path, tmp_path: Path) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(history, folder)
    for path in snapshots.paths(folder):
        data = bytearray(path.read_bytes())
        for row in bytes_of.scan(bytes(data), 0):
            if isinstance(row, Framed) and msgpack.unpackb(row.payload).get("spec", {}).get("process_id") == "job1":
                data[data.index(row.payload) + 3] ^= 255
        path.write_bytes(data)
    found = recover(folder)
    assert set(found.touched) == {"job1"}
    assert ["'job1'" in str(each) for each in found.damage] == [True, True]
    jobs = dict(whole(history)[0])
    del jobs["job1"]
    assert jobs_of(found) == jobs


def test_damage_is_known_after_the_records_are_in_a_snapshot(history: Path, tmp_path: Path) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(history, folder)
    last = reading.segments(folder)[-2].path
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 255
    last.write_bytes(data)
    before = check(history, folder)
    assert before.touched

    async def main() -> None:
        journal = Journal(folder)
        found = await asyncio.to_thread(journal.open)
        cluster = Cluster(Fifo(), state=found.state)
        journal.start(lambda: cluster.state)
        assert journal._compacting is not None
        await journal._compacting
        await journal.close()

    run(main())
    after = recover(folder)
    assert after.damage == []
    assert after.touched == before.touched
    assert jobs_of(after) == jobs_of(before)
    assert [each for each in checking.check(folder).damage if each.first], "what is on the disk is still told"


def test_damage_while_a_master_runs_costs_nothing(tmp_path: Path) -> None:
    async def main() -> bytes:
        journal = Journal(tmp_path, 2048)
        await asyncio.to_thread(journal.open)
        world = World(Cluster(Fifo()), 2, journal)
        compacting = journal._compact
        journal._compact = lambda: None  # type: ignore[method-assign]
        journal.start(lambda: world.cluster.state)
        world.join()
        for number in range(3):
            world.submit(number)
            while world.step():
                pass
            await journal.settled()
        first = reading.segments(tmp_path)[0].path
        data = bytearray(first.read_bytes())
        data[len(data) // 2] ^= 255
        first.write_bytes(data)
        compacting()
        assert journal._compacting is not None
        await journal._compacting
        await journal.close()
        return repr(saving.save(world.cluster.state)).encode()

    state = run(main())
    found = recover(tmp_path)
    assert (found.damage, found.faults, found.touched) == ([], [], {})
    assert repr(saving.save(found.state)).encode() == state


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=200),
    name=st.sampled_from(["segment-00000000000000000001.log", "snapshot-00000000000000000007.state"]),
)
def test_rubbish_never_keeps_a_master_from_starting(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    folder = tmp_path_factory.mktemp("rubbish")
    (folder / name).write_bytes(data)
    found = recover(folder)
    assert not found.state.jobs
    assert bool(found.damage) == (bool(data) or name.startswith("snapshot"))
