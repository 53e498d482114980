"""How busy this machine is, in the terms of ``get_node_load``, and whether there is room for more.

Blocks, so it is meant for threads. Not here: how much is enough (pressure.py).
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from discomputify_core.edge.machine import memory_left
from discomputify_core.model.node import NodeLoad
from discomputify_core.roles.node import pressure
from discomputify_core.roles.node.pressure import Pressure, Room

log = logging.getLogger("discomputify.node")


class LoadMeter:
    """Measures CPU load over the time between two calls; memory and disks as they are.

    Args:
        folders: where parts and files are kept. A disk is named by the first of them that is on it.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._folders = folders
        self._pressure = Pressure()
        #: Folders on disks that have little room left.
        self.short: tuple[Path, ...] = ()
        psutil.cpu_percent()  # the first call only starts the measurement

    def load(self) -> NodeLoad:
        """The load since the last call."""
        memory = psutil.virtual_memory()
        disks = list(self._disks())
        self.short = tuple(folder for folder, room in disks if room.left < room.enough)
        rooms = [pressure.of_memory(*memory_left()), *(room for _, room in disks)]
        return NodeLoad(
            CPU_LOAD=psutil.cpu_percent(),
            MEM_LOAD=memory.percent,
            MEM_USED=round(memory.used / 1e9, 3),
            paused=self._pressure.judge(rooms),
        )

    def _disks(self) -> Iterator[tuple[Path, Room]]:
        seen: dict[int, str] = {}
        for folder in self._folders:
            try:
                named = seen.setdefault(folder.stat().st_dev, str(folder))
                usage = shutil.disk_usage(folder)
            except OSError as error:  # whoever uses the folder will say so
                log.debug("the disk of %s cannot be looked at: %s", folder, error)
                continue
            if named == str(folder):
                yield folder, pressure.of_disk(named, usage.free, usage.total)
