"""A process's ways to its cluster: the transport, links to the services, the store's client side.

Which classes those are was chosen from the conf (plugins/selection.py); here they are put together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from discomputify_core import __version__
from discomputify_core.edge.calls import Link, Peer
from discomputify_core.interfaces.calls import Operations
from discomputify_core.interfaces.files import FileStore
from discomputify_core.interfaces.transport import Address, Transport
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Hello


def master_address(conf: Conf) -> Address:
    """Where the master is."""
    return Address(conf.master_node, conf.master_port_or_default)


def store_addresses(conf: Conf) -> tuple[Address, Address]:
    """Where the store and its query service are."""
    return Address(conf.ftp_node, conf.ftp_port), Address(conf.query_node_or_default, conf.query_port)


@attrs.define
class Connection:
    """What a process needs to talk to its cluster; closes what it opened.

    Attributes:
        store_role: the role that serves the store (``ftp_node`` for STORE ftp).
    """

    conf: Conf
    transport: Transport
    store_class: type[FileStore]
    store_options: Any = None
    store_role: str = "ftp_node"
    _links: list[Link] = attrs.field(factory=list)

    def link(
        self,
        address: Address,
        role: str,
        hello: Hello,
        *,
        operations: Operations | None = None,
        greet: Callable[[Peer], Awaitable[None]] | None = None,
    ) -> Link:
        """A link that is closed with this connection."""
        link = Link(self.transport, address, role, hello, operations=operations, greet=greet)
        self._links.append(link)
        return link

    def store(self, hello: Hello) -> FileStore:
        """The store's client side, for a process that says *hello*."""
        files, query = store_addresses(self.conf)
        return self.store_class(
            self.conf,
            self.store_options,
            query=self.link(query, self.store_role, hello),
            files=self.link(files, self.store_role, hello),
        )

    def hello(self, role: str, name: str = "") -> Hello:
        """What this process says of itself."""
        return Hello(role, name, version=__version__)

    async def close(self) -> None:
        """Close all links."""
        for link in self._links:
            with contextlib.suppress(OSError):
                await link.close()
        self._links.clear()
