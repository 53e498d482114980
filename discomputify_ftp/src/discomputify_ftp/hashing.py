"""BLAKE3 digests as the store writes them: ``blake3:HEX``. Here: bytes to digests. Not here: files."""

from __future__ import annotations

from blake3 import blake3

from discomputify_core.model.files import Digest
from discomputify_ftp.layout import ALGORITHM


class Blake3Hasher:
    """Digests a stream of bytes with BLAKE3."""

    def __init__(self) -> None:
        self._state = blake3()

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Add *data*."""
        self._state.update(data)

    def digest(self) -> Digest:
        """The digest of all data so far."""
        return Digest(f"{ALGORITHM}:{self._state.hexdigest()}")


def digest_of(data: bytes | bytearray | memoryview) -> Digest:
    """The digest of *data*."""
    return Digest(f"{ALGORITHM}:{blake3(data).hexdigest()}")
