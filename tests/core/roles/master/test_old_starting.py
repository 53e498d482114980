"""What becomes of EXEC of old clients (CYPHER/1): programs found, started, started again, or the reason why not."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.errors import BadInput, BlobDamaged, NoSuchTree
from discomputify_core.interfaces.files import UPLOADED
from discomputify_core.model.conf import Count, Inside
from discomputify_core.model.files import Digest, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_core.roles.master import old_starting
from discomputify_core.roles.starting import master_role
from discomputify_testkit.fakes.memory_store import MemoryStore
from discomputify_testkit.running import run, until

from .old_kit import WRITES, Old, ended, fake, put, trees, uploaded, when

Small = Callable[[], Any]


def test_one_part_runs_on_each_node_and_its_outputs_are_shown_before_it_reads_as_ended(
    small: Small, tmp_path: Path
) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            for name in ("n1", "n2"):
                await cluster.node(name)
            old, client = Old(cluster), cluster.client()
            await uploaded(cluster, WRITES)
            assert await old.says("EXEC") == {"n1": "STARTED", "n2": "STARTED"}
            answer = await when(lambda: ended(old), 20)
            assert answer.metadata == {"STATE": "done"}
            assert await trees(cluster) == {f"qwe_{part}_2": ["OUTPUT_PATH/sub/out.txt"] for part in (1, 2)}
            status = await client.status("qwe")
            assert dict(status.nodes) == {"n1": 1, "n2": 1}
            assert status.owner == "an old client at memory"
            await client.fetch("qwe", tmp_path / "home")
            assert (tmp_path / "home/qwe/qwe_2_2/sub/out.txt").read_text(encoding="utf-8") == "2 of 2 of qwe"
            assert (await client.why("qwe")).text == "qwe is done: all 2 parts are done"
            await client.clear("qwe")
            assert not cluster.store.contents.trees.get(ProcessId("qwe"))

    run(main(), 60)


def test_a_running_job_is_not_started_again_and_an_ended_one_is(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            node, other = await fake(cluster, "n1"), await fake(cluster, "n2")
            old = Old(cluster)
            await uploaded(cluster)
            assert await old.says("EXEC") == {"n1": "STARTED", "n2": "STARTED"}
            assert await old.says("EXEC") == {"n1": "ALREADY_RUNNING", "n2": "ALREADY_RUNNING"}
            (first,), (second,) = await node.told(), await other.told()
            await node.done(first, a="1")
            await other.done(second, b="2", c="3")
            await when(lambda: ended(old))
            before = await trees(cluster)
            assert before == {"qwe_1_2": ["OUTPUT_PATH/a"], "qwe_2_2": ["OUTPUT_PATH/b", "OUTPUT_PATH/c"]}
            assert await old.says("EXEC") == {"n1": "STARTED", "n2": "STARTED"}
            # What the first run wrote is not taken for outputs of the second, and the program is there still.
            assert await trees(cluster) == {"qwe_1_2": [], "qwe_2_2": []}
            (_, first), (_, second) = await node.told(2), await other.told(2)
            assert len(node.started) == len(other.started) == 2
            await node.done(first, d="4")
            await other.done(second)
            await when(lambda: ended(old))
            assert await trees(cluster) == {"qwe_1_2": ["OUTPUT_PATH/d"], "qwe_2_2": []}
            assert len(master.cluster.state.jobs) == 1

    run(main())


def test_two_at_once_start_one_job(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster, slots=8)
            await uploaded(cluster)
            olds = [Old(cluster) for _ in range(5)]
            answers = await asyncio.gather(*(old.says("EXEC") for old in olds))
            assert sorted(answer["n1"] for answer in answers) == ["ALREADY_RUNNING"] * 4 + ["STARTED"]
            assert len(await node.told()) == 1

    run(main())


def test_legacy_parts_says_how_many_parts_there_are_and_nodes_take_what_they_can(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            conf = {"legacy_parts": Count(5), "input_path": Inside("IN"), "output_path": Inside("OUT/here")}
            role = master_role(cluster.loaded(**conf), lasting=False)
            cluster._open.append(role)
            await role.start()
            node, other = await fake(cluster, "n1", 2), await fake(cluster, "n2", 3)
            await uploaded(cluster)
            assert await Old(cluster).says("EXEC") == {"n1": "STARTED", "n2": "STARTED"}
            starts = [*await node.told(2), *await other.told(3)]
            assert sorted(start.part for start in starts) == [1, 2, 3, 4, 5]
            status = await cluster.client().status("qwe")
            assert (status.input_path, status.output_path) == ("IN", "OUT/here")
            await node.done(starts[0], x="1")
            name = f"qwe_{starts[0].part}_5"

            async def shown() -> Any:
                return await trees(cluster) == {name: ["OUT/here/x"]}

            await until(shown)

    run(main())


async def _gather(self: MemoryStore, process_id: ProcessId) -> Digest:
    """A store that serves old clients: what they wrote is the tree "written"."""
    written = await self.manifest(process_id, await self.find(process_id, "written"))
    return await self.commit(process_id, UPLOADED, written)


def test_what_old_clients_wrote_is_started_wherever_its_main_py_is(
    small: Small, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(MemoryStore, "gather", _gather)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster)
            old, store, pid = Old(cluster), cluster.store, ProcessId("qwe")
            await uploaded(cluster, "by a new client")
            assert await old.says("EXEC") == {"n1": "STARTED"}
            await node.done(*await node.told())
            await when(lambda: ended(old))
            paths = ["dir/main.py", "dir/lib/main.py", "dir/discomputify_conf.json", "beside.py"]
            await store.commit(pid, "written", Manifest([await put(cluster, path, path) for path in paths]))
            assert await old.says("EXEC") == {"n1": "STARTED"}
            status = await cluster.client().status("qwe")
            manifest = await store.manifest(pid, Digest(status.tree))
            assert [entry.path for entry in manifest.entries] == ["lib/main.py", "main.py"]

    run(main())
    assert "1 uploaded files are not in the program's folder 'dir'" in caplog.text


def test_what_cannot_be_started_is_answered_with_the_reason_and_one_line_in_the_log(
    small: Small, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(old_starting, "FIRST_ANSWER", 0.05)

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            old, store, pid = Old(cluster), cluster.store, ProcessId("qwe")

            async def said() -> str:
                caplog.clear()
                answer = await old.asks("EXEC", {"PROCESS_ID": "qwe"})
                assert answer.data == {}
                assert not master.cluster.state.jobs
                assert len([each for each in caplog.records if each.levelname == "WARNING"]) == 1
                assert "an old client at memory asked to start 'qwe'" in caplog.text
                return str(answer.metadata["ERROR"])

            assert "No computing node is connected" in await said()
            await fake(cluster)
            nothing = await said()
            assert "Nothing was uploaded for 'qwe'" in nothing
            assert "does not serve old clients" in nothing
            await store.commit(pid, UPLOADED, Manifest([await put(cluster, "qwe/x.py", "x")]))
            assert "no main.py among the 1 files" in await said()
            files = [await put(cluster, path, "x") for path in ("main.py", "OUTPUT_PATH")]
            await store.commit(pid, UPLOADED, Manifest(files))
            assert "a file 'OUTPUT_PATH' where the folder" in await said()

            async def incomplete(self: MemoryStore, process_id: ProcessId) -> Digest:
                raise BadInput("'qwe/data' has 3 of 5 MB; upload it again.")

            monkeypatch.setattr(MemoryStore, "gather", incomplete)
            assert "3 of 5 MB" in await said()

            async def damaged(self: MemoryStore, process_id: ProcessId) -> Digest:
                raise BlobDamaged("'qwe/data' is damaged.")

            monkeypatch.setattr(MemoryStore, "gather", damaged)
            assert "'qwe/data' is damaged" in await said()

            async def silent(self: MemoryStore, process_id: ProcessId, tree: str) -> Digest:
                await asyncio.Event().wait()
                raise NoSuchTree

            monkeypatch.setattr(MemoryStore, "find", silent)
            assert "did not answer within" in await said()

    run(main())


def test_a_program_that_is_cleared_while_it_is_being_started_is_not_started(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_commit, given_clear = MemoryStore.commit, MemoryStore.clear
    committing, clearing, go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def commit(self: MemoryStore, pid: ProcessId, tree: str, manifest: Manifest) -> Digest:
        if committing.is_set():
            return await given_commit(self, pid, tree, manifest)
        committing.set()
        await clearing.wait()
        return await given_commit(self, pid, tree, manifest)

    async def clear(self: MemoryStore, process_id: ProcessId) -> None:
        clearing.set()
        await go.wait()
        await given_clear(self, process_id)

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            node = await fake(cluster)
            old, pid = Old(cluster), ProcessId("qwe")
            await uploaded(cluster)
            await old.says("EXEC")
            await node.done(*await node.told())
            await when(lambda: ended(old))
            monkeypatch.setattr(MemoryStore, "commit", commit)
            monkeypatch.setattr(MemoryStore, "clear", clear)
            asked = asyncio.ensure_future(old.asks("EXEC", {"PROCESS_ID": "qwe"}))
            await asyncio.wait_for(committing.wait(), 10)
            cleared = asyncio.ensure_future(cluster.client().clear("qwe"))
            answer = await asked
            assert answer.data == {}
            assert "was cleared while it was being started" in answer.metadata["ERROR"]
            go.set()
            await cleared
            assert not master.cluster.state.jobs
            assert not cluster.store.contents.trees.get(pid)

    run(main())
