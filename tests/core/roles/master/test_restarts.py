"""A master that is started again over its journal, and one that cannot write to it: as nodes and clients see it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.errors import StoreFull
from discomputify_core.model.codec import to_plain
from discomputify_core.model.files import Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobSpec, JobState
from discomputify_core.roles.master.journal import reading, writing
from discomputify_core.roles.master.journal.journal import Journal
from discomputify_core.roles.master.master import MasterNode
from discomputify_core.roles.master.old_starting import OldJobs
from discomputify_testkit.running import run, until

from .old_kit import FakeNode, Old, ended, fake, trees, uploaded, when

Small = Callable[[], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "journal"
    place.mkdir()
    return place


async def spec(cluster: Any, process_id: str, parts: int = 2) -> JobSpec:
    """A job whose program is in the store."""
    tree = await cluster.store.commit(ProcessId(process_id), "program", Manifest(()))
    return JobSpec(ProcessId(process_id), f"key-{process_id}", parts, tree)


async def submit(cluster: Any, process_id: str, parts: int = 2) -> None:
    await asked(cluster, "job.submit", to_plain(await spec(cluster, process_id, parts)))


async def asked(cluster: Any, operation: str, data: Any) -> Any:
    """The master's answer to a client."""
    client = cluster.client()
    try:
        return (await client._master.call(operation, data, timeout=20)).data
    finally:
        await client.close()


async def again(cluster: Any, master: MasterNode, folder: Path, **more: Any) -> MasterNode:
    """Another master in the place of *master*."""
    await master.close()
    cluster._open.remove(master)
    other: MasterNode = await cluster.master(journal=Journal(folder), **more)
    return other


async def back(node: FakeNode) -> None:
    """*node* joins the new master with all that it was told to start and has not ended."""
    await node.link.connect(10)


