"""What this plugin registers. Nothing heavy is imported here: core imports what a role uses."""

from __future__ import annotations

from discomputify_core.hookspecs import Registration, hookimpl


@hookimpl
def discomputify_register_memories() -> Registration:
    """The shared memory, as ``"SHARED_MEM": "redis"`` names it."""
    return {"redis": "discomputify_redis.memory:RedisMemory"}
