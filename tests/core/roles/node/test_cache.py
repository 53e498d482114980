"""The blob cache: what it fetches, trusts, gives and evicts. Real files, a store in memory."""

import asyncio
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from discomputify_core.errors import BadConf, BlobDamaged, BlobMissing, DiskError
from discomputify_core.interfaces.files import Blob, Moved
from discomputify_core.model.files import Digest, Entry
from discomputify_core.model.ids import ProcessId
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.cache_index import BlobKey
from discomputify_core.roles.node.disk import FolderLock
from discomputify_testkit.confs import make_conf
from discomputify_testkit.fakes.memory_store import MemoryContents, MemoryStore, digest_of
from discomputify_testkit.running import run

JOB = ProcessId("job")
OTHER = ProcessId("other")


class Store(MemoryStore):
    """Counts what is fetched, and can be made to wait or to fail."""

    def __init__(self) -> None:
        super().__init__(make_conf(), contents=MemoryContents())
        self.fetched: list[Digest] = []
        self.begun = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.failures: list[Exception] = []

    def hold(self, data: bytes, *, executable: bool = False) -> Entry:
        digest = digest_of(data)
        self.contents.blobs[digest] = data
        return Entry(digest[-8:], len(data), digest, executable)

    async def get(self, process_id: ProcessId, blobs: Sequence[Blob], moved: Moved | None = None) -> None:
        self.begun.set()
        await self.may_go_on.wait()
        if self.failures:
            raise self.failures.pop()
        self.fetched += [blob.digest for blob in blobs]
        await super().get(process_id, blobs, moved)


def opened(folder: Path, limit: int = 10_000) -> BlobCache:
    cache = BlobCache(folder / "cache", limit)
    cache.open()
    return cache


def blobs_in(cache: BlobCache) -> list[Path]:
    return sorted(path for path in (cache.folder / "blobs").rglob("*") if path.is_file())


def test_fetches_what_is_missing_once_and_gives_it(tmp_path: Path) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path)
        moved: list[int] = []
        entries = [store.hold(b"one"), store.hold(b""), Entry("empty", folder=True)]
        await cache.ensure(store, JOB, entries, moved.append)
        await cache.ensure(store, JOB, entries, moved.append)
        assert len(store.fetched) == 2
        assert sum(moved) == 3
        assert cache.used == 3
        assert cache.place(entries[0], tmp_path / "placed", link=False) is False
        assert (tmp_path / "placed").read_bytes() == b"one"
        assert stat.S_IMODE((tmp_path / "placed").stat().st_mode) == 0o444
        await cache.close()

    run(main())


def test_an_executable_file_is_held_apart_since_the_mode_belongs_to_the_file(tmp_path: Path) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path)
        plain, executable = store.hold(b"#!/bin/sh"), store.hold(b"#!/bin/sh", executable=True)
        await cache.ensure(store, JOB, [plain, executable])
        cache.place(plain, tmp_path / "plain", link=True)
        cache.place(executable, tmp_path / "executable", link=True)
        assert not (tmp_path / "plain").stat().st_mode & stat.S_IXUSR
        assert (tmp_path / "executable").stat().st_mode & stat.S_IXUSR
        await cache.close()

    run(main())


def test_calls_that_need_the_same_blob_share_one_fetch(tmp_path: Path) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path)
        store.may_go_on.clear()
        entries = [store.hold(b"shared"), store.hold(b"first only")]
        first = asyncio.create_task(cache.ensure(store, JOB, entries))
        await store.begun.wait()
        second = asyncio.create_task(cache.ensure(store, OTHER, [entries[0], store.hold(b"second only")]))
        store.may_go_on.set()
        await asyncio.gather(first, second)
        assert len(store.fetched) == len(set(store.fetched)) == 3
        await cache.close()

    run(main())


def test_a_cancelled_or_failed_call_leaves_the_others_their_files(tmp_path: Path) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path)
        store.may_go_on.clear()
        entries = [store.hold(b"shared")]
        first = asyncio.create_task(cache.ensure(store, JOB, entries))
        await store.begun.wait()
        waiting = [asyncio.create_task(cache.ensure(store, OTHER, entries)) for _ in range(3)]
        store.failures.append(BlobMissing("cleared meanwhile"))
        waiting.pop().cancel()
        store.may_go_on.set()
        with pytest.raises(BlobMissing):
            await first
        await asyncio.gather(*waiting)
        assert cache.held(OTHER) == 6
        assert cache.held(JOB) == 0
        await cache.close()

    run(main())