def test_a_node_goes_on_with_what_it_runs(small: Small, folder: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master(journal=Journal(folder))
            node = await fake(cluster, slots=2)
            await submit(cluster, "job", 3)
            first, second = await node.told(2)
            await node.done(first)
            third = (await node.told(3))[2]
            before = await cluster.client().status("job")
            node.attempts = (second.attempt, third.attempt)
            master = await again(cluster, master, folder)
            assert {each.state for each in master.cluster.state.nodes.values()} == {"away"}
            await back(node)
            status = await cluster.client().status("job")
            assert status.parts == before.parts
            assert status.version > before.version
            assert len(node.started) == 3
            await node.done(second)
            await node.done(third)
            assert (await cluster.client().wait("job", 5)).state is JobState.DONE
            assert len(node.started) == 3

    run(main())


def test_a_submission_is_known_once_it_was_answered_and_asked_again_is_the_same_job(small: Small, folder: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master(journal=Journal(folder))
            await submit(cluster, "job")
            assert [each.size > 100 for each in reading.segments(folder)] == [True], "it is on the disk by now"
            await again(cluster, master, folder)
            await submit(cluster, "job")
            assert [job.process_id for job in await cluster.client().jobs()] == ["job"]

    run(main())


def test_outputs_that_count_are_told_once_that_is_written_down(
    small: Small, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, go, waiting = os.fsync, threading.Event(), threading.Event()
    go.set()

    def held(file: int) -> None:
        if not go.is_set():
            waiting.set()
        go.wait(20.0)
        sync(file)

    monkeypatch.setattr(os, "fsync", held)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master(journal=Journal(folder))
            node, client = await fake(cluster, slots=2), cluster.client()
            await submit(cluster, "job", 2)
            first, _ = await node.told(2)
            about = {"process_id": "job"}
            await client._master.call("job.status", about, timeout=20)
            go.clear()
            try:
                reporting = asyncio.ensure_future(node.done(first))
                await until(waiting.is_set)
                asking = asyncio.ensure_future(client._master.call("job.outputs", about, timeout=20))
                await asyncio.sleep(0)
                # What is asked behind it is answered: that one part is done is known, and may still be lost.
                assert (await client._master.call("job.status", about, timeout=20)).data["parts"]["done"] == 1
                assert not asking.done()
            finally:
                go.set()
            assert len((await asking).data["outputs"]) == 1
            await reporting

    run(main())


def test_answers_do_not_wait_for_a_disk_that_stays_full(
    small: Small, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master(journal=Journal(folder))
            node, client = await fake(cluster, slots=2), cluster.client()
            await submit(cluster, "job", 2)
            first, _ = await node.told(2)

            def full(file: int) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(os, "fsync", full)
            reporting = asyncio.ensure_future(node.done(first))
            await until(lambda: bool(master.journal_fault))
            reply = await client._master.call("job.outputs", {"process_id": "job"}, timeout=20)
            assert len(reply.data["outputs"]) == 1
            monkeypatch.undo()
            await reporting

    run(main())


def test_outputs_of_old_clients_jobs_are_shown_after_a_restart(small: Small, folder: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master(journal=Journal(folder), old_jobs=OldJobs(parts=2))
            node = await fake(cluster)
            await uploaded(cluster)
            await Old(cluster).says("EXEC")
            first, second = await node.told(2)
            await node.done(first, a="1")
            node.attempts = (second.attempt,)
            await again(cluster, master, folder, old_jobs=OldJobs(parts=2))
            await back(node)
            await node.done(second, b="2")
            old = Old(cluster)
            await when(lambda: ended(old))
            shown = await trees(cluster)
            assert shown["qwe_1_2"] == ["OUTPUT_PATH/a"]
            assert shown["qwe_2_2"] == ["OUTPUT_PATH/b"]

    run(main())


def test_while_nothing_can_be_written_nothing_is_accepted_and_it_is_said(
    small: Small, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, write = [False], os.write

    def write_if_there_is_room(file: int, data: bytes) -> int:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data)

    monkeypatch.setattr(writing, "AGAIN", 0.02)

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master(journal=Journal(folder))
            node = await fake(cluster)
            await submit(cluster, "before", 3)
            first = (await node.told(2))[0]
            monkeypatch.setattr(os, "write", write_if_there_is_room)
            full[0] = True
            reporting = master.spawn(node.done(first))
            await until(lambda: master.journal.fault)
            with pytest.raises(StoreFull, match="MASTER_PATH"):
                await submit(cluster, "refused")
            client = cluster.client()
            why = await client.why("before")
            assert "MASTER_PATH" in " ".join(why.details)
            assert "MASTER_PATH" in " ".join((await client.why("before", 2)).details)
            assert "MASTER_PATH" in (await client.nodes())[0].reason
            assert "MASTER_PATH" in (await client.info()).journal
            assert not reporting.done()
            assert len(node.started) == 2, "what is not written down is not carried out"
            full[0] = False
            await reporting
            await node.told(3)
            await submit(cluster, "after")
            assert (await client.info()).journal == ""

    run(main())


def test_what_a_job_lost_is_said(small: Small, folder: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master(journal=Journal(folder))
            node = await fake(cluster, slots=4)
            await submit(cluster, "whole", 1)
            await submit(cluster, "spoilt", 1)
            one, two = await node.told(2)
            await node.done(two)
            await master.close()
            (segment,) = reading.segments(folder)
            data = bytearray(segment.path.read_bytes())
            data[data.rindex(two.attempt.encode())] ^= 1
            segment.path.write_bytes(data)
            node.attempts = (one.attempt,)
            await again(cluster, master, folder)
            await back(node)
            client = cluster.client()
            assert "journal was damaged" in " ".join((await client.status("spoilt")).warnings)
            assert "journal was damaged" in " ".join((await client.why("spoilt")).details)
            assert (await client.status("whole")).warnings == ()
            await node.done((await node.told(3))[2])
            assert (await client.wait("spoilt", 5)).state is JobState.DONE

    run(main())
