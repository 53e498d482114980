"""The computing node as its master and its users see it: real programs, a master that goes and comes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.cluster.machine import Settings
from discomputify_core.edge.deadline import within
from discomputify_core.errors import JobError, NameTaken, Unreachable
from discomputify_core.model.codec import to_plain
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.job import End, JobState, Outcome, Request
from discomputify_core.model.message import Report, Start
from discomputify_core.roles.master.master import MasterNode
from discomputify_core.roles.node import computing
from discomputify_core.roles.node.computing import ComputingNode
from discomputify_core.roles.node.workspace import Workspace
from discomputify_testkit.fakes.memory_store import MemoryStore
from discomputify_testkit.running import run, until

Small = Callable[[], Any]

WRITES = """
import sys
with open("OUTPUT_PATH/part.txt", "w") as file:
    file.write(sys.argv[1])
"""
#: Says that it runs, and ends when it is told to.
WAITS = """
import pathlib, sys, time
place = pathlib.Path({place!r})
(place / f"running-{{sys.argv[1]}}").write_text("")
while not (place / "go").exists():
    time.sleep(0.01)
"""


def waits(place: Path) -> str:
    return WAITS.format(place=str(place))


def outcomes(master: MasterNode, monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """All ends of attempts that reach *master* from now on, as reported."""
    found: list[Outcome] = []
    handle = master.cluster.handle

    def noted(*batch: Any, now: float) -> Any:
        found.extend(event.outcome for event in batch if hasattr(event, "outcome"))
        return handle(*batch, now=now)

    monkeypatch.setattr(master.cluster, "handle", noted)
    return found


def cut(master: MasterNode) -> list[asyncio.Task[None]]:
    """Break the connections to all nodes."""
    return [asyncio.ensure_future(desk.peer.close()) for desk in list(master.desks.values())]


def test_parts_run_and_their_outputs_come_home(small: Small, tmp_path: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            await cluster.node()
            client = cluster.client()
            await client.submit(cluster.program(WRITES), 7, process_id="job")
            status = await client.wait("job", 30)
            assert (status.state, status.parts.done) == (JobState.DONE, 7)
            await client.fetch("job", tmp_path / "out")
            texts = {(tmp_path / f"out/job/job_{n}_7/part.txt").read_text() for n in range(1, 8)}
            assert texts == {str(n) for n in range(1, 8)}

    run(main(), 60)


def test_a_node_finds_a_master_that_comes_later(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            node = await cluster.node(join=False)
            with pytest.raises(Unreachable, match="did not answer"):
                await node.joined(0.05)
            await cluster.master()
            await node.joined(20)

    run(main(), 60)


def test_parts_go_on_while_the_connection_is_cut(small: Small, tmp_path: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            await cluster.node()
            client = cluster.client()
            await client.submit(cluster.program(waits(tmp_path)), 2, process_id="job")
            await until(lambda: (tmp_path / "running-1").exists() and (tmp_path / "running-2").exists())
            for _ in range(3):
                await asyncio.gather(*cut(master))
                await until(lambda: "n1" in master.desks)
            (tmp_path / "go").touch()
            status = await client.wait("job", 30)
            assert (status.state, status.failures) == (JobState.DONE, ())
            assert [a.number for a in await client.attempts("job", 1)] == [1]

    run(main(), 60)


def test_parts_that_wait_for_their_files_survive_a_cut(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on, calls = asyncio.Event(), asyncio.Event(), []
    given = MemoryStore.manifest

    async def slow(self: MemoryStore, *about: Any) -> Any:
        calls.append(about)
        if len(calls) == 2:  # the first one is the master's
            asked.set()
            await go_on.wait()
        return await given(self, *about)

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            await cluster.node()
            client = cluster.client()
            await client.submit(cluster.program(waits(tmp_path)), 1, process_id="first")
            await until(lambda: (tmp_path / "running-1").exists())
            monkeypatch.setattr(MemoryStore, "manifest", slow)
            await client.submit(cluster.program(WRITES), 2, process_id="second")
            await asked.wait()
            await asyncio.gather(*cut(master))
            await until(lambda: "n1" in master.desks)
            (tmp_path / "go").touch()  # its slot goes to the other part, whose job the node is told of again
            await until(lambda: len(master.cluster.job(ProcessId("second")).live) == 2)
            go_on.set()
            status = await client.wait("second", 30)
            assert (status.state, status.failures) == (JobState.DONE, ())
            assert [a.number for part in (1, 2) for a in await client.attempts("second", part)] == [1, 1]

    run(main(), 60)


def test_a_restarted_master_knows_no_job_and_nodes_end_its_parts(small: Small, tmp_path: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            first = await cluster.master()
            node = await cluster.node()
            client = cluster.client()
            await client.submit(cluster.program(waits(tmp_path)), 2, process_id="job")
            await until(lambda: (tmp_path / "running-1").exists() and (tmp_path / "running-2").exists())
            watching = asyncio.ensure_future(client.wait("job"))
            await first.close()
            second = await cluster.master()
            with pytest.raises(JobError, match=r"know.* 'job'"):
                await within(20, watching)
            await until(lambda: "n1" in second.desks and not node._attempts)
            await client.submit(cluster.program(WRITES), 3, process_id="next")
            assert (await client.wait("next", 30)).state is JobState.DONE
            assert second.cluster.state.nodes[node.node].free_cpus == 2

    run(main(), 60)


def test_a_job_is_stopped_while_its_files_are_fetched(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = asyncio.Event()

    async def stuck(self: MemoryStore, *about: Any) -> None:
        fetching.set()
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            await cluster.node()
            monkeypatch.setattr(MemoryStore, "get", stuck)
            client = cluster.client()
            await client.submit(cluster.program(WRITES), 2, process_id="job")
            await fetching.wait()
            status = await client.stop("job", 5)
            assert (status.state, status.parts.stopped) == (JobState.STOPPED, 2)

    run(main(), 60)


def test_a_planned_stop_costs_no_part_an_attempt(small: Small, tmp_path: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            node = await cluster.node()
            client = cluster.client()
            await client.submit(cluster.program(waits(tmp_path)), 2, process_id="job")
            await until(lambda: (tmp_path / "running-1").exists() and (tmp_path / "running-2").exists())
            await node.close()
            await node.close()  # idempotent
            assert master.cluster.state.nodes[node.node].state == "left"
            status = await client.status("job")
            assert (status.parts.ready, status.failures) == (2, ())
            (tmp_path / "go").touch()
            await cluster.node("n2")
            status = await client.wait("job", 30)
            assert (status.state, status.failures) == (JobState.DONE, ())

    run(main(), 60)


def test_a_second_live_node_of_a_name_is_refused(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "NAME_PATIENCE", 0.0)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            await cluster.node()
            second = await cluster.node(join=False, work_path=str(tmp_path / "w2"), cache_path=str(tmp_path / "c2"))
            with pytest.raises(NameTaken, match="'n1' is live at"):
                await second.joined(20)
            (live, refused) = await cluster.client().nodes()
            assert (live.name, live.state) == ("n1", "live")
            assert refused.state == "refused"

    run(main(), 60)


def test_a_part_of_an_unknown_job_is_reported_and_others_run(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            await cluster.node()
            reported = outcomes(master, monkeypatch)
            lost = Start(ProcessId("gone"), "key", AttemptId("gone.1.1.key"), 1, 1)
            await master.desks[next(iter(master.desks))].peer.push("node.work", {"start": [to_plain(lost)]})
            await until(lambda: reported)
            assert (reported[0].attempt, reported[0].end) == (lost.attempt, End.BROKEN)
            assert "never told what that is" in reported[0].reason
            client = cluster.client()
            await client.submit(cluster.program(WRITES), 2, process_id="job")
            assert (await client.wait("job", 30)).state is JobState.DONE

    run(main(), 60)


def test_a_work_folder_that_cannot_be_removed_loses_no_outcome(
    small: Small, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    removed = Workspace.remove

    def fails(self: Workspace) -> bool:
        removed(self)
        raise OSError("it is busy")

    monkeypatch.setattr(Workspace, "remove", fails)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            await cluster.node()
            client = cluster.client()
            await client.submit(cluster.program(WRITES), 2, process_id="job")
            assert (await client.wait("job", 30)).state is JobState.DONE

    run(main(), 60)
    assert "it is busy" in caplog.text


def test_a_bug_in_one_of_its_tasks_does_not_leave_a_node_that_only_looks_alive(
    small: Small, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tell = ComputingNode._tell
    failed: list[Report] = []

    async def fails_once(self: ComputingNode, report: Report) -> None:
        if not failed:
            failed.append(report)
            raise ZeroDivisionError("a bug")
        await tell(self, report)

    monkeypatch.setattr(ComputingNode, "_tell", fails_once)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            await cluster.node()
            client = cluster.client()
            await client.submit(cluster.program(WRITES), 2, process_id="job")
            assert (await client.wait("job", 30)).state is JobState.DONE

    run(main(), 60)
    assert "goes on after a bug" in caplog.text


def test_logs_of_a_running_part_are_read_live(small: Small, tmp_path: Path) -> None:
    text = "print('begun', flush=True)\n" + waits(tmp_path) + "print('ended')"

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            await cluster.node()
            client = cluster.client()
            await client.submit(cluster.program(text), 1, process_id="job")
            await until(lambda: (tmp_path / "running-1").exists())
            pieces = client.logs("job", 1, follow=True)
            assert (await pieces.__anext__()).replace(b"\r", b"") == b"begun\n"
            (tmp_path / "go").touch()
            rest = b"".join([piece async for piece in pieces])
            assert rest.replace(b"\r", b"") == b"ended\n"
            assert [piece async for piece in client.logs("job", 1, stream="err")] == []

    run(main(), 60)


def test_resources_are_handed_out_by_number(small: Small, tmp_path: Path) -> None:
    text = "import os\nopen('OUTPUT_PATH/n', 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])\n" + waits(tmp_path)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            await cluster.node(resources={"gpu": 2})
            client = cluster.client()
            await client.submit(cluster.program(text), 2, process_id="job", request=Request(needs={"gpu": 1}))
            await until(lambda: (tmp_path / "running-1").exists() and (tmp_path / "running-2").exists())
            (tmp_path / "go").touch()
            assert (await client.wait("job", 30)).state is JobState.DONE
            await client.fetch("job", tmp_path / "out")
            assert {(tmp_path / f"out/job/job_{part}_2/n").read_text() for part in (1, 2)} == {"0", "1"}

    run(main(), 60)


def test_a_silent_node_is_fenced_and_its_parts_run_elsewhere(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master(Settings(lease=3.0))
            lost = await cluster.node("n1")
            client = cluster.client()
            await client.submit(cluster.program(waits(tmp_path)), 1, process_id="job")
            await until(lambda: (tmp_path / "running-1").exists())
            (tmp_path / "running-1").unlink()
            monkeypatch.setattr(lost._heart, "_every", 60.0)
            other = asyncio.ensure_future(cluster.node("n2"))
            await until(lambda: master.cluster.state.nodes[lost.node].state == "lost", 20)
            await other
            await until(lambda: (tmp_path / "running-1").exists(), 20)
            (tmp_path / "go").touch()
            status = await client.wait("job", 30)
            assert status.state is JobState.DONE
            assert [(a.number, a.end) for a in await client.attempts("job", 1)] == [(1, "lost"), (2, "done")]

    run(main(), 90)


def test_a_part_that_is_done_leaves_no_checkpoint(small: Small) -> None:
    keeps = """
