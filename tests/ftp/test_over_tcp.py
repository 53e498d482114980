"""The store over real sockets: bytes in and out, and a service that restarts in the middle."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import attrs

from discomputify_core.edge.calls import Link
from discomputify_core.edge.serving import Server
from discomputify_core.interfaces.files import Blob
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.message import Hello
from discomputify_ftp.hashing import digest_of
from discomputify_ftp.service import FtpNode
from discomputify_ftp.store import FtpStore
from discomputify_tcp.transport import TcpTransport
from discomputify_testkit.confs import make_conf
from discomputify_testkit.running import run

JOB = ProcessId("job")


def test_a_service_that_restarts_while_bytes_travel(tmp_path: Path) -> None:
    conf = make_conf(ftp_base_path=str(tmp_path / "store"), transmission_chunk_size=100_000, recv_chunk_size=100_000)
    transport = TcpTransport(conf, None)
    size = 8_000_000
    path = tmp_path / "big"
    path.write_bytes(os.urandom(size))
    blob = Blob(digest_of(path.read_bytes()), size, path)

    async def serve(*addresses: Address) -> tuple[FtpNode, Server, tuple[Address, ...]]:
        node = FtpNode(conf)
        await node.open()
        server = Server(transport, Hello("ftp_node"), node.operations())
        return node, server, await server.open(addresses)

    async def main() -> None:
        node, server, addresses = await serve(Address("127.0.0.1", 0))
        link = Link(transport, addresses[0], "ftp_node", Hello("client"))
        store = FtpStore(conf, None, link, link)
        reached = asyncio.Event()
        travelled = 0

        def moved(count: int) -> None:
            nonlocal travelled
            travelled += count
            if travelled > size // 3:
                reached.set()

        async def restart() -> None:
            nonlocal node, server
            await asyncio.wait_for(reached.wait(), 20)
            reached.clear()
            await server.close()
            await node.close()
            node, server, _ = await serve(*addresses)

        await asyncio.gather(store.put(JOB, [blob], moved), restart())
        assert travelled == size, "every byte was counted once"
        digest = await store.commit(JOB, "program", Manifest([Entry("big", size, blob.digest)]))
        assert (await store.manifest(JOB, digest)).size == size

        out = attrs.evolve(blob, path=tmp_path / "out")
        travelled = 0
        reached.clear()
        await asyncio.gather(store.get(JOB, [out], moved), restart())
        assert out.path.read_bytes() == path.read_bytes()
        await link.close()
        await server.close()
        await node.close()

    run(main(), deadline=60)
