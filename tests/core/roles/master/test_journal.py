"""The journal: its bytes under any damage, its files over restarts, and what a full disk does to it."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discomputify_core.cluster import saving
from discomputify_core.cluster.machine import Cluster
from discomputify_core.edge import places
from discomputify_core.errors import BadConf
from discomputify_core.interfaces.transport import Address
from discomputify_core.model import events as ev
from discomputify_core.model.commands import StartPart
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec, Outcome, PartState
from discomputify_core.model.node import NodeFacts
from discomputify_core.model.records import Record
from discomputify_core.plugins.fifo import Fifo
from discomputify_core.roles.master.journal import compact, migration, reading, snapshots, writing
from discomputify_core.roles.master.journal import folder as folders
from discomputify_core.roles.master.journal import format as bytes_of
from discomputify_core.roles.master.journal.format import Broken, Framed
from discomputify_core.roles.master.journal.journal import Journal
from discomputify_core.roles.master.journal.recovery import recover
from discomputify_testkit.running import run, until

NODE = NodeName("a")
DIGEST = "blake3:" + "cd" * 32

framed = st.lists(
    st.tuples(st.lists(st.text(min_size=1, max_size=8), max_size=3), st.binary(max_size=60)), min_size=1, max_size=12
).map(lambda rows: [Framed(at, tuple(jobs), payload) for at, (jobs, payload) in enumerate(rows, start=1)])


def segment(records: list[Framed]) -> bytes:
    return bytes_of.segment_header(1) + b"".join(map(bytes_of.frame, records))


@given(records=framed)
def test_records_come_back_as_they_were(records: list[Framed]) -> None:
    data = segment(records)
    assert bytes_of.read_header(data) == (bytes_of.FORMAT, 1)
    assert list(bytes_of.scan(data)) == records


@given(records=framed, data=st.data())
def test_a_cut_costs_what_is_behind_it(records: list[Framed], data: st.DataObject) -> None:
    whole = segment(records)
    cut = data.draw(st.integers(bytes_of.HEADER, len(whole)))
    found = list(bytes_of.scan(whole[:cut]))
    kept = [each for each in found if isinstance(each, Framed)]
    assert kept == records[: len(kept)]
    ends = [len(segment(records[:count])) for count in range(len(records) + 1)]
    assert len(kept) == max(count for count, end in enumerate(ends) if end <= cut)
    broken = [each for each in found if isinstance(each, Broken)]
    assert len(broken) == (cut not in ends)
    assert all(each.torn for each in broken)


@settings(max_examples=200)
@given(records=framed, data=st.data())
def test_flipped_bytes_cost_the_records_they_hit(records: list[Framed], data: st.DataObject) -> None:
    spoilt = bytearray(segment(records))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(bytes_of.HEADER, len(spoilt) - 1))
        spoilt[at] ^= data.draw(st.integers(1, 255))
    starts = [len(segment(records[:count])) for count in range(len(records) + 1)]
    hit = {
        records[count].number
        for count in range(len(records))
        if spoilt[starts[count] : starts[count + 1]] != segment(records)[starts[count] : starts[count + 1]]
    }
    found = list(bytes_of.scan(bytes(spoilt)))
    kept = {each.number for each in found if isinstance(each, Framed)}
    assert kept == {each.number for each in records} - hit
    for each in found:
        if isinstance(each, Broken) and each.number is not None:
            assert each.number in hit
            assert each.jobs == records[each.number - 1].jobs


class Life:
    """A cluster whose records are written to a folder, job after job."""

    def __init__(self, folder: Path, segment_bytes: int = 4096) -> None:
        self.folder = folder
        self.journal = Journal(folder, segment_bytes)
        self.cluster = Cluster(Fifo())
        self.now = 0.0

    async def begin(self) -> None:
        found = await asyncio.to_thread(self.journal.open)
        self.cluster = Cluster(Fifo(), state=found.state)
        self.now = found.state.recorded
        self.journal.start(lambda: self.cluster.state)
        if found.next > 1:
            self.do(ev.MasterStarted(self.now))

    def do(self, *events: ev.Event) -> list[StartPart]:
        self.now += 1.0
        commands = self.cluster.handle(*events, now=self.now)
        if self.cluster.record is not None:
            self.journal.append(self.cluster.record)
        return [command for command in commands if isinstance(command, StartPart)]

    def join(self) -> None:
        self.do(ev.NodeJoined(NodeFacts(NODE, 4, session="s"), wall=self.now))

    def job(self, name: str, parts: int = 6) -> None:
        """A job from its submission to its end."""
        spec = JobSpec(ProcessId(name), "key", parts, DIGEST)
        self.do(ev.JobSubmitted(spec, self.now))
        starts = self.do(ev.TreeChecked(spec.process_id, "key"))
        while starts:
            start = starts.pop(0)
            self.do(ev.AttemptStarted(NODE, start.attempt, self.now))
            starts += self.do(ev.AttemptEnded(NODE, Outcome(start.attempt, End.DONE, manifest=DIGEST), self.now))


def lived(folder: Path, jobs: int, segment_bytes: int = 4096) -> Life:
    """A life of *jobs* jobs, at its end."""
    life = Life(folder, segment_bytes)

    async def main() -> None:
        await life.begin()
        life.join()
        for number in range(jobs):
            life.job(f"job{number}")
            await life.journal.settled()
        await life.journal.close()

    run(main())
    return life


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    life = lived(tmp_path, 8)
    assert len(reading.segments(tmp_path)) > 2
    found = recover(tmp_path)
    assert (found.damage, found.faults, found.touched) == ([], [], {})
    assert saving.save(found.state) == saving.save(life.cluster.state)
    again = Life(tmp_path)

    async def main() -> None:
        await again.begin()
        again.job("later")
        await again.journal.settled()
        await again.journal.close()

    run(main())
    assert saving.save(recover(tmp_path).state) == saving.save(again.cluster.state)


def test_snapshots_take_the_place_of_old_segments(tmp_path: Path) -> None:
    for number in range(4):
        lived(tmp_path, 4) if not number else _more(tmp_path, number)
        before = saving.save(recover(tmp_path).state)
        compact.compact(tmp_path)
        assert saving.save(recover(tmp_path).state) == before
    kept = snapshots.paths(tmp_path)
    assert len(kept) == 2
    first = reading.segments(tmp_path)[0].first
    assert first > 1, "segments that nobody needs are removed"
    kept[-1].write_bytes(kept[-1].read_bytes()[:-3])
    found = recover(tmp_path)
    assert [str(kept[-1]) in str(each) for each in found.damage] == [True]
    assert saving.save(found.state) == before


def _more(folder: Path, number: int) -> None:
    life = Life(folder)

    async def main() -> None:
        await life.begin()
        life.join()
        for each in range(3):
            life.job(f"more{number}.{each}")
            await life.journal.settled()
        await life.journal.close()

    run(main())


def test_jobs_that_damage_does_not_touch_are_intact(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    lived(whole, 40, 16384)
    files = {segment.path.name: segment.path.read_bytes() for segment in reading.segments(whole)}
    assert len(files) > 2
    chance = random.Random(5)
    for turn in range(50):
        folder = tmp_path / f"damaged-{turn}"
        folder.mkdir()
        name = chance.choice(sorted(files))
        for each, data in files.items():
            spoilt = bytearray(data)
            if each == name and turn % 2:
                spoilt[chance.randrange(len(spoilt))] ^= chance.randrange(1, 256)
            elif each == name:
                del spoilt[chance.randrange(len(spoilt)) :]
            (folder / each).write_bytes(spoilt)
        found = recover(folder)
        lost = {number for each in found.damage if each.first for number in range(each.first, each.last + 1)}
        hit = jobs_of_records(files, lost | beyond(files, found.next))
        for number in range(40):
            if f"job{number}" in hit:
                continue
            job = found.state.jobs[ProcessId(f"job{number}")]
            assert job.ended
            assert job.parts.count(PartState.DONE) == 6, (turn, job.id, found.damage, found.faults)
        if lost:
            assert found.touched.keys() <= hit
            assert all(str(each) for each in found.damage)


def jobs_of_records(files: dict[str, bytes], numbers: set[int]) -> set[str]:
    rows = [each for data in files.values() for each in bytes_of.scan(data) if isinstance(each, Framed)]
    return {job for each in rows if each.number in numbers for job in each.jobs}


def beyond(files: dict[str, bytes], following: int) -> set[int]:
    rows = [each for data in files.values() for each in bytes_of.scan(data) if isinstance(each, Framed)]
    return {each.number for each in rows if each.number >= following}


def test_a_newer_format_is_refused_and_untouched_an_older_one_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(tmp_path / "journal", 1)
    (first, *_) = reading.segments(tmp_path / "journal")
    data = first.path.read_bytes()
    monkeypatch.setattr(bytes_of, "FORMAT", bytes_of.FORMAT + 1)
    done: list[Path] = []
    copy = migration.migrate(tmp_path / "journal", {bytes_of.FORMAT - 1: done.append})
    assert done == [tmp_path / "journal"]
    assert copy is not None
    assert (copy / first.path.name).read_bytes() == data
    monkeypatch.setattr(bytes_of, "FORMAT", 0)
    with pytest.raises(BadConf, match="newer release"):
        Journal(tmp_path / "journal").open()
    assert first.path.read_bytes() == data


def test_a_full_disk_is_said_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = False
    write = os.write

    def write_if_there_is_room(file: int, data: bytes) -> int:
        if full:
            written = write(file, bytes(data)[:7])  # part of it still fits
            assert written
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data)

    monkeypatch.setattr(os, "write", write_if_there_is_room)
    monkeypatch.setattr(writing, "AGAIN", 0.02)
    life = Life(tmp_path)

    async def main() -> None:
        nonlocal full
        await life.begin()
        life.join()
        await life.journal.settled()
        full = True
        life.job("waits")
        waiting = asyncio.ensure_future(life.journal.settled())
        await until(lambda: life.journal.fault)
        assert "space" in life.journal.fault
        assert not waiting.done()
        full = False
        await waiting
        assert life.journal.fault == ""
        await life.journal.close()

    run(main())
    found = recover(tmp_path)
    assert (found.damage, found.faults) == ([], [])
    assert saving.save(found.state) == saving.save(life.cluster.state)


def test_what_waits_for_records_is_done_in_order_once_they_are_written(tmp_path: Path) -> None:
    async def main() -> None:
        journal = Journal(tmp_path)
        await asyncio.to_thread(journal.open)
        journal.start(lambda: Cluster(Fifo()).state)
        done: list[int] = []
        for number in range(200):
            if number % 3:
                journal.append(Record(float(number)))
            journal.after(lambda number=number: done.append(number))  # type: ignore[misc]
        await journal.settled()
        assert done == list(range(200))
        await journal.close()

    run(main())


def test_one_master_for_each_folder_and_no_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = folders.place(str(tmp_path), Address("127.0.0.1", 5))
    assert here.parent == tmp_path
    journal = Journal(here)
    journal.open()
    with pytest.raises(BadConf, match="another master"):
        Journal(here).open()
    run(journal.close())
    monkeypatch.setattr(folders, "disk", lambda path: places.Disk("nfs4", "/net", 1, 2))
    with pytest.raises(BadConf, match="network file system"):
        folders.place(str(tmp_path), Address("127.0.0.1", 5))


def test_records_name_the_jobs_that_they_are_about(tmp_path: Path) -> None:
    lived(tmp_path, 2)
    rows = [each for part in reading.segments(tmp_path) for each in bytes_of.scan(part.path.read_bytes())]
    named = [each.jobs for each in rows if isinstance(each, Framed)]
    assert named[0] == ()
    assert {job for jobs in named for job in jobs} == {"job0", "job1"}
    assert AttemptId("job0.1.1.key").rsplit(".", 3)[0] == "job0"
