"""What this plugin brings. Imports nothing but the marker."""

from __future__ import annotations

from discomputify_core.hookspecs import Registration, hookimpl


@hookimpl
def discomputify_register_schedulers() -> Registration:
    """``"SCHEDULER": "roundrobin"``."""
    return {"roundrobin": "discomputify_sched_roundrobin.policy:RoundRobin"}
