"""A cluster inside the test's own process: real roles and real programs, over the in-memory transport and store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import msgpack
import pytest

from discomputify_core.client.client import Client
from discomputify_core.cluster.machine import Settings
from discomputify_core.edge.connect import STORE_ROLE, Connection, hello, master_address, store_addresses
from discomputify_core.edge.opening import Loaded, equip
from discomputify_core.edge.serving import Server
from discomputify_core.errors import OurBug
from discomputify_core.model.conf import Count, Name, Place, Port, Size
from discomputify_core.model.message import Message
from discomputify_core.roles.master.master import MasterNode
from discomputify_core.roles.node.computing import ComputingNode
from discomputify_testkit.confs import fresh_key, make_conf
from discomputify_testkit.fakes.memory_store import MemoryStore
from discomputify_testkit.fakes.memory_transport import MemoryChannel

#: Bytes of data in one message that the real transport still takes.
MOST_DATA = 1024 * 1024 - 200


class SmallCluster:
    """Makes roles that find each other; an asynchronous context manager that closes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = make_conf(
            transport=Name("memory"),
            store=Name("memory"),
            master_port=Port(7),
            work_path=Place(str(folder / "work")),
            cache_path=Place(str(folder / "cache")),
            cache_limit=Size(100_000_000),
            slots=Count(2),
            sections={"memory": {"space": fresh_key()}},
        )
        self._open: list[Any] = []

    async def __aenter__(self) -> SmallCluster:
        # The store is in memory; clients make sure that its service is there all the same.
        service = Server(self.loaded().transport(), hello(STORE_ROLE), {})
        self._open.append(service)
        await service.open(store_addresses(self.conf))
        return self

    async def __aexit__(self, *exc: object) -> None:
        while self._open:
            await self._open.pop().close()

    def loaded(self, **changes: Any) -> Loaded:
        """The conf, with *changes*."""
        return equip(attrs.evolve(self.conf, **changes), ("transport", "store", "scheduler"))

    @property
    def store(self) -> MemoryStore:
        """What all roles' stores hold."""
        loaded = self.loaded()
        return MemoryStore(loaded.conf, loaded.conf.sections["memory"])

    async def master(self, settings: Settings | None = None, **more: Any) -> MasterNode:
        """A master that serves."""
        loaded = self.loaded()
        connection = Connection(loaded, hello("master_node"))
        address = master_address(loaded.conf)
        master = MasterNode(
            connection.transport, (address,), connection.store(), loaded.scheduler(), settings or Settings(), **more
        )
        self._open.append(connection)
        self._open.append(master)
        await master.start()
        return master

    async def node(self, name: str = "n1", *, join: bool = True, **changes: Any) -> ComputingNode:
        """A computing node, joined unless *join* says otherwise."""
        node = ComputingNode(self.loaded(**changes), name)
        self._open.append(node)
        await node.start()
        if join:
            await node.joined(20)
        return node

    def client(self) -> Client:
        """A client."""
        client = Client(self.loaded())
        self._open.append(client)
        return client

    def program(self, text: str, **files: str) -> Path:
        """A folder with a main.py of *text*, and inputs."""
        folder = self.folder / f"program{len(list(self.folder.glob('program*')))}"
        (folder / "INPUT_PATH").mkdir(parents=True)
        (folder / "main.py").write_text(text, encoding="utf-8")
        for name, content in files.items():
            (folder / "INPUT_PATH" / name).write_text(content, encoding="utf-8")
        return folder


@pytest.fixture
def small(tmp_path: Path) -> Callable[[], SmallCluster]:
    """Makes a :class:`SmallCluster`; one per test."""
    return lambda: SmallCluster(tmp_path)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The in-memory transport refuses what a real one must: data of over a mebibyte."""
    send = MemoryChannel.send

    async def checked(self: MemoryChannel, message: Message) -> None:
        size = len(msgpack.packb(message.data, default=repr))
        if size > MOST_DATA:
            raise OurBug(f"The data of '{message.operation}' takes {size} bytes.")
        await send(self, message)

    monkeypatch.setattr(MemoryChannel, "send", checked)
