"""A store's service and client in one process, which may be restarted in the middle."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from discomputify_core.interfaces.files import SHOWN, Blob
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.conf import Conf
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.message import Hello
from discomputify_core.model.old_clients import OLD_CLIENT, OLD_REQUEST, OldAnswer, OldRequest
from discomputify_ftp import layout
from discomputify_ftp.hashing import digest_of
from discomputify_ftp.service import FtpNode
from discomputify_ftp.store import FtpStore
from discomputify_testkit.confs import make_conf
from discomputify_testkit.loopback import Faults, LoopbackCaller, no_faults

CHUNK = 300 * 1024


@attrs.define
class Rig:
    """Service, client and local files; blobs over 256 KiB travel in chunks of 300 KiB."""

    base: Path
    local: Path
    node: FtpNode
    store: FtpStore
    caller: LoopbackCaller
    conf: Conf
    #: An old client (CYPHER/1).
    old: LoopbackCaller
    job: ProcessId = ProcessId("job")
    chunk: int = CHUNK

    def blob(self, name: str, data: bytes) -> Blob:
        """A local file with *data*."""
        path = self.local / name
        path.write_bytes(data)
        return Blob(digest_of(data), len(data), path)

    def at(self, blob: Blob) -> Path:
        """Where the service keeps *blob*."""
        return self.base / layout.blob_file(blob.digest)

    def incoming(self) -> list[Path]:
        """What the service has not finished."""
        return list((self.base / layout.INCOMING).iterdir())

    def manifest(self, *blobs: Blob) -> Manifest:
        """A tree of *blobs* under their names."""
        return Manifest(Entry(blob.path.name, blob.size, blob.digest) for blob in blobs)

    async def keep(self, *blobs: Blob, job: str = "job", tree: str = "program") -> str:
        """Put and commit *blobs*."""
        await self.store.put(ProcessId(job), blobs)
        return await self.store.commit(ProcessId(job), tree, self.manifest(*blobs))

    async def restart(self) -> None:
        """A new service on the same folder, behind the same client."""
        await self.node.close()
        self.node = FtpNode(self.conf)
        await self.node.open()
        self.caller.operations = self.old.operations = self.node.operations()

    async def ask(self, operation: str, path: str = "/", data: Any = None, metadata: Any = None) -> OldAnswer:
        """What an old client is answered."""
        request = OldRequest(path, operation, {} if data is None else data, metadata or {})
        return from_plain((await self.old.call(OLD_REQUEST, to_plain(request))).data, OldAnswer)

    async def write(self, path: str, data: bytes, chunk: int = 4) -> list[Any]:
        """Upload a file as old clients do; returns the DATA of the answers."""
        answers = []
        for index, start in enumerate(range(0, len(data), chunk)):
            piece = data[start : start + chunk]
            about = {"FILESIZE": len(data), "UPLOADED": start + len(piece)}
            answers.append((await self.ask("WRITE", path, [piece.hex(), index], about)).data)
        return answers

    async def read(self, path: str) -> bytes:
        """Download a file as old clients do."""
        data = b""
        for offset in itertools.count(0, self.conf.transmission_chunk_size):
            answer = (await self.ask("READ", path, offset)).data
            if answer == "":
                break
            data += bytes.fromhex(answer)
        return data

    async def show(self, files: dict[str, bytes], name: str, job: str) -> None:
        """Make *files* outputs of a part that old clients see under *name*."""
        blobs = {path: self.blob(str(number), data) for number, (path, data) in enumerate(files.items())}
        await self.store.put(ProcessId(job), list(blobs.values()))
        entries = [Entry(path, blob.size, blob.digest) for path, blob in blobs.items()]
        await self.store.commit(ProcessId(job), SHOWN + name, Manifest(entries))


MakeRig = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture
def rig(tmp_path: Path) -> MakeRig:
    """``async with rig() as r``; ``base`` says where the service keeps things."""

    @asynccontextmanager
    async def make(
        faults: Faults = no_faults, base: Path | None = None, chunk: int = CHUNK, reserve: int = 1
    ) -> AsyncIterator[Rig]:
        folder = base or tmp_path / "store"
        local = tmp_path / "local"
        local.mkdir(exist_ok=True)
        conf = make_conf(
            ftp_base_path=str(folder), transmission_chunk_size=chunk, recv_chunk_size=chunk, reserve=reserve
        )
        node = FtpNode(conf)
        await node.open()
        caller = LoopbackCaller(node.operations(), faults=faults)
        old = LoopbackCaller(node.operations(), Hello(OLD_CLIENT))
        made = Rig(folder, local, node, FtpStore(conf, None, caller, caller), caller, conf, old, chunk=chunk)
        try:
            yield made
        finally:
            await caller.close()
            await old.close()
            await made.node.close()

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not sys.platform.startswith("linux") or subprocess.run(mount, capture_output=True, timeout=20).returncode:
        pytest.skip("only who may mount file systems can test a disk that is really full")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=20)