def test_a_fetch_that_nobody_waits_for_is_given_up(tmp_path: Path) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path)
        store.may_go_on.clear()
        call = asyncio.create_task(cache.ensure(store, JOB, [store.hold(b"unwanted")]))
        await store.begun.wait()
        call.cancel()
        await asyncio.wait({call})
        await cache.close()
        assert not store.fetched
        assert not blobs_in(cache)

    run(main())


@pytest.mark.parametrize("way", ["rewritten", "same size and mtime", "shorter", "deleted", "replaced"])
def test_a_blob_that_changed_is_noticed_and_fetched_again(tmp_path: Path, way: str) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path)
        entry = store.hold(b"right bytes")
        await cache.ensure(store, JOB, [entry])
        path = blobs_in(cache)[0]
        before = path.stat()
        path.chmod(0o644)
        if way == "deleted":
            path.unlink()
        elif way == "replaced":
            path.rename(tmp_path / "moved away")
            path.write_bytes(b"wrong bytes")
        else:
            path.write_bytes(b"wrong" if way == "shorter" else b"wrong bytes")
        if way == "same size and mtime":
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(BlobDamaged):
            cache.place(entry, tmp_path / "placed", link=False)
        assert not (tmp_path / "placed").exists()
        await cache.ensure(store, JOB, [entry])
        cache.place(entry, tmp_path / "placed", link=False)
        assert (tmp_path / "placed").read_bytes() == b"right bytes"
        assert len(store.fetched) == 2
        assert cache.used == len(b"right bytes")
        assert cache.held(JOB) == len(b"right bytes")
        await cache.close()

    run(main())


def test_a_blob_that_was_only_touched_is_hashed_and_kept(tmp_path: Path) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path)
        entry = store.hold(b"right bytes")
        await cache.ensure(store, JOB, [entry])
        blobs_in(cache)[0].chmod(0o600)
        await cache.ensure(store, JOB, [entry])
        assert len(store.fetched) == 1
        assert stat.S_IMODE(blobs_in(cache)[0].stat().st_mode) == 0o444
        await cache.close()

    run(main())


def test_own_links_do_not_make_a_blob_suspect_and_what_is_written_through_one_does(tmp_path: Path) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path)
        entry = store.hold(b"right bytes")
        await cache.ensure(store, JOB, [entry])
        assert cache.place(entry, tmp_path / "a", link=True) is True
        assert cache.place(entry, tmp_path / "b", link=True) is True
        with cache.changing_links([BlobKey.of(entry)]):
            (tmp_path / "a").unlink()
            assert cache.place(entry, tmp_path / "c", link=True) is True
        cache.place(entry, tmp_path / "d", link=False)
        assert (tmp_path / "b").stat().st_ino == blobs_in(cache)[0].stat().st_ino
        (tmp_path / "b").chmod(0o644)
        (tmp_path / "b").write_bytes(b"wrong bytes")
        with cache.changing_links([BlobKey.of(entry)]):
            (tmp_path / "b").unlink()
        with pytest.raises(BlobDamaged):
            cache.place(entry, tmp_path / "e", link=True)
        await cache.ensure(store, JOB, [entry])
        assert blobs_in(cache)[0].read_bytes() == b"right bytes"
        await cache.close()

    run(main())


def test_where_no_link_can_be_made_a_copy_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(os, "copy_file_range", refused, raising=False)

    async def main() -> None:
        store, cache = Store(), opened(tmp_path, limit=3_000_000)
        entry = store.hold(b"x" * 3_000_000)
        await cache.ensure(store, JOB, [entry])
        assert cache.place(entry, tmp_path / "placed", link=True) is False
        assert (tmp_path / "placed").read_bytes() == b"x" * 3_000_000
        await cache.close()

    run(main())


def test_a_full_disk_is_named_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    async def main() -> None:
        store, cache = Store(), opened(tmp_path)
        entry = store.hold(b"data")
        await cache.ensure(store, JOB, [entry])
        monkeypatch.setattr(os, "copy_file_range", full, raising=False)
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(DiskError, match=r"placed.*the disk is full"):
            cache.place(entry, tmp_path / "placed", link=False)
        monkeypatch.undo()
        assert not (tmp_path / "placed").exists()
        await cache.close()

    run(main())


