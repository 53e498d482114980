"""The store ``ftp`` keeps every promise of the kit, over its real service in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.files import Digest
from discomputify_ftp.layout import blob_file
from discomputify_ftp.service import FtpNode
from discomputify_ftp.store import FtpStore
from discomputify_testkit.confs import make_conf
from discomputify_testkit.loopback import Faults, LoopbackCaller, no_faults
from discomputify_testkit.store import StoreConformance


class TestFtpStore(StoreConformance):
    @asynccontextmanager
    async def make_store(self, folder: Path, faults: Faults = no_faults) -> AsyncIterator[FileStore]:
        conf = make_conf(ftp_base_path=str(folder))
        node = FtpNode(conf)
        await node.open()
        caller = LoopbackCaller(node.operations(), faults=faults)
        self.folder = folder
        try:
            yield FtpStore(conf, None, caller, caller)
        finally:
            await caller.close()
            await node.close()

    async def damage(self, store: FileStore, digest: Digest) -> None:
        path = self.folder / blob_file(digest)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)
