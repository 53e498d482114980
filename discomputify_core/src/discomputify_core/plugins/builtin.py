"""What core itself brings, registered like any plugin."""

from __future__ import annotations

from discomputify_core.hookspecs import Registration, hookimpl

DISTRIBUTION = "discomputify-core"

#: Engines; no hook brings others yet.
ENGINES = ("nodes",)
#: Roles that core runs itself: a plugin's role cannot have such a name.
ROLES = ("master_node", "computing_node", "all")


@hookimpl
def discomputify_register_schedulers() -> Registration:
    """The plain policy: first free slot, in node order."""
    return {"fifo": "discomputify_core.plugins.fifo:Fifo"}
