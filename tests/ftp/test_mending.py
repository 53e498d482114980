"""What the store lost comes back from a computing node's cache, and the part that needs it starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.errors import BlobDamaged
from discomputify_core.model.message import Hello
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.returning import Returning
from discomputify_ftp.store import FtpStore
from discomputify_testkit.loopback import LoopbackCaller
from discomputify_testkit.running import run


@pytest.mark.parametrize("size", [1000, 1_000_000])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_node_brings_what_another_one_needs(rig: Any, tmp_path: Path, size: int, restarted: bool) -> None:
    async def main() -> None:
        async with rig() as r:
            blob, other = r.blob("main.py", os.urandom(size)), r.blob("other", b"other")
            await r.keep(blob, other)
            caller = LoopbackCaller(r.node.operations(), Hello("computing_node"))
            store = FtpStore(r.conf, None, caller, caller)
            caches = [BlobCache(tmp_path / name, 10**9) for name in ("first", "second")]
            for cache in caches:
                cache.open()
            files = r.manifest(blob, other).files
            await caches[0].ensure(store, r.job, files)
            r.at(blob).chmod(0o600)
            r.at(blob).write_bytes(bytes(size))
            with pytest.raises(BlobDamaged):
                await caches[1].ensure(store, r.job, files)
            if restarted:
                await r.restart()
                caller.operations = r.node.operations()
            assert await Returning(store, caches[1]).once() == 0
            assert await Returning(store, caches[0]).once() == 1
            assert await Returning(store, caches[0]).once() == 0
            await caches[1].ensure(store, r.job, files)
            for cache in caches:
                await cache.close()

    run(main())
