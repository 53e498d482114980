"""Outputs of jobs that become inputs of the job that follows them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from discomputify_core.errors import BadInput, NoSuchTree, Unreachable
from discomputify_core.model.files import Digest, Entry, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobSpec, JobState
from discomputify_core.roles.master import gathering
from discomputify_testkit.fakes.memory_store import MemoryStore
from discomputify_testkit.running import run, until

from .old_kit import FakeNode, fake

Small = Callable[[], Any]


async def follows(cluster: Any, *before: str, parts: int = 1, **how: Any) -> Any:
    """A client, and the job 'b' submitted to take inputs from jobs."""
    client = cluster.client()
    await client.submit(cluster.program("", own="mine"), parts, process_id="b", inputs_from=before, **how)
    return client


async def tree_of(cluster: Any, node: FakeNode, number: int) -> Manifest:
    """The tree of the job 'b', once its first part was started as number *number* on the node."""
    await node.told(number)
    status = await cluster.client().status("b")
    found: Manifest = await cluster.store.manifest(ProcessId("b"), Digest(status.tree))
    return found


def test_outputs_are_joined_with_the_program_in_the_folders_that_fetch_makes(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master, node = await cluster.master(), await fake(cluster, slots=4)
            client = cluster.client()
            await client.submit(cluster.program(""), 3, process_id="a")
            await client.submit(cluster.program(""), 1, process_id="other")
            await follows(cluster, "a", "other", parts=2)
            one, two, three, other = await node.told(4)
            await node.done(one, **{"x": "1", "sub/y": "yy"})
            await node.done(three)
            await node.done(two, x="1")
            await node.done(other, z="zzz")
            manifest = await tree_of(cluster, node, 5)
            sizes = {entry.path: None if entry.folder else entry.size for entry in manifest.entries}
            assert sizes == {
                "main.py": 0,
                "INPUT_PATH/own": 4,
                "INPUT_PATH/a/a_1_3/x": 1,
                "INPUT_PATH/a/a_1_3/sub/y": 2,
                "INPUT_PATH/a/a_2_3/x": 1,
                "INPUT_PATH/a/a_3_3": None,
                "INPUT_PATH/other/other_1_1/z": 3,
            }
            spec = master.cluster.job(ProcessId("b")).spec
            # Two of the files are the same blob, which a node needs once.
            assert (spec.tree_bytes, spec.tree_files, spec.part_bytes) == (11, 6, 10)
            for start in (await node.told(6))[4:]:
                await node.done(start)
            assert (await client.wait("b", 10)).state is JobState.DONE
            # The files outlive the jobs that they came from.
            await client.clear("a")
            assert (
                await cluster.store.missing(ProcessId("b"), [(Digest(e.digest), e.size) for e in manifest.files]) == []
            )

    run(main())


def test_a_pattern_picks_from_outputs_as_from_other_inputs(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            master, node = await cluster.master(), await fake(cluster)
            await cluster.client().submit(cluster.program(""), 2, process_id="a")
            await follows(cluster, "a", parts=2, inputs="INPUT_PATH/a/a_{part}_{total}/**")
            one, two = await node.told(2)
            await node.done(one, x="1")
            await node.done(two, x="22222")
            await node.told(3)
            spec = master.cluster.job(ProcessId("b")).spec
            assert (spec.part_bytes, spec.tree_bytes) == (5, 10)

    run(main())


def test_a_store_that_is_away_is_waited_for_and_nothing_is_read_twice(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "AGAIN", 0.02)
    monkeypatch.setattr(gathering, "AT_ONCE", 1)
    given, asked = MemoryStore.manifest, list[str]()
    away = True

    async def manifest(self: MemoryStore, pid: ProcessId, digest: Digest) -> Manifest:
        asked.append(pid)
        if away and asked.count("a") == 2:
            raise Unreachable("no store at store:1")
        return await given(self, pid, digest)

    async def main() -> None:
        nonlocal away
        async with small() as cluster:
            master, node = await cluster.master(), await fake(cluster)
            await cluster.client().submit(cluster.program(""), 2, process_id="a")
            client = await follows(cluster, "a")
            monkeypatch.setattr(MemoryStore, "manifest", manifest)
            for start in await node.told(2):
                await node.done(start, x="1")

            async def told() -> Any:
                return "waiting for the store: no store at store:1" in (await client.why("b")).text

            await until(told)
            assert "no store" in master.store_fault
            away = False
            await node.told(3)
            assert asked.count("a") == 3
            assert master.store_fault == ""

    run(main())


@pytest.mark.parametrize("what", ["outputs", "program"])
def test_what_the_store_has_lost_ends_the_job(small: Small, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    given = MemoryStore.manifest

    async def manifest(self: MemoryStore, pid: ProcessId, digest: Digest) -> Manifest:
        if pid == ("a" if what == "outputs" else "b"):
            raise NoSuchTree(f"no tree of {pid}")
        return await given(self, pid, digest)

    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster)
            await cluster.client().submit(cluster.program(""), 1, process_id="a")
            client = await follows(cluster, "a")
            monkeypatch.setattr(MemoryStore, "manifest", manifest)
            await node.done((await node.told())[0], x="1")
            ended = await client.wait("b", 10)
            assert ended.state is JobState.FAILED
            assert "cannot be put among its inputs: no tree of" in ended.reason

    run(main())


def test_outputs_whose_paths_get_too_long_end_the_job(small: Small) -> None:
    async def main() -> None:
        async with small() as cluster:
            await cluster.master()
            node = await fake(cluster)
            await cluster.client().submit(cluster.program(""), 1, process_id="a")
            client = await follows(cluster, "a")
            await node.done((await node.told())[0], **{"/".join([*["long" * 50] * 4, "x" * 205]): "x"})
            ended = await client.wait("b", 10)
            assert ended.state is JobState.FAILED
            assert "longer than 1024 bytes" in ended.reason

    run(main())


def test_a_job_that_is_forgotten_meanwhile_leaves_nothing_in_the_store(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = MemoryStore.commit
    asked, go = asyncio.Event(), asyncio.Event()

    async def commit(self: MemoryStore, pid: ProcessId, tree: str, manifest: Manifest) -> Digest:
        if tree.startswith("gathered"):
            asked.set()
            await go.wait()
        return await given(self, pid, tree, manifest)

    async def main() -> None:
        async with small() as cluster:
            master, node = await cluster.master(), await fake(cluster)
            await cluster.client().submit(cluster.program(""), 1, process_id="a")
            client = await follows(cluster, "a")
            monkeypatch.setattr(MemoryStore, "commit", commit)
            await node.done((await node.told())[0], x="1")
            await asked.wait()
            assert (await client.stop("b")).state is JobState.STOPPED
            clearing = asyncio.ensure_future(client.clear("b"))
            await until(lambda: "b" not in master.cluster.state.jobs)
            go.set()
            await clearing
            assert cluster.store.contents.trees.get("b", {}) == {}

    run(main())


def entry(path: str) -> Entry:
    return Entry(path, 1, f"blake2b:{'0' * 64}")


def test_a_folder_that_was_empty_is_listed_no_more_once_outputs_are_in_it() -> None:
    spec = JobSpec(ProcessId("b"), "k", 1, "", inputs_from=(ProcessId("a"),), input_path="data/in")
    program = Manifest([entry("main.py"), Entry("data/in", folder=True), Entry("data/other", folder=True)])
    found = gathering.joined(program, spec, [gathering.moved([entry("x")], "data/in/a/a_1_1")])
    assert [each.path for each in found.entries] == ["data/in/a/a_1_1/x", "data/other", "main.py"]
    for taken in ("data/in/a", "data/in/a/own.txt"):
        with pytest.raises(BadInput, match="'data/in/a' itself"):
            gathering.joined(Manifest([entry("main.py"), entry(taken)]), spec, [])
