"""What this plugin registers. Nothing heavy is imported here: core imports what a role uses."""

from __future__ import annotations

from discomputify_core.hookspecs import Registration, hookimpl


@hookimpl
def discomputify_register_memories() -> Registration:
    """The shared memory, as ``"SHARED_MEM": "sharedmem"`` names it."""
    return {"sharedmem": "discomputify_sharedmem.client:SharedMem"}


@hookimpl
def discomputify_register_roles() -> Registration:
    """The service, as ``discomputify run shared_mem_node`` starts it."""
    return {"shared_mem_node": "discomputify_sharedmem.service:SharedMemNode"}
