"""A whole cluster in this process, on loopback: the same roles, transport and store as in production.

For ``submit --local``, for trying things out and for tests. It has a fresh key, free ports and a temporary folder,
and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import attrs

from discomputify_core.edge import clock
from discomputify_core.edge.connect import STORE_ROLE
from discomputify_core.edge.machine import usable_cpus
from discomputify_core.edge.opening import Loaded, equip
from discomputify_core.errors import DiscomputifyError, DiskError
from discomputify_core.model.conf import Conf, Count, Host, Key, Name, Place, Port, Size
from discomputify_core.plugins.manager import Plugins
from discomputify_core.roles.node.disk import FolderLock
from discomputify_core.roles.starting import Role, master_role, node_role, service_role

log = logging.getLogger("discomputify.local")

#: Kinds of plugins that all roles together use.
NEEDED = ("transport", "store", "shared_mem", "scheduler")
#: The shared memory of a cluster without a conf, where it is installed.
MEMORY = "sharedmem"
HOST = "127.0.0.1"
#: How names of temporary folders of embedded clusters begin.
PREFIX = "discomputify-local-"
#: Seconds that the node has to join its own master.
JOIN = 20.0


class LocalCluster:
    """An embedded cluster; an asynchronous context manager that gives the conf to reach it.

    Args:
        slots: CPUs that parts may use; None or 0: all that this process may use.
        like: a conf whose other settings (scheduler, interpreter, paths inside the program…) apply.
        nodes: how many computing nodes, each with *slots*.
    """

    def __init__(self, slots: int | None = None, like: Conf | None = None, nodes: int = 1) -> None:
        self._slots = slots or usable_cpus()
        self._like = like
        self._nodes = nodes
        self._folder: Path | None = None
        self._lock: FolderLock | None = None
        self._roles: list[Role] = []

    async def __aenter__(self) -> Loaded:
        try:
            return await self._start()
        except BaseException:
            # Also when interrupted: nothing is left behind.
            await self._end()
            raise

    async def __aexit__(self, *exc: object) -> None:
        await self._end()

    async def _start(self) -> Loaded:
        await asyncio.to_thread(sweep, Path(tempfile.gettempdir()))
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._lock = FolderLock(self._folder, "TMPDIR")
            self._lock.take()
        except OSError as error:
            raise DiskError(
                f"No temporary folder can be made in '{tempfile.gettempdir()}': {error.strerror}.",
                path=tempfile.gettempdir(),
            ) from error
        conf = self._conf(self._folder)
        memory = equip(conf).memory_role
        loaded = equip(conf, NEEDED, [STORE_ROLE, *filter(None, [memory])])
        store = service_role(loaded, STORE_ROLE)
        self._roles.append(store)
        (first, *_) = await store.start()
        loaded = _at(loaded, ftp_port=Port(first.port), query_port=Port(first.port))
        if memory:
            service = service_role(loaded, memory)
            self._roles.append(service)
            (first, *_) = await service.start()
            loaded = _at(loaded, shared_mem_port=Port(first.port))
        master = master_role(loaded, lasting=False)
        self._roles.append(master)
        (address, *_) = await master.start()
        loaded = _at(loaded, master_port=Port(address.port))
        for at in range(self._nodes):
            node = node_role(loaded, f"local-{at + 1}" if self._nodes > 1 else "local")
            self._roles.append(node)
            await node.start()
            await node.joined(JOIN)
        return loaded

    def _conf(self, folder: Path) -> Conf:
        key = Key(clock.token(16))
        return attrs.evolve(
            self._like or _bare(),
            encryption_key=key,
            decryption_key=key,
            ftp_node=Host(HOST),
            query_node=Host(HOST),
            master_node=Host(HOST),
            comp_node=None,
            computing_nodes=(),
            shared_mem_node=Host(HOST),
            ftp_port=Port(0),
            shared_mem_port=Port(0),
            query_port=Port(0),
            master_port=Port(0),
            ftp_base_path=Place(str(folder / "store")),
            work_path=Place(str(folder / "work")),
            cache_path=Place(str(folder / "cache")),
            cache_limit=Size(max(shutil.disk_usage(folder).free, 1)),
            reserve=Size(1),  # what is uploaded is this machine's own, and goes again
            slots=Count(self._slots),
        )

    async def _end(self) -> None:
        try:
            for role in reversed(self._roles):
                try:
                    await role.close()
                except Exception:  # the others are ended and the folder is removed all the same
                    log.exception("ending the embedded %s failed", role.name)
        finally:
            self._roles.clear()
            if self._lock is not None:
                self._lock.release()
                self._lock = None
            if self._folder is not None:
                await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
                self._folder = None


def sweep(folder: Path) -> None:
    """Remove what embedded clusters left in *folder* that were killed before they could tidy up."""
    for left in folder.glob(PREFIX + "*"):
        if not (left / "lock").is_file():  # being made just now, or not a cluster's
            continue
        lock = FolderLock(left, "TMPDIR")
        try:
            lock.take()
        except DiscomputifyError:  # its cluster is alive, or it is another user's
            continue
        try:
            shutil.rmtree(left, ignore_errors=True)
        finally:
            lock.release()


def _bare() -> Conf:
    """The settings of a cluster that no conf describes: shared memory where there is some."""
    return Conf(shared_mem=Name(MEMORY) if Plugins.load().find("shared_mem", MEMORY) else None)


def _at(loaded: Loaded, **ports: Port) -> Loaded:
    changes: Any = ports
    return attrs.evolve(loaded, conf=attrs.evolve(loaded.conf, **changes))
