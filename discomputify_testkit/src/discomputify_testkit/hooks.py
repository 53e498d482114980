"""What this plugin brings: fakes under the name "memory", for whole clusters inside one process, and the simulator.

Imports nothing but the marker.
"""

from __future__ import annotations

from discomputify_core.hookspecs import Registration, hookimpl


@hookimpl
def discomputify_register_transports() -> Registration:
    """``"TRANSPORT": "memory"``: see fakes/memory_transport.py."""
    return {"memory": "discomputify_testkit.fakes.memory_transport:MemoryTransport"}


@hookimpl
def discomputify_register_stores() -> Registration:
    """``"STORE": "memory"``: see fakes/memory_store.py."""
    return {"memory": "discomputify_testkit.fakes.memory_store:MemoryStore"}


@hookimpl
def discomputify_register_memories() -> Registration:
    """``"SHARED_MEM": "memory"``: see fakes/memory_shared.py."""
    return {"memory": "discomputify_testkit.fakes.memory_shared:FakeSharedMemory"}


@hookimpl
def discomputify_register_commands() -> Registration:
    """``discomputify simulate``."""
    return {"simulate": "discomputify_testkit.simulator.command:simulate"}
