"""Jobs whose parts start again together, as those see it who bring outputs home or are shown them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from discomputify_core.model.codec import to_plain
from discomputify_core.model.events import MemoryTableLost
from discomputify_core.model.files import Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import End, JobSpec, JobState
from discomputify_core.model.message import Report, Start, UsesMemory
from discomputify_core.roles.master.master import MasterNode
from discomputify_core.roles.master.old_starting import OldJobs
from discomputify_testkit.running import run, until

from .old_kit import FakeNode, Old, ended, fake, trees, uploaded, when

Small = Callable[[], Any]


async def begun(cluster: Any) -> tuple[MasterNode, FakeNode, list[Start]]:
    """A master, a node, and a job of two parts that both run there."""
    master = await cluster.master()
    node = await fake(cluster)
    pid = ProcessId("job")
    tree = await cluster.store.commit(pid, "program", Manifest(()))
    client = cluster.client()
    await client._ask_bytes("job.submit", JobSpec(pid, "key", 2, tree))
    return master, node, list(await node.told(2))


async def use(node: FakeNode, start: Start) -> None:
    report = Report(uses_memory=(UsesMemory(start.attempt, "t"),))
    await node.link.call("node.report", to_plain(report), timeout=10)


async def again(master: MasterNode, node: FakeNode, starts: int) -> Start:
    """The memory is lost: the start of the part that used it, which comes as number *starts*."""
    master.flush(MemoryTableLost("t", "the shared memory was started again"))
    return (await node.told(starts))[starts - 1]


def held(folder: Path) -> dict[str, list[str]]:
    """What is home: the files of each part, and what was collected."""
    found = [each for each in (*folder.glob("job_*"), *folder.glob("collected/*")) if each.is_dir()]
    return {each.relative_to(folder).as_posix(): sorted(path.name for path in each.iterdir()) for each in found}


def test_a_part_that_is_done_again_replaces_what_was_fetched_of_it(small: Small, tmp_path: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            master, node, (one, two) = await begun(cluster)
            fetching = asyncio.create_task(cluster.client().fetch("job", tmp_path, follow=True))
            await use(node, one)
            await node.done(one, old="1")
            await until(lambda: held(tmp_path / "job") == {"job_1_2": ["old"]})
            second = await again(master, node, 3)
            assert (second.part, second.number, second.generation) == (1, 2, 1)
            await node.done(two, other="2")
            await node.done(second, new="3")
            fetched = await asyncio.wait_for(fetching, 10)
            assert (fetched.parts, held(tmp_path / "job")) == (2, {"job_1_2": ["new"], "job_2_2": ["other"]})
            assert (await cluster.client().status("job")).state is JobState.DONE

    run(main())


def test_what_was_fetched_of_a_part_that_is_not_done_any_more_is_removed(small: Small, tmp_path: Path) -> None:
    async def main() -> None:
        async with small() as cluster:
            master, node, (one, two) = await begun(cluster)
            await use(node, one)
            await node.done(one, old="1")
            client = cluster.client()
            assert (await client.fetch("job", tmp_path)).parts == 1
            mine = tmp_path / "job" / "mine.txt"
            mine.write_text("stays", encoding="utf-8")
            await again(master, node, 3)
            assert (await client.fetch("job", tmp_path)).parts == 0
            assert not held(tmp_path / "job")
            following = asyncio.create_task(client.fetch("job", tmp_path, follow=True))
            await node.done(two, other="2")
            await until(lambda: "job_2_2" in held(tmp_path / "job"))
            stopping = asyncio.create_task(client.stop("job"))
            await until(lambda: node.stopped)
            await node.ended(node.started[2], End.STOPPED)
            await asyncio.wait_for(stopping, 10)
            assert (await asyncio.wait_for(following, 10)).parts == 1
            assert held(tmp_path / "job") == {"job_2_2": ["other"]}
            assert mine.read_text(encoding="utf-8") == "stays"

    run(main())


def test_old_clients_are_not_shown_outputs_that_were_taken_back(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master(old_jobs=OldJobs(parts=2))
            node = await fake(cluster)
            old = Old(cluster)
            await uploaded(cluster)
            await old.says("EXEC")
            one, two = list(await node.told(2))
            await use(node, one)
            await node.done(one, old="1")

            async def shown() -> Any:
                return bool((await trees(cluster)).get("qwe_1_2"))

            async def hidden() -> Any:
                return not await shown()

            await until(shown)
            second = await again(master, node, 3)
            await until(hidden)
            await node.done(two, other="2")
            await node.done(second, new="3")
            await when(lambda: ended(old))
            found = await trees(cluster)
            assert found["qwe_1_2"] == ["OUTPUT_PATH/new"]
            assert found["qwe_2_2"] == ["OUTPUT_PATH/other"]

    run(main())