import os, sys
from discomputify_core import program
open(os.environ["DISCOMPUTIFY_CHECKPOINT_PATH"] + "/state", "w").write("x" * 1000 + sys.argv[1])
program.checkpoint()
sys.exit(program.part() == 2)
"""

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await cluster.node()
            client = cluster.client()
            await client.submit(cluster.program(keeps), 2, process_id="job", retries=0)
            await client.wait("job", 30)
            assert node._tools is not None

            def left() -> set[str]:
                trees = node._tools.store.contents.trees[ProcessId("job")]
                return {name for name in trees if name.startswith("checkpoint/")}

            # The one that failed keeps its own until the job is cleared.
            await until(lambda: left() == {"checkpoint/2.0"})

    run(main(), 60)


COUNTS = """
import os, pathlib, time
from discomputify_core import program
place = pathlib.Path({place!r})
state = pathlib.Path(os.environ["DISCOMPUTIFY_CHECKPOINT_PATH"], "step")
begin = int(state.read_text()) if state.exists() else 0
for step in range(begin, 10):
    with (place / "steps").open("a") as file:
        file.write(str(step) + "\\n")
    state.write_text(str(step + 1))
    program.checkpoint()
    while step == 5 and not (place / "go").exists():
        (place / "half").touch()
        time.sleep(0.01)
"""


def test_a_part_goes_on_elsewhere_from_its_checkpoint(small: Small, tmp_path: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            first = await cluster.node("n1")
            client = cluster.client()
            await client.submit(cluster.program(COUNTS.format(place=str(tmp_path))), 1, process_id="job")
            await until(lambda: (tmp_path / "half").exists(), 30)
            assert await first._reports.drained(10)
            await cluster.node("n2")
            await first.close()
            (tmp_path / "go").touch()
            assert (await client.wait("job", 30)).state is JobState.DONE
            steps = (tmp_path / "steps").read_text().split()
            assert steps == [str(step) for step in range(10)]
            assert [(each.number, each.end) for each in await client.attempts("job", 1)] == [(2, "done")]

    run(main(), 60)
