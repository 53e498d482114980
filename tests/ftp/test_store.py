"""The client's side beyond the kit: many files, names, order of work."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import Any

import attrs
import pytest

from discomputify_core.errors import BadInput, BadPath, DiskError
from discomputify_core.hookspecs import hookimpl
from discomputify_core.model.files import Digest
from discomputify_core.model.ids import ProcessId
from discomputify_ftp import hooks
from discomputify_ftp.together import together
from discomputify_testkit.running import run


def test_the_hooks_name_classes_that_are_there() -> None:
    assert hookimpl is not None
    for names in (hooks.discomputify_register_stores(), hooks.discomputify_register_roles()):
        for target in names.values():
            module, _, name = target.partition(":")
            assert hasattr(__import__(module, fromlist=[name]), name)


def test_many_files_take_few_messages(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            blobs = [r.blob(f"f{n}", b"%d" % n * 100) for n in range(3000)]
            await r.keep(*blobs)
            assert sum(r.caller.calls.values()) < 20
            out = [attrs.evolve(blob, path=r.local / f"out{n}") for n, blob in enumerate(blobs)]
            r.caller.calls.clear()
            await r.store.get(r.job, out)
            assert sum(r.caller.calls.values()) < 20
            assert all(a.path.read_bytes() == b.path.read_bytes() for a, b in zip(blobs, out, strict=True))

    run(main())


def test_one_blob_for_many_places_travels_once(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            blob = r.blob("one", os.urandom(600_000))
            await r.keep(blob)
            before = r.caller.body_bytes_in
            out = [attrs.evolve(blob, path=r.local / f"out {n} \u00e4\u4e16") for n in range(3)]
            await r.store.get(r.job, out)
            assert r.caller.body_bytes_in - before == blob.size
            assert {copy.path.read_bytes() for copy in out} == {blob.path.read_bytes()}

    run(main())


def test_bad_names_never_travel(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            with pytest.raises(BadInput):
                await r.store.missing(ProcessId("a/b"), [])
            with pytest.raises(BadInput):
                await r.store.commit(r.job, "", r.manifest())
            with pytest.raises(BadPath):
                await r.store.manifest(r.job, Digest("x"))
            assert not r.caller.calls

    run(main())


def test_a_place_that_is_a_folder_is_named(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            blobs = [r.blob("one", b"1"), r.blob("big", os.urandom(600_000))]
            await r.keep(*blobs)
            (r.local / "folder").mkdir()
            for blob in blobs:
                with pytest.raises(DiskError, match="folder"):
                    await r.store.get(r.job, [attrs.evolve(blob, path=r.local / "folder")])
            assert sorted(path.name for path in r.local.iterdir()) == ["big", "folder", "one"]

    run(main())


def test_work_ends_together() -> None:
    ended: list[int] = []

    async def piece(number: int) -> None:
        try:
            if number == 2:
                raise BadInput("two")
            if number > 2:
                await asyncio.Event().wait()
        finally:
            ended.append(number)

    async def main() -> None:
        with pytest.raises(BadInput, match="two"):
            await together((partial(piece, n) for n in range(100)), 4)

    run(main())
    assert 2 in ended
    assert len(ended) < 10
