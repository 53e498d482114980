"""The in-memory store keeps what stores promise."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.files import Digest
from discomputify_testkit.confs import make_conf
from discomputify_testkit.fakes.memory_store import MemoryContents, MemoryStore
from discomputify_testkit.loopback import Faults, no_faults
from discomputify_testkit.store import Capabilities, StoreConformance


class TestMemoryStore(StoreConformance):
    capabilities = Capabilities(over_calls=False, mends=True, has_reserve=True, drops=True, counts=True)

    @contextlib.asynccontextmanager
    async def make_store(self, folder: Path, faults: Faults = no_faults) -> AsyncIterator[FileStore]:
        yield MemoryStore(make_conf(), contents=MemoryContents())

    async def damage(self, store: FileStore, digest: Digest) -> None:
        assert isinstance(store, MemoryStore)
        data = bytearray(store.contents.blobs[digest])
        data[len(data) // 2] ^= 1
        store.contents.blobs[digest] = bytes(data)

    @contextlib.contextmanager
    def filled(self, store: FileStore) -> Iterator[FileStore]:
        assert isinstance(store, MemoryStore)
        store.contents.full = "less is free than the reserve"
        yield MemoryStore(make_conf(), contents=store.contents, node=True)
        store.contents.full = ""
