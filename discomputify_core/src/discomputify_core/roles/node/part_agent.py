"""What a part may ask of its computing node: an input that has not been fetched yet, to be heard, shared memory.

The program never sees the store, the cluster key, or another job's files: the node asks on its behalf.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from typing import Any

from discomputify_core.errors import BadInput, BlobDamaged, BlobMissing, NoSharedMemory
from discomputify_core.interfaces.calls import GiveUp
from discomputify_core.interfaces.files import FileStore
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.job import JobSpec
from discomputify_core.roles.node.agent_line import Body, OnDone
from discomputify_core.roles.node.cache import BlobCache
from discomputify_core.roles.node.memory import PartMemory
from discomputify_core.roles.node.workspace import TRIES, Workspace

MAX_NOTE = 200
NO_MEMORY = (
    "This cluster has no shared memory: the conf of this part's computing node has no SHARED_MEM. Install "
    'discomputify-sharedmem on every machine (pip install discomputify-sharedmem), set "SHARED_MEM": "sharedmem" in '
    "the conf, and start the roles again, with shared_mem_node among them."
)

OnProgress = Callable[[float, str], None]
Fetch = Callable[[], Awaitable[None]]


async def at_once(fetch: Fetch) -> None:
    """Fetch, without any patience."""
    await fetch()


class PartAgent:
    """Answers one part; :meth:`handle` is what ``AgentServer.register`` takes.

    Args:
        workspace, spec, manifest: the attempt's folder, its job, the program's tree.
        cache, store: where inputs come from.
        on_progress: told each fraction (0 to 1) and note, a few times per second at most unless the program
            is hostile.
        memory: the attempt's use of shared memory; None where the conf names none.
        checkpoint: brings the part's checkpoint into the store.
        patiently: has patience with a store that is away while an input is fetched.
    """

    def __init__(
        self,
        workspace: Workspace,
        spec: JobSpec,
        manifest: Manifest,
        cache: BlobCache,
        store: FileStore,
        on_progress: OnProgress,
        memory: PartMemory | None = None,
        checkpoint: Callable[[], Awaitable[None]] | None = None,
        patiently: Callable[[Fetch], Awaitable[None]] = at_once,
    ) -> None:
        self._workspace = workspace
        self._spec = spec
        self._manifest = manifest
        self._cache = cache
        self._store = store
        self._on_progress = on_progress
        self._memory = memory
        self._checkpoint = checkpoint
        self._patiently = patiently
        self._opening: dict[str, asyncio.Lock] = {}

    async def handle(self, operation: str, data: dict[str, Any], body: Body = b"") -> tuple[dict[str, Any], Body]:
        """Answer one request.

        Raises:
            BadInput: the request is not one that a part can make.
            DiskError, StoreError, Unreachable: the input cannot be fetched.
            SharedMemoryError, Unreachable: as :meth:`PartMemory.handle`.
        """
        if operation == "memory":
            if self._memory is None:
                raise NoSharedMemory(NO_MEMORY)
            return await self._memory.handle(data, body)
        if body:
            raise BadInput(f"Nothing can be sent along with {operation[:40]!r}.")
        if operation == "open":
            return {"found": await self._open(data.get("path"))}, b""
        if operation == "progress":
            self._progress(data.get("fraction"), data.get("note", ""))
            return {}, b""
        if operation == "checkpoint" and self._checkpoint is not None:
            await self._checkpoint()
            return {}, b""
        raise BadInput(f"A part cannot ask its node for {operation[:40]!r}.")

    def quick(self, operation: str, data: dict[str, Any], body: Body, told: OnDone) -> GiveUp | None:
        """See :data:`~discomputify_core.roles.node.agent_line.Quick`."""
        if operation != "memory" or self._memory is None:
            return None
        return self._memory.quick(data, body, told)

    def _progress(self, fraction: object, note: object) -> None:
        if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not isinstance(note, str):
            raise BadInput("A progress is a number and a note.")
        if not math.isnan(fraction):
            self._on_progress(min(max(float(fraction), 0.0), 1.0), note[:MAX_NOTE])

    async def _open(self, path: object) -> bool:
        if not isinstance(path, str):
            raise BadInput("The path of an input is text.")
        entry = self._input(path)
        if entry is None:
            return False
        lock = self._opening.setdefault(path, asyncio.Lock())
        try:
            async with lock:
                await self._patiently(lambda: self._fetch(entry))
        finally:
            if not lock.locked():
                self._opening.pop(path, None)
        return True

    def _input(self, path: str) -> Entry | None:
        if not path.startswith(self._spec.input_path + "/"):
            return None
        entries = self._manifest.entries
        at = bisect_left(entries, path, key=lambda entry: entry.path)
        found = entries[at] if at < len(entries) else None
        return found if found is not None and found.path == path and not found.folder else None

    async def _fetch(self, entry: Entry) -> None:
        owner = object()
        self._cache.pin(owner, [entry])
        try:
            for tries_left in reversed(range(TRIES)):
                await self._cache.ensure(self._store, self._spec.process_id, [entry])
                try:
                    return await asyncio.to_thread(self._workspace.add, entry)
                except (BlobDamaged, BlobMissing):
                    if not tries_left:
                        raise
        finally:
            self._cache.unpin(owner)
