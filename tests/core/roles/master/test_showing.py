"""Outputs of jobs that old clients (CYPHER/1) start: shown before a job reads as ended, hidden before its next run."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from discomputify_core.errors import Unreachable
from discomputify_core.interfaces.files import SHOWN
from discomputify_core.model.events import JobClearAsked
from discomputify_core.model.files import Digest, Entry, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import End, JobState
from discomputify_core.model.old_clients import OldAnswer
from discomputify_core.roles.master import showing
from discomputify_core.roles.master.old_starting import OldJobs
from discomputify_core.roles.master.showing import shown_outputs
from discomputify_testkit.fakes.memory_store import MemoryStore
from discomputify_testkit.running import run, until

from .old_kit import FakeNode, Old, away, ended, fake, shows, trees, uploaded, when

Small = Callable[[], Any]


def test_outputs_of_an_ended_job_are_shown_again_if_it_cannot_be_started_again(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node, other = await fake(cluster, "n1"), await fake(cluster, "n2")
            old = Old(cluster)
            await uploaded(cluster)
            await old.says("EXEC")
            await node.done((await node.told())[0], a="1")
            await other.done((await other.told())[0], b="2")
            await when(lambda: ended(old))
            before = await trees(cluster)
            given = MemoryStore.commit

            async def half(self: MemoryStore, pid: ProcessId, tree: str, manifest: Manifest) -> Digest:
                if tree == f"{SHOWN}qwe_2_2" and not manifest.entries:
                    raise Unreachable("no store at store:1")
                return await given(self, pid, tree, manifest)

            monkeypatch.setattr(MemoryStore, "commit", half)
            assert (await old.asks("EXEC", {"PROCESS_ID": "qwe"})).metadata == {"ERROR": "no store at store:1"}

            async def as_before() -> Any:
                return await trees(cluster) == before

            await until(as_before)
            assert (await when(lambda: ended(old))).metadata == {"STATE": "done"}

    run(main())


def test_it_reads_as_under_way_until_all_outputs_are_shown(
    small: Small, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(showing, "AGAIN", 0.02)
    monkeypatch.setattr(showing, "CATCH_UP", 0.05)
    gone = away(monkeypatch, "commit", shows)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master(old_jobs=OldJobs(parts=7))
            node, other = await fake(cluster, "n1", 6), await fake(cluster, "n2", 1)
            old = Old(cluster)
            await uploaded(cluster)
            await old.says("EXEC")
            for start in await node.told(6):
                await node.done(start, x=str(start.part))
            client = cluster.client()
            await other.done(*await other.told(), y="last")
            assert (await client.wait("qwe", 10)).state is JobState.DONE
            answer = await when(lambda: waiting(old))
            assert answer.data == {"n1": True, "n2": True}
            assert answer.metadata["STATE"] == "done"
            # Another run would replace what is not even shown yet.
            refused = await old.asks("EXEC", {"PROCESS_ID": "qwe"})
            assert "has not finished with the earlier run" in refused.metadata["ERROR"]
            gone.clear()
            answer = await when(lambda: ended(old))
            assert answer.metadata == {"STATE": "done"}
            assert sorted(await trees(cluster)) == [f"qwe_{part}_7" for part in range(1, 8)]

    run(main())
    assert len([each for each in caplog.records if "wait for the store" in each.message]) == 1


async def waiting(old: Old) -> OldAnswer | None:
    """The answer to READ_PROCESS_STATUS once outputs wait for the store."""
    answer = await old.asks("READ_PROCESS_STATUS", {"PROCESS_ID": "qwe"})
    return answer if "wait for the store: no store" in answer.metadata.get("REASON", "") else None


def test_a_job_that_failed_and_outputs_that_cannot_be_shown_are_told_with_the_reason(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node, other = await fake(cluster, "n1"), await fake(cluster, "n2")
            old = Old(cluster)
            await uploaded(cluster)
            await old.says("EXEC")
            (first,), (second,) = await node.told(), await other.told()
            await other.ended(second, End.DONE, "blake2b:" + "0" * 64)  # a tree that the store does not have
            answered = {second.attempt}

            async def failed() -> OldAnswer | None:
                for each, start in [(fake, start) for fake in (node, other) for start in fake.started]:
                    if start.attempt not in answered:
                        answered.add(start.attempt)
                        await each.ended(start, End.EXIT)
                return await ended(old)

            answer = await when(failed)
            assert answer.data == {"n1": False, "n2": False}
            assert answer.metadata["STATE"] == "failed"
            assert f"part {first.part} failed after 3 attempts" in answer.metadata["REASON"]
            assert f"outputs of part {second.part} cannot be shown" in answer.metadata["REASON"]

    run(main())


def test_outputs_whose_path_becomes_too_long_are_named() -> None:
    long = "/".join(["d" * 250] * 4)
    digest = "blake2b:" + "0" * 64
    kept = Manifest(
        [
            Entry("logs/out", 1, digest),
            Entry("collected/x", 1, digest),
            Entry(f"outputs/{long}/{'f' * 12}", 1, digest),
            Entry("outputs/a b/c", 1, digest, executable=True),
            Entry("outputs/empty", folder=True),
        ]
    )
    tree, left_out = shown_outputs(kept, "OUTPUT_PATH")
    assert [entry.path for entry in tree.entries] == ["OUTPUT_PATH/a b/c", "OUTPUT_PATH/empty"]
    assert tree.entries[0].executable
    (said,) = left_out
    assert "longer than 1024 bytes" in said


def test_nothing_is_shown_of_a_job_that_was_cleared_meanwhile(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    given, reached, go = MemoryStore.commit, asyncio.Event(), asyncio.Event()

    async def slow(self: MemoryStore, pid: ProcessId, tree: str, manifest: Manifest) -> Digest:
        if tree.startswith(SHOWN):
            reached.set()
            await go.wait()
        return await given(self, pid, tree, manifest)

    monkeypatch.setattr(MemoryStore, "commit", slow)

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            node = await fake(cluster)
            old = Old(cluster)
            await uploaded(cluster)
            await old.says("EXEC")
            await node.done((await node.told())[0], x="1")
            await asyncio.wait_for(reached.wait(), 10)
            cleared = asyncio.ensure_future(cluster.client().clear("qwe"))
            await until(lambda: master.clearing)
            assert not cleared.done()
            go.set()
            await cleared
            assert not cluster.store.contents.trees.get(ProcessId("qwe"))
            assert not master.showings._jobs

    run(main())


def test_a_commit_that_hangs_does_not_keep_a_job_from_being_cleared(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "LAST_COMMIT", 0.05)
    given, reached = MemoryStore.commit, asyncio.Event()

    async def hangs(self: MemoryStore, pid: ProcessId, tree: str, manifest: Manifest) -> Digest:
        if tree.startswith(SHOWN):
            reached.set()
            await asyncio.Event().wait()
        return await given(self, pid, tree, manifest)

    monkeypatch.setattr(MemoryStore, "commit", hangs)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster)
            old = Old(cluster)
            await uploaded(cluster)
            await old.says("EXEC")
            await node.done((await node.told())[0], x="1")
            await asyncio.wait_for(reached.wait(), 10)
            assert await old.says("CLEAR_DATA") == {"PROCESS_ID": "qwe"}
            assert not cluster.store.contents.trees.get(ProcessId("qwe"))

    run(main())


async def run_once(cluster: Any, old: Old, *nodes: FakeNode) -> None:
    """Start what was uploaded and let each node's part be done, with one output."""
    before = [len(node.started) for node in nodes]
    assert set((await old.says("EXEC")).values()) == {"STARTED"}
    for node, had in zip(nodes, before, strict=True):
        await node.done((await node.told(had + 1))[-1], x=f"{node.name} {had}")
    await when(lambda: ended(old))


