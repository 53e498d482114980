"""Trees to a store and back."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import attrs
import pytest

from discomputify_core.edge import tree_download, trees
from discomputify_core.errors import BadPath, BlobDamaged, BlobMissing, DiskError, FileChanged
from discomputify_core.interfaces.files import Blob
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_testkit.confs import make_conf
from discomputify_testkit.fakes.memory_store import MemoryContents, MemoryStore, digest_of
from discomputify_testkit.running import run, until

JOB = ProcessId("job")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(make_conf(), contents=MemoryContents())


@pytest.fixture
def program(tmp_path: Path) -> Path:
    folder = tmp_path / "program"
    for path, data in {"main.py": b"main", "copy.py": b"main", "data/grüße": b"hello", "data/none": b""}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / "data" / "empty").mkdir()
    (folder / "main.py").chmod(0o755)
    return folder


def scan(folder: Path) -> trees.Scan:
    return trees.scan(folder, hasher=MemoryStore.hasher)


def test_there_and_back(store: MemoryStore, program: Path, tmp_path: Path) -> None:
    async def main() -> None:
        moved: list[int] = []
        uploaded = await trees.upload(scan(program), store, JOB, moved=moved.append)
        assert uploaded == trees.Uploaded(uploaded.digest, 4, 13, 3, 9)
        assert sum(moved) == 9
        manifest = await store.manifest(JOB, uploaded.digest)
        await trees.download(store, JOB, manifest, tmp_path / "new" / "back")
        assert scan(tmp_path / "new" / "back").manifest == scan(program).manifest == manifest
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["back"]

    run(main())


def test_a_second_upload_sends_what_changed(store: MemoryStore, program: Path) -> None:
    async def main() -> None:
        first = await trees.upload(scan(program), store, JOB)
        again = await trees.upload(scan(program), store, JOB)
        assert again == attrs.evolve(first, blobs_sent=0, bytes_sent=0)
        (program / "data" / "none").write_bytes(b"12345")
        edited = await trees.upload(scan(program), store, ProcessId("other"))
        assert (edited.blobs_sent, edited.bytes_sent) == (1, 5)

    run(main())


def test_a_plan_says_what_would_travel_and_does_nothing(store: MemoryStore, program: Path) -> None:
    async def main() -> None:
        plan = await trees.plan(scan(program), None, JOB)
        assert (len(plan.new), len(plan.known), plan.new_bytes, plan.known_bytes) == (4, 0, 9, 0)
        assert await trees.plan(scan(program), store, JOB) == plan
        assert not store.contents.blobs
        await trees.upload(scan(program), store, JOB)
        (program / "main.py").write_bytes(b"edited")
        (program / ".git").mkdir()
        plan = await trees.plan(scan(program), store, JOB)
        assert [entry.path for entry in plan.new] == ["main.py"]
        assert (plan.new_bytes, plan.known_bytes) == (6, 9)
        assert [each.path for each in plan.ignored] == [".git/"]

    run(main())


@pytest.mark.parametrize("change", [b"hullo", b"longer than before", None])
@pytest.mark.parametrize("known", [False, True])
def test_a_file_that_changes_before_it_is_sent_is_named(
    store: MemoryStore, program: Path, change: bytes | None, known: bool
) -> None:
    async def main() -> None:
        if known:
            await trees.upload(scan(program), store, ProcessId("other"))
        scanned = scan(program)
        path = program / "data" / "grüße"
        if change is None and known:
            path.unlink()
        elif change is None:
            path.write_bytes(b"")
        else:
            path.write_bytes(change)
        with pytest.raises(FileChanged, match="data/grüße") as caught:
            await trees.upload(scanned, store, JOB)
        assert caught.value.fields["paths"] == ["data/grüße"]
        assert JOB not in store.contents.trees

    run(main())


def test_what_the_store_lost_between_is_sent_again_once(
    store: MemoryStore, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        scanned = scan(program)
        plain = store.commit
        losses = 1

        async def losing(*args: Any) -> Any:
            nonlocal losses
            if losses:
                losses -= 1
                store.contents.blobs.pop(digest_of(b"hello"), None)
            return await plain(*args)

        monkeypatch.setattr(store, "commit", losing)
        uploaded = await trees.upload(scanned, store, JOB)
        assert (uploaded.blobs_sent, uploaded.bytes_sent) == (4, 14)
        losses = 99
        with pytest.raises(BlobMissing):
            await trees.upload(scanned, store, ProcessId("other"))

    run(main())


def test_a_download_replaces_what_is_there(store: MemoryStore, program: Path, tmp_path: Path) -> None:
    async def main() -> None:
        uploaded = await trees.upload(scan(program), store, JOB)
        manifest = await store.manifest(JOB, uploaded.digest)
        target = tmp_path / "out" / "back"
        (target / "old").mkdir(parents=True)
        await trees.download(store, JOB, manifest, target)
        assert scan(target).manifest == manifest
        (tmp_path / "out" / "file").write_text("in the way", encoding="utf-8")
        await trees.download(store, JOB, Manifest([]), tmp_path / "out" / "file")
        assert list((tmp_path / "out" / "file").iterdir()) == []
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["back", "file"]

    run(main())


def test_a_download_that_fails_leaves_what_was_there(store: MemoryStore, program: Path, tmp_path: Path) -> None:
    async def main() -> None:
        uploaded = await trees.upload(scan(program), store, JOB)
        manifest = await store.manifest(JOB, uploaded.digest)
        target = tmp_path / "out" / "back"
        target.mkdir(parents=True)
        (target / "old").write_text("old", encoding="utf-8")
        lost = store.contents.blobs.pop(digest_of(b"hello"))
        with pytest.raises(BlobMissing):
            await trees.download(store, JOB, manifest, target)
        store.contents.blobs[digest_of(b"hello")] = lost
        assert [path.name for path in target.iterdir()] == ["old"]
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["back"]

    run(main())


def spoil(store: MemoryStore, data: bytes) -> None:
    store.contents.blobs[digest_of(data)] = b"spoilt"


def test_what_the_store_lost_is_waited_for(
    store: MemoryStore, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_download, "PAUSE", 0.01)

    async def main() -> None:
        scanned = scan(program)
        manifest = await store.manifest(JOB, (await trees.upload(scanned, store, JOB)).digest)
        spoil(store, b"hello")
        downloading = asyncio.ensure_future(trees.download(store, JOB, manifest, tmp_path / "back"))
        await until(lambda: store.contents.lost)
        await store.put(ProcessId("other"), scanned.blobs)
        await downloading
        assert scan(tmp_path / "back").manifest == manifest

    run(main())


def test_what_nobody_brings_is_not_waited_for_for_ever(
    store: MemoryStore, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_download, "PAUSE", 0.01)
    monkeypatch.setattr(tree_download, "MENDING", 0.1)

    async def main() -> None:
        manifest = await store.manifest(JOB, (await trees.upload(scan(program), store, JOB)).digest)
        spoil(store, b"hello")
        with pytest.raises(BlobDamaged):
            await trees.download(store, JOB, manifest, tmp_path / "back")
        assert not (tmp_path / "back").exists()

    run(main())


def test_an_upload_mends_what_the_store_lost(store: MemoryStore, program: Path, tmp_path: Path) -> None:
    async def main() -> None:
        first = await trees.upload(scan(program), store, JOB)
        spoil(store, b"main")
        with pytest.raises(BlobDamaged):
            await store.get(JOB, [Blob(digest_of(b"main"), 4, tmp_path / "out")])
        again = await trees.upload(scan(program), store, JOB)
        assert (again.digest, again.blobs_sent) == (first.digest, 1)
        await trees.download(store, JOB, await store.manifest(JOB, first.digest), tmp_path / "back")

    run(main())


def test_a_full_disk_is_named_and_nothing_is_left(
    store: MemoryStore, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        uploaded = await trees.upload(scan(program), store, JOB)
        manifest = await store.manifest(JOB, uploaded.digest)
        target = tmp_path / "out" / "back"
        target.mkdir(parents=True)
        plain = Path.rename

        def full(path: Path, to: Path) -> Path:
            if to == target and path.name.endswith(".new"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return plain(path, to)

        monkeypatch.setattr(Path, "rename", full)
        with pytest.raises(DiskError, match="back cannot be written: No space left"):
            await trees.download(store, JOB, manifest, target)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["back"]
        with pytest.raises(DiskError, match="below"):
            await trees.download(store, JOB, manifest, program / "main.py" / "below")

    run(main())


def test_names_that_a_machine_cannot_tell_apart_are_refused_there() -> None:
    one = digest_of(b"1")
    tree_download._check_case(Manifest([Entry("a", 1, one), Entry("b", 1, one)]))
    with pytest.raises(BadPath, match="'A' and 'a'"):
        tree_download._check_case(Manifest([Entry("A", 1, one), Entry("a", 1, one)]))