def test_least_recently_used_blobs_are_evicted_and_pinned_ones_never(tmp_path: Path) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path, limit=30)
        a, b, c, d = (store.hold(letter * 10) for letter in (b"a", b"b", b"c", b"d"))
        cache.pin("attempt", [a])
        for entry in (a, b, c):
            await cache.ensure(store, JOB, [entry])
        await cache.ensure(store, JOB, [b])
        await cache.ensure(store, OTHER, [d])
        assert {path.read_bytes()[:1] for path in blobs_in(cache)} == {b"a", b"b", b"d"}
        assert (cache.used, cache.held(JOB), cache.held(OTHER)) == (30, 20, 10)
        cache.unpin("attempt")
        await cache.ensure(store, OTHER, [c])
        assert {path.read_bytes()[:1] for path in blobs_in(cache)} == {b"b", b"c", b"d"}
        await cache.close()

    run(main())


def test_pinned_blobs_may_exceed_the_limit_for_a_while(tmp_path: Path) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path, limit=15)
        a, b = store.hold(b"a" * 10), store.hold(b"b" * 10)
        cache.pin("one", [a])
        cache.pin("two", [b])
        await cache.ensure(store, JOB, [a])
        await cache.ensure(store, JOB, [b])
        assert cache.used == 20
        cache.unpin("one")
        cache.unpin("two")
        await cache.ensure(store, JOB, [b])
        assert [path.read_bytes()[:1] for path in blobs_in(cache)] == [b"b"]
        await cache.close()

    run(main())


def test_a_part_that_needs_more_than_the_cache_may_hold_is_told_both_sizes(tmp_path: Path) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path, limit=15)
        with pytest.raises(DiskError, match=r"20 bytes.*15.*CACHE_LIMIT"):
            await cache.ensure(store, JOB, [store.hold(b"a" * 10), store.hold(b"b" * 10)])
        await cache.close()

    run(main())


def test_a_dropped_job_holds_nothing_but_its_blobs_stay(tmp_path: Path) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path)
        entry = store.hold(b"data")
        await cache.ensure(store, JOB, [entry])
        assert cache.holdings() == {JOB: 4}
        cache.drop(JOB)
        cache.drop(JOB)
        assert cache.holdings() == {}
        await cache.ensure(store, OTHER, [entry])
        assert cache.holdings() == {OTHER: 4}
        assert len(store.fetched) == 1
        await cache.close()

    run(main())


@pytest.mark.parametrize("way", ["clean", "no index", "damaged index", "changed meanwhile", "rubbish"])
def test_what_is_held_survives_a_restart_and_is_trusted_only_if_it_looks_the_same(tmp_path: Path, way: str) -> None:
    async def main() -> None:
        store, cache = Store(), opened(tmp_path)
        entry = store.hold(b"right bytes")
        await cache.ensure(store, JOB, [entry])
        await cache.close()
        path, index = blobs_in(cache)[0], cache.folder / "index"
        if way == "no index":
            index.unlink()
        elif way == "damaged index":
            index.write_bytes(index.read_bytes()[:-3])
        elif way == "changed meanwhile":
            path.chmod(0o644)
            path.write_bytes(b"wrong bytes")
        elif way == "rubbish":
            (path.parent / ".cut.part").write_bytes(b"half")
            (cache.folder / "blobs" / "readme").write_bytes(b"?")
        again = opened(tmp_path)
        assert again.used == len(b"right bytes")
        assert blobs_in(again) == [path]
        await again.ensure(store, JOB, [entry])
        assert len(store.fetched) == (2 if way == "changed meanwhile" else 1)
        assert path.read_bytes() == b"right bytes"
        await again.close()

    run(main())


def test_two_nodes_cannot_share_one_cache(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    with pytest.raises(BadConf, match=r"another computing node.*CACHE_PATH") as caught:
        opened(tmp_path)
    assert str(cache.folder) in str(caught.value)
    run(cache.close())
    run(opened(tmp_path).close())


def test_the_lock_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from discomputify_core.roles.node.disk import FolderLock\n"
        "FolderLock(pathlib.Path(sys.argv[1]), 'WORK_PATH').take(); print('taken', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"taken"
        lock = FolderLock(tmp_path, "WORK_PATH")
        with pytest.raises(BadConf):
            lock.take()
        holder.kill()
        holder.wait(10)
    lock.take()
    lock.release()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DiskError) as caught:
        BlobCache(tmp_path / "file" / "cache", 10).open()
    assert str(tmp_path / "file") in caught.value.fields["path"]
