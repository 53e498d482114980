"""Computing nodes as values: what they are, what they carry, how they look to a user."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from discomputify_core.model.ids import NodeName


@attrs.frozen
class NodeFacts:
    """What a computing node says of itself when it joins."""

    name: NodeName
    slots: int
    #: Bytes of memory of the machine (or of the node's limit).
    memory: int = 0
    resources: Mapping[str, int] = attrs.field(factory=dict)
    os: str = ""
    architecture: str = ""
    #: Version of the interpreter that runs parts, and its path.
    python: str = ""
    interpreter: str = ""
    #: Installed distributions of that interpreter: name -> version.
    packages: Mapping[str, str] = attrs.field(factory=dict)
    #: Bytes that the blob cache may hold.
    cache_limit: int = 0
    #: user@host
    owner: str = ""
    #: Version of discomputify-core there.
    version: str = ""
    #: Random per start of the node: a restarted node has another one.
    session: str = ""


@attrs.frozen
class NodeLoad:
    """Load as the seed's users know it."""

    #: Per cent of all CPUs.
    CPU_LOAD: float = 0.0
    #: Per cent of memory.
    MEM_LOAD: float = 0.0
    #: GB in use.
    MEM_USED: float = 0.0
    #: Why the node takes no new parts just now (memory is short, a disk is full), a sentence; "": it does.
    paused: str = ""


@attrs.frozen
class NodeStatus:
    """A node as ``nodes --json`` shows it."""

    name: str
    #: "live", "cut", "away" (not back since the master was started again), "lost", "left", "missing" (expected by
    #: COMPUTING_NODES, never seen), "refused".
    state: str
    slots: int = 0
    running: int = 0
    load: NodeLoad = attrs.field(factory=NodeLoad)
    address: str = ""
    #: Why it is in that state, or what holds it back.
    reason: str = ""
    facts: NodeFacts | None = None
    #: Seconds (Unix time) when it was last heard of.
    seen_at: float = 0.0
    #: Whether somebody asked that it takes no more parts (``nodes drain``).
    drained: bool = False