def test_what_an_earlier_master_showed_is_not_taken_for_outputs_of_the_next_run(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            first = await cluster.master()
            node, other = await fake(cluster, "n1"), await fake(cluster, "n2")
            await uploaded(cluster)
            await run_once(cluster, Old(cluster), node, other)
            assert await trees(cluster) == {"qwe_1_2": ["OUTPUT_PATH/x"], "qwe_2_2": ["OUTPUT_PATH/x"]}
            await first.close()
            await cluster.master()
            again, old = await fake(cluster, "n3"), Old(cluster)  # one node, so another number of parts
            assert await old.says("EXEC") == {"n3": "STARTED"}
            assert await trees(cluster) == {"qwe_1_2": [], "qwe_2_2": []}
            await again.done(*await again.told(), y="1")
            await when(lambda: ended(old))
            assert await trees(cluster) == {"qwe_1_2": [], "qwe_2_2": [], "qwe_1_1": ["OUTPUT_PATH/y"]}

    run(main())


def test_what_was_shown_is_hidden_when_a_new_client_starts_the_program_again(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster)
            old, client = Old(cluster), cluster.client()
            await uploaded(cluster)
            await run_once(cluster, old, node)
            gone = away(monkeypatch, "commit", shows)
            with pytest.raises(Unreachable, match="no store at store:1"):
                await client.start("qwe", 1, replace=True)
            assert (await client.status("qwe")).state is JobState.DONE  # it is not forgotten then
            gone.clear()
            await when(lambda: ended(old))
            await client.start("qwe", 1, replace=True)
            assert await trees(cluster) == {"qwe_1_1": []}
            await node.done((await node.told(2))[1], z="1")
            assert await trees(cluster) == {"qwe_1_1": []}
            await run_once(cluster, old, node)
            assert await trees(cluster) == {"qwe_1_1": ["OUTPUT_PATH/x"]}

    run(main())


def test_outputs_of_a_job_that_somebody_else_started_meanwhile_are_not_hidden(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, reached, go = MemoryStore.find, asyncio.Event(), asyncio.Event()

    async def slow(self: MemoryStore, pid: ProcessId, tree: str) -> Digest:
        if tree.startswith(SHOWN) and not go.is_set():
            reached.set()
            await go.wait()
        return await given(self, pid, tree)

    async def main() -> None:
        async with small() as cluster:
            master = await cluster.master()
            node = await fake(cluster)
            old = Old(cluster)
            await uploaded(cluster)
            await run_once(cluster, old, node)
            monkeypatch.setattr(MemoryStore, "find", slow)
            hiding = asyncio.ensure_future(master.showings.hide(ProcessId("qwe")))
            await asyncio.wait_for(reached.wait(), 10)
            master.flush(JobClearAsked(ProcessId("qwe"), keep_files=True))
            go.set()
            await hiding
            assert await trees(cluster) == {"qwe_1_1": ["OUTPUT_PATH/x"]}

    run(main())
