"""Shared memory through real nodes and a real master, with real programs: losses, and arrays of other nodes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from discomputify_core.edge.opening import Loaded, equip
from discomputify_core.model.conf import Name
from discomputify_core.model.ids import AttemptId
from discomputify_core.model.job import JobState, Request
from discomputify_core.model.memory import Member, Put, Value
from discomputify_core.roles.node import arrays_kept
from discomputify_core.roles.node.computing import ComputingNode
from discomputify_testkit.fakes.memory_shared import FakeSharedMemory
from discomputify_testkit.running import run, until

Small = Callable[[], Any]
KINDS = ("transport", "store", "shared_mem", "scheduler")

#: Part 1 shares an array, the others read it; all meet.
SHARES = """
import pathlib
from discomputify_core import program
memory = program.memory()
if program.part() == 1:
    memory["large"] = bytes(range(256)) * 8192
    memory["large"] = bytes(reversed(range(256))) * 8192
memory.barrier("written")
large = memory["large"]
memory.barrier("read")
pathlib.Path("OUTPUT_PATH/sum").write_text(str(sum(large[:256])) + " " + str(large[0]) + " " + str(len(large)))
"""
#: Waits for something that comes only in a second try.
WAITS = """
import pathlib
from discomputify_core import program
memory = program.memory()
memory.increment("here")
pathlib.Path({place!r}, f"{{program.part()}}-{{program.attempt()}}").write_text("")
if program.attempt() == 1:
    memory.get("never", wait=600)
memory.barrier("all")
"""


@asynccontextmanager
async def sharing(small: Small, nodes: int) -> AsyncIterator[tuple[Any, list[ComputingNode]]]:
    """A cluster whose conf names shared memory."""
    cluster = small()
    cluster.conf = attrs.evolve(cluster.conf, shared_mem=Name("memory"))

    def loaded(**changes: Any) -> Loaded:
        return equip(attrs.evolve(cluster.conf, **changes), KINDS)

    cluster.loaded = loaded
    async with cluster:
        await cluster.master(memory=table(cluster))
        yield cluster, [await cluster.node(f"n{number + 1}") for number in range(nodes)]


def table(cluster: Any) -> FakeSharedMemory:
    """What all roles' shared memory holds."""
    conf = cluster.loaded().conf
    return FakeSharedMemory(conf, conf.sections["memory"])


def folder(node: ComputingNode) -> Path | None:
    """The node's folder for large values, once there is one."""
    opened = node._memory.arrays._folder if node._memory is not None else None
    return opened.result().path if opened is not None and opened.done() else None


def folders(node: ComputingNode) -> list[Path]:
    """Folders of jobs with large values."""
    place = folder(node)
    return [path for path in place.iterdir() if path.is_dir()] if place is not None else []


def test_an_array_reaches_parts_on_all_nodes_and_goes_with_its_job(small: Small, tmp_path: Path) -> None:
    async def main() -> None:
        async with sharing(small, 2) as (cluster, nodes):
            client = cluster.client()
            await client.submit(cluster.program(SHARES), 4, process_id="job")
            status = await client.wait("job", 40)
            assert (status.state, status.failures) == (JobState.DONE, ())
            assert set(status.nodes) == {"n1", "n2"}
            await client.fetch("job", tmp_path / "out")
            texts = {(tmp_path / f"out/job/job_{n}_4/sum").read_text() for n in range(1, 5)}
            assert texts == {f"{sum(range(256))} 255 {256 * 8192}"}
            await until(lambda: not any(folders(node) for node in nodes))

    run(main(), 60)


def test_parts_that_used_a_lost_memory_run_again(small: Small, tmp_path: Path) -> None:
    async def main() -> None:
        async with sharing(small, 1) as (cluster, _):
            client = cluster.client()
            await client.submit(cluster.program(WAITS.format(place=str(tmp_path))), 2, process_id="job")
            await until(lambda: (tmp_path / "1-1").exists() and (tmp_path / "2-1").exists(), 20)
            table(cluster).lose("somebody pulled the plug")
            status = await client.wait("job", 40)
            assert status.state is JobState.DONE, status.reason
            assert [each.end for part in (1, 2) for each in await client.attempts("job", part)] == ["lost", "done"] * 2
            assert status.generation == 1

    run(main(), 60)


def test_other_nodes_can_still_have_what_a_node_kept_that_was_cut_off(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
import pathlib, time
from discomputify_core import program
memory, place = program.memory(), pathlib.Path({place!r})
if program.part() == 1:
    memory["large"] = bytes(2_000_000)
else:
    memory.get("small", wait=60)
    (place / "ready").write_text("")
    while not (place / "go").exists():
        time.sleep(0.01)
    assert memory["large"] == bytes(2_000_000)
"""
    monkeypatch.setattr(arrays_kept, "GRACE", 0.0)

    async def main() -> None:
        async with sharing(small, 2) as (cluster, nodes):
            (master,) = [each for each in cluster._open if hasattr(each, "desks")]
            client = cluster.client()
            await client.submit(
                cluster.program(program.format(place=str(tmp_path))), 2, process_id="job", request=Request(cpus=2)
            )
            await until(lambda: any(folders(node) for node in nodes), 20)
            job = master.cluster.state.jobs["job"]
            await until(lambda: sum(each.peer is not None for each in master.desks.values()) == 2)
            (home,) = [node for node in nodes if folders(node)]
            await until(lambda: all(part.part == 2 for part in job.live.values()), 20)
            old = master.desks[home.node].peer
            await old.close()  # its part is done: it knows of the job only by the files it keeps
            await until(lambda: home.node in master.desks and master.desks[home.node].peer is not old)
            scope = job.scope
            await table(cluster).do(Member(scope, AttemptId("other"), 1, 9, 2), Put("small", Value("json", b"1")))
            await until(lambda: (tmp_path / "ready").exists(), 20)
            (tmp_path / "go").touch()
            status = await client.wait("job", 40)
            assert (status.state, status.failures) == (JobState.DONE, ())

    run(main(), 60)


def test_a_node_that_stops_leaves_no_files(small: Small) -> None:
    async def main() -> None:
        async with sharing(small, 1) as (cluster, (node,)):
            client = cluster.client()
            await client.submit(
                cluster.program(
                    "from discomputify_core import program\n"
                    "program.memory()['x'] = bytes(2_000_000)\nprogram.memory().get('never', wait=600)"
                ),
                1,
                process_id="j",
            )
            await until(lambda: folders(node), 20)
            place = folder(node)
            assert place is not None
            await asyncio.wait_for(node.close(), 30)
            assert not place.exists()

    run(main(), 60)
