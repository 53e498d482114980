"""Roles made from a conf: what ``discomputify run`` and the embedded cluster start."""

from __future__ import annotations

from abc import ABC, abstractmethod

from discomputify_core.cluster.machine import Settings
from discomputify_core.edge.connect import Connection, hello, master_address
from discomputify_core.edge.opening import Loaded
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.conf import Conf
from discomputify_core.roles.master.journal import folder
from discomputify_core.roles.master.journal.journal import Journal
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
#: Seconds of a day.
DAY = 86_400.0
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

    def __init__(self, loaded: Loaded, lasting: bool) -> None:
        self._connection = Connection(loaded, hello(self.name))
        self._node = MasterNode(
            self._connection.transport,
            (master_address(loaded.conf),),
            self._connection.store(),
            loaded.scheduler(),
            Settings(
                expected=tuple(loaded.conf.computing_nodes),
                lease=loaded.conf.lease,
                keep=None if loaded.conf.keep_days is None else loaded.conf.keep_days * DAY,
            ),
            observe=observe_with(loaded.plugins),
            plugins=loaded.plugins.versions(loaded.conf),
            old_jobs=OldJobs(loaded.conf.input_path, loaded.conf.output_path, loaded.conf.legacy_parts),
            memory=self._connection.memory(),
            journal=_journal(loaded.conf) if lasting else None,
            beat=loaded.conf.beat,
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


def master_role(loaded: Loaded, lasting: bool = True) -> Role:
    """The master, of a conf opened with the kinds of ``CORE_ROLES["master_node"]``.

    Args:
        lasting: whether it writes down what happens, so that its jobs survive it.

    Raises:
        BadConf: MASTER_PATH is on a network file system.
        DiskError: it cannot be made.
    """
    return _Master(loaded, lasting)


def _journal(conf: Conf) -> Journal:
    return Journal(folder.place(conf.master_path, master_address(conf)))


def service_role(loaded: Loaded, name: str) -> Role:
    """A plugin's role, of a conf opened with it."""
    return _Service(loaded, name)


def node_role(loaded: Loaded, name: str | None = None, slots: int | None = None) -> NodeRole:
    """A computing node, of a conf opened with the kinds of ``CORE_ROLES["computing_node"]``."""
    return NodeRole(loaded, name, slots)
