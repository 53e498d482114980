"""The store ``ftp`` keeps every promise of the kit, over its real service in this process."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from unittest.mock import patch

from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.files import Digest
from discomputify_core.model.message import Hello
from discomputify_ftp.layout import blob_file
from discomputify_ftp.service import FtpNode
from discomputify_ftp.store import FtpStore
from discomputify_testkit.confs import make_conf
from discomputify_testkit.loopback import Faults, LoopbackCaller, no_faults
from discomputify_testkit.store import Capabilities, StoreConformance

RESERVE = 50_000_000


class TestFtpStore(StoreConformance):
    capabilities = Capabilities(mends=True, has_reserve=True, drops=True, counts=True, shares=True)

    @asynccontextmanager
    async def make_store(self, folder: Path, faults: Faults = no_faults) -> AsyncIterator[FileStore]:
        conf = make_conf(ftp_base_path=str(folder), reserve=RESERVE)
        node = FtpNode(conf)
        await node.open()
        caller = LoopbackCaller(node.operations(), faults=faults)
        self.folder, self.service = folder, node
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

    @asynccontextmanager
    async def node(self, store: FileStore) -> AsyncIterator[FileStore]:
        caller = LoopbackCaller(self.service.operations(), Hello("computing_node"))
        yield FtpStore(make_conf(), None, caller, caller)
        await caller.close()

    @contextmanager
    def filled(self, store: FileStore) -> Iterator[FileStore]:
        caller = LoopbackCaller(self.service.operations(), Hello("computing_node"))
        real = shutil.disk_usage(self.folder)
        with patch("shutil.disk_usage", lambda _: real._replace(free=RESERVE - 1)):
            yield FtpStore(make_conf(), None, caller, caller)
