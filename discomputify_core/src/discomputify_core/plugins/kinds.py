"""The kinds of plugins: how the conf names one, which hook brings it, what it has to be.

Here: one row per kind, and which distributions bring well-known names. Not here: any loading.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class Kind:
    """One kind of plugin."""

    name: str
    #: Hook that registers plugins of this kind; "" where core alone brings them.
    hook: str
    #: ``module:Class`` that a plugin's class derives from; "" where there is none.
    interface: str = ""
    #: Key of the conf that names the one that is used; "" where several are used side by side.
    key: str = ""

    @property
    def label(self) -> str:
        """The kind in a sentence."""
        return "shared memory" if self.name == "shared_mem" else self.name


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "transport",
            "discomputify_register_transports",
            "discomputify_core.interfaces.transport:Transport",
            "TRANSPORT",
        ),
        Kind("store", "discomputify_register_stores", "discomputify_core.interfaces.files:FileStore", "STORE"),
        Kind(
            "shared_mem",
            "discomputify_register_memories",
            "discomputify_core.interfaces.memory:SharedMemory",
            "SHARED_MEM",
        ),
        Kind(
            "scheduler",
            "discomputify_register_schedulers",
            "discomputify_core.interfaces.scheduler:Scheduler",
            "SCHEDULER",
        ),
        Kind("engine", "", key="ENGINE"),
        Kind("role", "discomputify_register_roles", "discomputify_core.interfaces.role:ServiceRole"),
        Kind("command", "discomputify_register_commands", "click:Command"),
    )
}

#: What brings the well-known plugins; others are guessed from their name.
BROUGHT_BY = {
    "tcp": "discomputify-tcp",
    "ftp": "discomputify-ftp",
    "ftp_node": "discomputify-ftp",
    "roundrobin": "discomputify-sched-roundrobin",
    "leastload": "discomputify-sched-leastload",
    "sharedmem": "discomputify-sharedmem",
    "shared_mem_node": "discomputify-sharedmem",
    "redis": "discomputify-redis",
}


def distribution_of(name: str) -> str:
    """The distribution that most likely brings the plugin *name*."""
    return BROUGHT_BY.get(name, "discomputify-" + name.replace("_", "-").lower())
