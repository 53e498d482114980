"""A process's ways to its cluster: the transport, links to the services, the store's client side."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import attrs

from discomputify_core import __version__
from discomputify_core.edge.calls import Link, Peer
from discomputify_core.edge.opening import Loaded
from discomputify_core.interfaces.calls import Operations
from discomputify_core.interfaces.files import FileStore
from discomputify_core.interfaces.transport import Address, Transport
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Hello

#: The role that serves the store, as its peers are to call themselves.
STORE_ROLE = "ftp_node"


def master_address(conf: Conf) -> Address:
    """Where the master is."""
    return Address(conf.master_node, conf.master_port_or_default)


def store_addresses(conf: Conf) -> tuple[Address, Address]:
    """Where the store and its query service are."""
    return Address(conf.ftp_node, conf.ftp_port), Address(conf.query_node_or_default, conf.query_port)


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
        files, query = store_addresses(self.conf)
        return self.loaded.store(query=self._link(query, STORE_ROLE), files=self._link(files, STORE_ROLE))

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
