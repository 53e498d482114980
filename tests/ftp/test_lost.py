"""What the store has lost: it says so, whoever has it brings it, and nothing is taken for rubbish meanwhile."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from discomputify_core.errors import BlobDamaged, BlobMissing, DiskError
from discomputify_core.model.files import Digest
from discomputify_ftp import blobs, lost, pins, refs
from discomputify_testkit.running import run


def spoil(path: Path) -> None:
    """Another first byte."""
    path.chmod(0o600)
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def out_of(r: Any, blob: Any) -> Any:
    return attrs.evolve(blob, path=r.local / f"out-{blob.path.name}")


def manifest_path(r: Any, digest: str) -> Path:
    return Path(r.base) / "blobs" / "blake3" / digest[7:9] / digest[7:]


def grow_old(r: Any) -> None:
    """All blobs are older than any promise."""
    long_ago = time.time() - 2 * pins.LASTS
    for path in (r.base / "blobs").rglob("*"):
        os.utime(path, (long_ago, long_ago))


@pytest.mark.parametrize("size", [10, 600_000])
def test_lost_blobs_are_wanted_also_after_a_restart(rig: Any, size: int) -> None:
    async def main() -> None:
        async with rig() as r:
            damaged, gone = r.blob("damaged", os.urandom(size)), r.blob("gone", os.urandom(size))
            await r.keep(damaged, gone)
            spoil(r.at(damaged))
            r.at(gone).unlink()
            with pytest.raises(BlobDamaged):
                await r.store.get(r.job, [out_of(r, damaged)])
            with pytest.raises(BlobMissing):
                await r.store.get(r.job, [out_of(r, gone)])
            assert await r.store.wanted() == [damaged.digest, gone.digest]
            await r.restart()
            assert await r.store.wanted() == [damaged.digest]
            await r.store.put("other", [damaged, gone])
            assert await r.store.wanted() == []
            await r.store.get(r.job, [out_of(r, damaged), out_of(r, gone)])

    run(main())


def test_what_no_tree_needs_is_not_wanted(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            needed = r.blob("needed", b"needed")
            await r.keep(needed)
            await r.node.tidy()  # it has been counted what is in use
            with pytest.raises(BlobMissing):
                await r.store.get(r.job, [r.blob("never", b"there")])
            assert await r.store.wanted() == []
            spoil(r.at(needed))
            with pytest.raises(BlobDamaged):
                await r.store.get(r.job, [out_of(r, needed)])
            assert await r.store.wanted() == [needed.digest]
            await r.store.clear(r.job)
            assert await r.store.wanted() == []

    run(main())


def test_only_so_many_are_remembered() -> None:
    remembered = lost.Lost()
    remembered.add(str(number) for number in range(lost.MOST + 10))
    assert len(remembered.all()) == lost.MOST
    assert "9" not in remembered
    assert "10" in remembered
    remembered.discard("10")
    remembered.discard("never")
    assert "10" not in remembered


def test_damaged_blobs_are_kept_aside_for_some_days(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            blob = r.blob("one", b"one")
            await r.keep(blob)
            spoil(r.at(blob))
            with pytest.raises(BlobDamaged):
                await r.store.get(r.job, [out_of(r, blob)])
            await r.node.tidy()
            (aside,) = (r.base / "damaged").iterdir()
            assert aside.read_bytes() != b"one"
            long_ago = time.time() - 2 * blobs.KEPT_ASIDE
            os.utime(aside, (long_ago, long_ago))
            await r.node.tidy()
            assert list((r.base / "damaged").iterdir()) == []

    run(main())


def test_old_clients_get_no_damaged_outputs(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            await r.show({"result": b"right"}, "job_1_1", "job")
            assert await r.read("job_1_1/result") == b"right"
            (path,) = (
                each for each in (r.base / "blobs").rglob("*") if each.is_file() and each.read_bytes() == b"right"
            )
            spoil(path)
            answer = await r.ask("READ", "job_1_1/result", 0)
            assert answer.data == "NONE"
            assert "damaged" in answer.metadata["ERROR"]

    run(main())


@pytest.mark.parametrize("committed", [True, False])
def test_a_manifest_that_comes_again_keeps_its_blobs(rig: Any, committed: bool) -> None:
    async def main() -> None:
        async with rig() as r:
            one = r.blob("one", b"one")
            digest = await r.keep(one)
            data = manifest_path(r, digest).read_bytes()
            spoil(manifest_path(r, digest))
            await r.restart()
            await r.node.tidy()  # counts what is in use, and finds the manifest damaged
            assert not manifest_path(r, digest).exists()
            # Another job has the same tree, which mends the first job's; or somebody brings the manifest alone.
            if committed:
                await r.keep(one, job="other")
            else:
                await r.store.put("other", [r.blob("manifest", data)])
            assert manifest_path(r, digest).read_bytes() == data
            await r.store.clear("other")
            grow_old(r)
            await r.node.tidy()
            await r.store.get(r.job, [out_of(r, one)])
            assert await r.store.manifest(r.job, Digest(digest)) == r.manifest(one)

    run(main())


def test_a_manifest_that_is_lost_after_counting_frees_nothing_that_others_use(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            one, two = r.blob("one", b"one"), r.blob("two", b"two")
            digest = await r.keep(one, two)
            await r.keep(one, job="other")
            await r.node.tidy()
            spoil(manifest_path(r, digest))
            await r.store.clear(r.job)
            grow_old(r)
            await r.node.tidy()
            assert [r.at(blob).exists() for blob in (one, two)] == [True, False]

    run(main())


def test_a_disk_that_cannot_be_read_for_a_moment_makes_nothing_rubbish(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process with too many open files, a disk with a hiccup: what cannot be read now is not unused."""

    async def main() -> None:
        async with rig() as r:
            one = r.blob("one", b"one")
            digest = await r.keep(one)
            for what, name in ((Path, "read_bytes"), (blobs, "read_at")):
                await r.restart()
                grow_old(r)

                def failing(*_: object) -> bytes:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

                with monkeypatch.context() as patch:
                    patch.setattr(what, name, failing)
                    with pytest.raises(DiskError, match="Too many open files"):
                        await r.node.tidy()
                    with pytest.raises(DiskError, match="Too many open files"):
                        await r.store.clear(r.job)
                assert await r.node.tidy() == 0
                assert await r.store.manifest(r.job, Digest(digest)) == r.manifest(one)
                await r.store.get(r.job, [out_of(r, one)])

    run(main())


def test_an_upload_that_takes_hours_loses_nothing_on_the_way() -> None:
    now = 0.0
    pinned = pins.Pins(lambda: now)
    pinned.pin("job", ["first"], upload=True)
    pinned.pin("job", ["output"])
    for _ in range(5):
        now += pins.LASTS * 0.9
        pinned.pin("job", ["later"], upload=True)
        pinned.forget_old()
        assert not pinned.guarded("first", lambda: True)
    assert pinned.guarded("output", lambda: True)
    now += pins.LASTS
    assert pinned.guarded("first", lambda: True)
    pinned.forget_old()
    assert pinned.drop("job") == []


def test_counting_uses_needs_no_more_than_the_trees(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            await r.keep(r.blob("one", b"one"))
            found = refs.Refs(r.base, r.node._blobs)
            assert not found.unused("blake3:" + "0" * 64), "nobody has counted"
            found.count_uses()
            assert found.unused("blake3:" + "0" * 64)

    run(main())
