"""How busy this machine is, in the terms of ``get_node_load``."""

from __future__ import annotations

import psutil

from discomputify_core.model.node import NodeLoad


class LoadMeter:
    """Measures CPU load over the time between two calls; memory as it is."""

    def __init__(self) -> None:
        psutil.cpu_percent()  # the first call only starts the measurement

    def load(self) -> NodeLoad:
        """The load since the last call."""
        memory = psutil.virtual_memory()
        return NodeLoad(CPU_LOAD=psutil.cpu_percent(), MEM_LOAD=memory.percent, MEM_USED=round(memory.used / 1e9, 3))
