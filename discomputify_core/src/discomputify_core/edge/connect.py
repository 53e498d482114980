"""A process's ways to its cluster: the transport, links to the services, the store's client side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import attrs

from discomputify_core import __version__
from discomputify_core.edge.calls import Link, Peer
from discomputify_core.edge.opening import Loaded
from discomputify_core.interfaces.calls import Operations
from discomputify_core.interfaces.files import FileStore
from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.interfaces.transport import Address, Transport
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Hello

#: The role that serves the store, as its peers are to call themselves.
STORE_ROLE = "ftp_node"
#: The role that serves shared memory, as its peers are to call themselves.
MEMORY_ROLE = "shared_mem_node"


def master_address(conf: Conf) -> Address:
    """Where the master is."""
    return Address(conf.master_node, conf.master_port_or_default)


def store_addresses(conf: Conf) -> tuple[Address, Address]:
    """Where the store and its query service are."""
    return Address(conf.ftp_node, conf.ftp_port), Address(conf.query_node_or_default, conf.query_port)


def memory_address(conf: Conf) -> Address:
    """Where the shared-memory service is, if there is one."""
    return Address(conf.shared_mem_node_or_default, conf.shared_mem_port)


def keys_of(conf: Conf, address: str) -> str:
    """The conf's keys that *address* comes from, for an error; "" if it is none of core's services."""
    files, query = store_addresses(conf)
    rows = (
        (master_address(conf), "MASTER_NODE", "COMPUTING_PORT" if conf.master_port is None else "MASTER_PORT"),
        (files, "FTP_NODE", "FTP_PORT"),
        (query, "FTP_NODE" if conf.query_node is None else "QUERY_NODE", "QUERY_PORT"),
        (
            memory_address(conf),
            "MASTER_NODE" if conf.shared_mem_node is None else "SHARED_MEM_NODE",
            "SHARED_MEM_PORT",
        ),
    )
    return ", ".join(dict.fromkeys(key for where, *keys in rows if str(where) == address for key in keys))


def hello(role: str, name: str = "") -> Hello:
    """What this process says of itself."""
    return Hello(role, name, version=__version__)


@attrs.define
class Connection:
    """What a process needs to talk to its cluster; closes what it opened.

    Args:
        loaded: a conf opened with its transport and store.
        hello: what this process says of itself.
    """

    loaded: Loaded
    hello: Hello
    transport: Transport = attrs.field(init=False)
    _links: list[Link] = attrs.field(factory=list, init=False)
    _to_store: list[Link] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.transport = self.loaded.transport()

    @property
    def conf(self) -> Conf:
        """The conf."""
        return self.loaded.conf

    def master(
        self,
        *,
        operations: Operations | None = None,
        greet: Callable[[Peer], Awaitable[None]] | None = None,
    ) -> Link:
        """A link to the master, closed with this connection."""
        return self._link(master_address(self.conf), "master_node", operations, greet)

    def store(self) -> FileStore:
        """The store's client side."""
        self._to_store = [files, query] = list(self.store_links())
        return self.loaded.store(query=query, files=files)

    def memory(self) -> SharedMemory | None:
        """The shared memory's client side; None where the conf has none. Nothing is dialled before it is used."""
        if self.conf.shared_mem is None:
            return None
        return self.loaded.memory(self._link(memory_address(self.conf), MEMORY_ROLE))

    async def meet_store(self, timeout: float) -> None:
        """Connect what :meth:`store` made to both of the store's services.

        Raises:
            Unreachable: one of them cannot be reached within *timeout* seconds.
            Refused: it said no.
        """
        meeting = [asyncio.ensure_future(link.connect(timeout)) for link in self._to_store]
        try:
            await asyncio.gather(*meeting)
        finally:
            for each in meeting:
                each.cancel()
            await asyncio.gather(*meeting, return_exceptions=True)

    def store_links(self) -> tuple[Link, Link]:
        """Links to the store and to its query service, for asking whether they are there."""
        files, query = store_addresses(self.conf)
        return self._link(files, STORE_ROLE), self._link(query, STORE_ROLE)

    def _link(
        self,
        address: Address,
        role: str,
        operations: Operations | None = None,
        greet: Callable[[Peer], Awaitable[None]] | None = None,
    ) -> Link:
        link = Link(self.transport, address, role, self.hello, operations=operations, greet=greet)
        self._links.append(link)
        return link

    async def close(self) -> None:
        """Close all links."""
        for link in self._links:
            with contextlib.suppress(OSError):
                await link.close()
        self._links.clear()
