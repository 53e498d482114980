"""What the cache asks before it asks the store. Here: the promise. Not here: how it is kept (sharing.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from discomputify_core.interfaces.files import Blob, FileStore, Moved
from discomputify_core.model.ids import ProcessId


class Others(Protocol):
    """Other nodes that may have what is needed (sharing.py)."""

    async def fetch(
        self, store: FileStore, process_id: ProcessId, blobs: Sequence[Blob], moved: Moved | None
    ) -> list[Blob]:
        """Fetch some of *blobs*; returns the others, which the store is asked for."""

    async def have(self, store: FileStore, process_id: ProcessId, blobs: Sequence[Blob]) -> None:
        """*blobs* are here now."""
