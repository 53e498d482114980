"""Disks that are full: the error names the path, nothing half is visible, and what was held stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import attrs
import pytest

from discomputify_core.errors import DiskError, StoreFull
from discomputify_ftp import disk
from discomputify_testkit.running import run, until

SIZES = [100_000, 700_000]


@pytest.mark.parametrize("size", SIZES)
def test_a_store_that_is_full(rig: Any, small_disk: Path, size: int) -> None:
    async def main() -> None:
        async with rig(base=small_disk / "store") as r:
            first = r.blob("first", os.urandom(200_000))
            digest = await r.keep(first)
            more = [r.blob(f"more{n}", os.urandom(size)) for n in range(12)]
            with pytest.raises(StoreFull, match="No space") as caught:
                await r.store.put(r.job, more)
            assert str(small_disk) in str(caught.value)
            # Other messages were under way when the first one failed.
            await until(lambda: not any(path.suffix == ".new" for path in r.incoming()))
            for blob in more:
                assert not r.at(blob).exists() or r.at(blob).stat().st_size == size
            assert await r.store.manifest(r.job, digest) == r.manifest(first)

    run(main())


def test_a_local_disk_that_is_full(rig: Any, small_disk: Path) -> None:
    async def main() -> None:
        async with rig() as r:
            blobs = [r.blob(str(size), os.urandom(size)) for size in (200_000, 1_500_000)]
            await r.keep(*blobs)
            for blob in (blobs[1], attrs.evolve(blobs[0])):
                (small_disk / "filler").write_bytes(bytes(900_000))
                out = attrs.evolve(blob, path=small_disk / "out")
                with pytest.raises(DiskError, match="No space") as caught:
                    await r.store.get(r.job, [out])
                assert str(small_disk) in str(caught.value)
                assert [path.name for path in small_disk.iterdir()] == ["filler"]

    run(main())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("size", SIZES)
def test_a_write_that_fails(rig: Any, monkeypatch: pytest.MonkeyPatch, size: int, number: int) -> None:
    async def main() -> None:
        async with rig() as r:
            blob = r.blob("one", os.urandom(size))

            def failing(descriptor: int, data: memoryview) -> int:
                raise OSError(number, os.strerror(number))

            with monkeypatch.context() as patch:
                patch.setattr(disk, "write_all", failing)
                kind = StoreFull if number == errno.ENOSPC else DiskError
                with pytest.raises(kind, match=os.strerror(number)) as caught:
                    await r.store.put(r.job, [blob])
            assert str(r.base) in caught.value.fields["path"]
            assert r.incoming() == []
            assert not r.at(blob).exists()
            await r.keep(blob)
            assert r.at(blob).exists()

    run(main())


def test_a_blob_larger_than_the_disk_is_refused_before_it_travels(rig: Any, small_disk: Path) -> None:
    async def main() -> None:
        async with rig(base=small_disk / "store") as r:
            with pytest.raises(StoreFull, match="No space"):
                await r.store.put(r.job, [r.blob("big", os.urandom(3_000_000))])
            assert r.caller.body_bytes_out == 0
            assert r.incoming() == []

    run(main())
