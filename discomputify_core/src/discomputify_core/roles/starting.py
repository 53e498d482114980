"""Roles made from a conf: what ``discomputify run`` and the embedded cluster start."""

from __future__ import annotations

from abc import ABC, abstractmethod

from discomputify_core.cluster.machine import Settings
from discomputify_core.edge.connect import Connection, hello, master_address
from discomputify_core.edge.opening import Loaded
from discomputify_core.interfaces.transport import Address
from discomputify_core.roles.master.master import MasterNode
from discomputify_core.roles.master.observers import observe_with
from discomputify_core.roles.master.old_starting import OldJobs
from discomputify_core.roles.node.computing import ComputingNode
from discomputify_core.roles.stores import ServiceHost

#: Core's own roles, and the kinds of plugins that each uses.
CORE_ROLES = {
    "master_node": ("transport", "store", "shared_mem", "scheduler"),
    "computing_node": ("transport", "store", "shared_mem"),
}
#: Kinds that a plugin's service role uses.
SERVICE_KINDS = ("transport",)


class Role(ABC):
    """A role that can be started and closed, once."""

    name: str

    @abstractmethod
    async def start(self) -> tuple[Address, ...]:
        """Begin; returns where it serves (nothing, for one that serves nowhere)."""

    @abstractmethod
    async def close(self) -> None:
        """End, as planned. Idempotent."""


class _Master(Role):
    name = "master_node"

    def __init__(self, loaded: Loaded) -> None:
        self._connection = Connection(loaded, hello(self.name))
        self._node = MasterNode(
            self._connection.transport,
            (master_address(loaded.conf),),
            self._connection.store(),
            loaded.scheduler(),
            Settings(expected=tuple(loaded.conf.computing_nodes)),
            observe=observe_with(loaded.plugins),
            plugins=loaded.plugins.versions(loaded.conf),
            old_jobs=OldJobs(loaded.conf.input_path, loaded.conf.output_path, loaded.conf.legacy_parts),
            memory=self._connection.memory(),
        )

        self._connection.transport.on_refused = self._node.refused

    async def start(self) -> tuple[Address, ...]:
        return await self._node.start()

    async def close(self) -> None:
        await self._node.close()
        await self._connection.close()


class _Service(Role):
    def __init__(self, loaded: Loaded, name: str) -> None:
        self.name = name
        self._host = ServiceHost(loaded.transport(), loaded.role(name))

    async def start(self) -> tuple[Address, ...]:
        return await self._host.start()

    async def close(self) -> None:
        await self._host.close()


class NodeRole(Role):
    """The computing node."""

    name = "computing_node"

    def __init__(self, loaded: Loaded, name: str | None, slots: int | None = None) -> None:
        self.node = ComputingNode(loaded, name, slots)

    async def start(self) -> tuple[Address, ...]:
        """See :meth:`Role.start`; does not wait for the master."""
        await self.node.start()
        return ()

    async def joined(self, timeout: float | None = None) -> None:
        """Wait until the master has accepted it.

        Raises:
            Refused: it did not.
            Unreachable: not within *timeout* seconds.
        """
        await self.node.joined(timeout)

    async def close(self) -> None:
        """See :meth:`Role.close`."""
        await self.node.close()


def master_role(loaded: Loaded) -> Role:
    """The master, of a conf opened with the kinds of ``CORE_ROLES["master_node"]``."""
    return _Master(loaded)


def service_role(loaded: Loaded, name: str) -> Role:
    """A plugin's role, of a conf opened with it."""
    return _Service(loaded, name)


def node_role(loaded: Loaded, name: str | None = None, slots: int | None = None) -> NodeRole:
    """A computing node, of a conf opened with the kinds of ``CORE_ROLES["computing_node"]``."""
    return NodeRole(loaded, name, slots)
