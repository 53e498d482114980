"""Files of large shared values: reserved, given, mapped, lent to other nodes, and gone when nobody needs them."""

import asyncio
import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.edge.places import disk
from discomputify_core.errors import (
    BadInput,
    BlobMissing,
    DiscomputifyError,
    DiskError,
    MemoryFull,
    MemoryLost,
    Unreachable,
)
from discomputify_core.interfaces.files import Blob
from discomputify_core.model.ids import AttemptId, NodeName, ProcessId
from discomputify_core.model.memory import Scope
from discomputify_core.model.message import ArrayKept, ArrayWanted
from discomputify_core.roles.node import arrays_folder
from discomputify_core.roles.node import arrays_kept as module
from discomputify_core.roles.node.arrays import ArrayGone, Arrays
from discomputify_core.roles.node.arrays_folder import ArraysFolder
from discomputify_testkit.confs import make_conf
from discomputify_testkit.fakes.memory_store import MemoryContents, MemoryStore
from discomputify_testkit.running import run, until

SCOPE = Scope(ProcessId("job"), "key")
ATTEMPT = AttemptId("job.1.1.key")
IN_MEMORY = arrays_folder.IN_MEMORY
Meta = dict[str, Any]


class Nodes:
    """Nodes that reach each other through a master that passes on what they ask."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryStore(make_conf(), contents=MemoryContents())
        self.nodes: dict[str, Arrays] = {}
        self.asked: list[ArrayWanted] = []

    def node(self, name: str, limit: int = 1000) -> Arrays:
        work = self.folder / name
        work.mkdir(exist_ok=True)
        self.nodes[name] = Arrays(NodeName(name), work, self.store, limit, self.ask)
        return self.nodes[name]

    async def ask(self, wanted: ArrayWanted) -> ArrayKept:
        self.asked.append(wanted)
        if wanted.node not in self.nodes:
            raise MemoryLost("It was kept by a node that is not there.", node=wanted.node)
        return await self.nodes[wanted.node].share(wanted)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.0)
    monkeypatch.setattr(arrays_folder, "IN_MEMORY", Path("none"))  # below the node's own folder, for a look into it


Making = Callable[[], Any]


@pytest.fixture
def making(tmp_path: Path) -> Making:
    @contextlib.asynccontextmanager
    async def made() -> AsyncIterator[Nodes]:
        nodes = Nodes(tmp_path)
        try:
            yield nodes
        finally:
            for node in nodes.nodes.values():
                await node.close()
            assert files(tmp_path) == []

    return made


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]


async def given(node: Arrays, data: bytes, *, held: bool = True, scope: Scope = SCOPE) -> Meta:
    """A large value that a program has written and given to the table."""
    array, path = await node.reserve(scope, ATTEMPT, len(data))
    path.write_bytes(data)
    meta = {"id": array, "node": node.node, "of": "bytes", "size": len(data)}
    node.check(scope, meta)
    node.hold(scope, array)
    if not held:
        node.loosen(scope, array)
    return meta


async def kept(node: Arrays, meta: Meta, scope: Scope = SCOPE) -> bool:
    try:
        await node.path(scope, meta)
    except ArrayGone:
        return False
    return True


def test_a_file_is_reserved_whole_and_for_this_account_alone(making: Making) -> None:
    async def main() -> None:
        async with making() as nodes:
            node = nodes.node("n1", 10_000_000)
            _, path = await node.reserve(SCOPE, ATTEMPT, 5_000_000)
            assert path.stat().st_size == 5_000_000
            if os.name == "posix":
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
                assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
            if sys.platform == "linux":
                assert path.stat().st_blocks * 512 >= 5_000_000

    run(main())


def test_what_was_given_is_read_only_and_read_where_it_is(making: Making) -> None:
    async def main() -> None:
        async with making() as nodes:
            node = nodes.node("n1")
            meta = await given(node, b"large")
            path = await node.path(SCOPE, meta)
            assert path.read_bytes() == b"large"
            assert stat.S_IMODE(path.stat().st_mode) == 0o400 or os.name != "posix"
            assert nodes.asked == []

    run(main())


def test_only_what_was_reserved_can_be_given_and_only_once(making: Making) -> None:
    async def main() -> None:
        async with making() as nodes:
            node = nodes.node("n1")
            array, path = await node.reserve(SCOPE, ATTEMPT, 5)
            meta = {"id": array, "node": "n1", "of": "bytes", "size": 5}
            for wrong in ({**meta, "id": "other"}, {**meta, "node": "n2"}, {**meta, "size": 6}):
                with pytest.raises(BadInput):
                    node.check(SCOPE, wrong)
            with pytest.raises(BadInput):
                node.check(Scope(ProcessId("other"), "key"), meta)
            with path.open("ab") as file:
                file.write(b"more")
            with pytest.raises(BadInput, match="size"):
                node.check(SCOPE, meta)
            os.truncate(path, 5)
            node.check(SCOPE, meta)
            node.hold(SCOPE, array)
            with pytest.raises(BadInput, match="once"):
                node.check(SCOPE, meta)
            path.unlink()
            node.loosen(SCOPE, array)
            with pytest.raises(BadInput, match="gone"):
                node.check(SCOPE, meta)

    run(main())


def test_a_link_in_place_of_the_file_is_not_followed(making: Making, tmp_path: Path) -> None:
    async def main() -> None:
        async with making() as nodes:
            node = nodes.node("n1")
            array, path = await node.reserve(SCOPE, ATTEMPT, 5)
            path.unlink()
            secret = tmp_path.parent / f"{tmp_path.name}-secret"
            secret.write_bytes(b"12345")
            path.symlink_to(secret)
            with pytest.raises(BadInput):
                node.check(SCOPE, {"id": array, "node": "n1", "of": "bytes", "size": 5})
            assert stat.S_IMODE(secret.stat().st_mode) != 0o400
            path.unlink()

    run(main())


def test_another_node_gets_its_own_copy_once(making: Making) -> None:
    async def main() -> None:
        async with making() as nodes:
            one, two = nodes.node("n1"), nodes.node("n2")
            meta = await given(one, b"large")
            paths = await asyncio.gather(*(two.path(SCOPE, meta) for _ in range(5)))
            assert len(set(paths)) == 1
            assert paths[0].read_bytes() == b"large"
            assert paths[0] != await one.path(SCOPE, meta)
            await two.path(SCOPE, meta)
            assert nodes.asked == [ArrayWanted("n1", SCOPE.process_id, meta["id"])]

    run(main())


def test_an_asker_that_gives_up_does_not_take_it_from_others(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with making() as nodes:
            one, two = nodes.node("n1"), nodes.node("n2")
            meta = await given(one, b"large")
            begun, go_on, get = asyncio.Event(), asyncio.Event(), nodes.store.get

            async def slow(process_id: ProcessId, blobs: Sequence[Blob]) -> None:
                begun.set()
                await go_on.wait()
                await get(process_id, blobs)

            monkeypatch.setattr(nodes.store, "get", slow)
            first, second = (asyncio.ensure_future(two.path(SCOPE, meta)) for _ in range(2))
            await begun.wait()
            first.cancel()
            go_on.set()
            assert (await second).read_bytes() == b"large"
            assert first.cancelled()

    run(main())


def test_what_nobody_keeps_is_gone(making: Making) -> None:
    async def main() -> None:
        async with making() as nodes:
            one, two = nodes.node("n1"), nodes.node("n2")
            meta = await given(one, b"large")
            for lost, why in (
                ({**meta, "id": "other"}, "does not keep it any more .*SHARED_ARRAYS_LIMIT"),
                ({**meta, "node": "n3"}, "is not connected any more"),
                ({**meta, "node": "n2"}, "does not keep it any more"),
                ({**meta, "size": 4}, "keeps another one"),
                ({}, "does not keep it"),
            ):
                with pytest.raises(ArrayGone, match=why):
                    await two.path(SCOPE, lost)
            with pytest.raises(ArrayGone):
                await one.path(SCOPE, {**meta, "id": "other"})
            assert files(nodes.folder / "n2") == []

    run(main())


def test_a_store_that_lost_it_is_given_it_again_and_failures_are_told(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with making() as nodes:
            one, two = nodes.node("n1"), nodes.node("n2")
            meta = await given(one, b"large")
            get, trouble = nodes.store.get, list[DiscomputifyError]([BlobMissing("lost")] * 2)

            async def troubled(process_id: ProcessId, blobs: Sequence[Blob]) -> None:
                if trouble:
                    raise trouble.pop()
                await get(process_id, blobs)

            monkeypatch.setattr(nodes.store, "get", troubled)
            assert (await two.path(SCOPE, meta)).read_bytes() == b"large"
            other = await given(one, b"other")
            failures: list[tuple[list[DiscomputifyError], type[Exception]]] = [
                ([BlobMissing("lost")] * 3, ArrayGone),
                ([DiskError("full")], MemoryFull),
                ([Unreachable("away")], Unreachable),
            ]
            for errors, wanted in failures:
                trouble[:] = errors
                with pytest.raises(wanted):
                    await two.path(SCOPE, other)
            assert (await two.path(SCOPE, other)).read_bytes() == b"other"

    run(main())


def test_replaced_values_go_everywhere(making: Making) -> None:
    async def main() -> None:
        async with making() as nodes:
            one, two = nodes.node("n1"), nodes.node("n2")
            meta = await given(one, b"large")
            await two.path(SCOPE, meta)
            two.freed(SCOPE, meta)
            await until(lambda: files(nodes.folder) == [])
            assert not await kept(one, meta)

    run(main())


def test_who_was_just_told_has_a_moment_to_map_it(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.3)

    async def main() -> None:
        async with making() as nodes:
            node = nodes.node("n1", 10)
            meta = await given(node, b"large")
            path = await node.path(SCOPE, meta)
            node.freed(SCOPE, meta)
            await asyncio.sleep(0)
            assert path.read_bytes() == b"large"
            with pytest.raises(BadInput):
                node.check(SCOPE, meta)
            other, _ = await node.reserve(SCOPE, ATTEMPT, 10)  # waits until it is gone
            assert other != meta["id"]
            assert not await kept(node, meta)

    run(main())


def test_loose_ones_make_room_the_longest_unused_first_and_held_ones_never(making: Making) -> None:
    async def main() -> None:
        async with making() as nodes:
            node = nodes.node("n1", 100)
            held = await given(node, bytes(40))
            first, second = await given(node, bytes(20), held=False), await given(node, bytes(20), held=False)
            await node.path(SCOPE, first)
            third = await given(node, bytes(30))
            assert [await kept(node, meta) for meta in (held, first, second, third)] == [True, True, False, True]
            with pytest.raises(MemoryFull, match="SHARED_ARRAYS_LIMIT") as full:
                await node.reserve(SCOPE, ATTEMPT, 31)
            assert full.value.fields["limit"] == "SHARED_ARRAYS_LIMIT"
            assert not await kept(node, first)
            await node.reserve(Scope(ProcessId("other"), "key"), ATTEMPT, 100)  # each job has its own room
            with pytest.raises(MemoryFull):
                await node.reserve(SCOPE, ATTEMPT, 101)

    run(main())


def test_copies_of_other_nodes_values_make_room_and_can_be_had_again(making: Making) -> None:
    async def main() -> None:
        async with making() as nodes:
            one, two = nodes.node("n1"), nodes.node("n2", 50)
            metas = [await given(one, bytes([number]) * 20) for number in range(4)]
            for meta in (*metas, *metas):
                assert (await two.path(SCOPE, meta)).read_bytes()[0] == metas.index(meta)
            assert len(files(nodes.folder / "n2")) == 2
            with pytest.raises(MemoryFull):
                await two.path(SCOPE, await given(one, bytes(51)))

    run(main())


def test_many_tiny_files_are_refused(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 3)

    async def main() -> None:
        async with making() as nodes:
            node = nodes.node("n1")
            for _ in range(3):
                await node.reserve(SCOPE, ATTEMPT, 1)
            with pytest.raises(MemoryFull):
                await node.reserve(SCOPE, ATTEMPT, 1)

    run(main())


def test_a_full_disk_makes_room_or_is_named(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with making() as nodes:
            node = nodes.node("n1")
            loose = await given(node, b"large", held=False)
            held = await given(node, b"large")
            monkeypatch.setattr(
                ArraysFolder, "free", property(lambda folder: 12 if len(files(nodes.folder)) < 2 else 4)
            )
            await node.reserve(SCOPE, ATTEMPT, 10)
            assert [await kept(node, meta) for meta in (loose, held)] == [False, True]
            with pytest.raises(MemoryFull, match=str(nodes.folder)):
                await node.reserve(SCOPE, ATTEMPT, 10)

    run(main())


def test_an_ended_attempt_takes_along_what_was_its_own(making: Making) -> None:
    async def main() -> None:
        async with making() as nodes:
            node = nodes.node("n1")
            await node.reserve(SCOPE, ATTEMPT, 5)
            ephemeral, lasting = await given(node, b"1"), await given(node, b"2")
            node.hold(SCOPE, ephemeral["id"], ATTEMPT)
            node.ended(SCOPE, AttemptId("another"))
            assert len(files(nodes.folder)) == 3
            node.ended(SCOPE, ATTEMPT)
            await until(lambda: len(files(nodes.folder)) == 1)
            assert [await kept(node, meta) for meta in (ephemeral, lasting)] == [False, True]

    run(main())


def test_a_reservation_that_is_cancelled_leaves_nothing(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with making() as nodes:
            node = nodes.node("n1", 10)
            begun, reserve, loop = asyncio.Event(), ArraysFolder.reserve, asyncio.get_running_loop()

            def noted(*about: Any) -> None:
                loop.call_soon_threadsafe(begun.set)
                reserve(*about)

            monkeypatch.setattr(ArraysFolder, "reserve", noted)
            task = asyncio.ensure_future(node.reserve(SCOPE, ATTEMPT, 10))
            await begun.wait()
            task.cancel()
            await asyncio.wait([task])
            await until(lambda: files(nodes.folder) == [])
            await node.reserve(SCOPE, ATTEMPT, 10)

    run(main())


def test_jobs_and_their_generations_go(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with making() as nodes:
            node = nodes.node("n1")
            scopes = [Scope(ProcessId("job"), "key", 0), Scope(ProcessId("job"), "key", 1), Scope(ProcessId("b"), "k")]
            metas = [await given(node, b"large", scope=scope) for scope in scopes]

            async def there() -> list[bool]:
                return [await kept(node, *each) for each in zip(metas, scopes, strict=True)]

            node.begin(scopes[0])
            assert await there() == [True, True, True]
            node.begin(scopes[1])
            assert await there() == [False, True, True]
            node.drop(ProcessId("job"))
            assert await there() == [False, False, True]
            await until(lambda: len(files(nodes.folder)) == 1)
            node.doubt(ProcessId("b"))
            monkeypatch.setattr(module, "FORGOTTEN", -1.0)
            await node.reserve(scopes[1], ATTEMPT, 1)
            assert await there() == [False, False, False]

    run(main())


def test_a_doubted_job_that_is_asked_for_stays(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with making() as nodes:
            one, two = nodes.node("n1"), nodes.node("n2")
            meta = await given(one, b"large")
            one.doubt(SCOPE.process_id)
            await two.path(SCOPE, meta)
            monkeypatch.setattr(module, "FORGOTTEN", -1.0)
            await one.reserve(Scope(ProcessId("other"), "key"), ATTEMPT, 1)
            assert await kept(one, meta)

    run(main())


def test_what_is_read_for_another_node_stays_until_then(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with making() as nodes:
            one, two = nodes.node("n1"), nodes.node("n2")
            meta = await given(one, b"large")
            begun, go_on, put = asyncio.Event(), asyncio.Event(), nodes.store.put

            async def slow(process_id: ProcessId, blobs: Sequence[Blob]) -> None:
                begun.set()
                await go_on.wait()
                await put(process_id, blobs)

            monkeypatch.setattr(nodes.store, "put", slow)
            reading = asyncio.ensure_future(two.path(SCOPE, meta))
            await begun.wait()
            one.freed(SCOPE, meta)
            assert not await kept(one, meta)
            go_on.set()
            assert (await reading).read_bytes() == b"large"
            await until(lambda: files(nodes.folder / "n1") == [])

    run(main())


def test_what_is_still_written_is_lent_to_nobody(making: Making) -> None:
    async def main() -> None:
        async with making() as nodes:
            one, two = nodes.node("n1"), nodes.node("n2")
            array, _ = await one.reserve(SCOPE, ATTEMPT, 5)
            meta = {"id": array, "node": "n1", "of": "bytes", "size": 5}
            assert [await kept(each, meta) for each in (one, two)] == [False, False]

    run(main())


def test_nothing_is_made_before_it_is_needed_and_nothing_stays(tmp_path: Path) -> None:
    async def main() -> None:
        nodes = Nodes(tmp_path)
        node = nodes.node("n1")
        assert not await kept(node, {"id": "a", "node": "n1", "size": 1})
        node.ended(SCOPE, ATTEMPT)
        assert list((tmp_path / "n1").iterdir()) == []
        await given(node, b"large")
        await node.close()
        await node.close()
        assert list((tmp_path / "n1").iterdir()) == []
        with pytest.raises((MemoryFull, Unreachable)):
            await node.reserve(SCOPE, ATTEMPT, 1)

    run(main())


# --- the folder ---------------------------------------------------------------------------------------


HOLDS = """
import sys
from pathlib import Path
from discomputify_core.roles.node import arrays_folder
arrays_folder.IN_MEMORY = Path("none")
kept = arrays_folder.ArraysFolder.made(Path(sys.argv[1]), 1)
print(kept.path, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a folder")
def test_folders_in_memory_of_killed_nodes_are_swept_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays_folder, "IN_MEMORY", tmp_path)
    line = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
        try:
            assert node.stdout is not None
            left = Path(node.stdout.readline().strip())
            (left / "job").mkdir()
            (left / "job" / "array").write_bytes(b"large")
            (tmp_path / (arrays_folder.PREFIX + "being-made")).mkdir()
            arrays_folder.sweep()
            assert (left / "job" / "array").exists()
        finally:
            node.kill()
    arrays_folder.sweep()
    assert not left.exists()
    assert (tmp_path / (arrays_folder.PREFIX + "being-made")).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a folder")
def test_memory_is_used_where_there_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays_folder, "IN_MEMORY", IN_MEMORY)
    facts = disk(IN_MEMORY)
    for limit, enough in ((1, facts.memory and facts.free > 1), (2**62, facts.memory and facts.free >= 2**30)):
        made = ArraysFolder.made(tmp_path, limit)
        try:
            assert (made.path.parent == IN_MEMORY) == enough
        finally:
            made.remove()
        assert not made.path.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="missing"):
        ArraysFolder.made(tmp_path / "missing", 1)
