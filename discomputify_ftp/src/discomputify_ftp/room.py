"""How much room the store's disk has, and who may still use it: below the reserve only nodes and the master may.

Here: sizes and sentences. Not here: what is written (blobs.py, arrivals.py, refs.py).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from discomputify_core.errors import StoreFull
from discomputify_ftp.disk import WHOSE, naming

#: The reserve where the conf says nothing: the larger of so many bytes and of such a share of the disk.
LEAST, SHARE = 2_000_000_000, 0.05
#: Roles whose outputs, logs and checkpoints are taken as long as there is any room: what they bring was paid for with
#: computing time. All others bring programs, which they still have.
MAY_USE_RESERVE = frozenset({"computing_node", "master_node"})


class Room:
    """The disk of the folder *base*.

    Args:
        base: the store's folder.
        reserve: RESERVE of the conf, bytes; None: as :data:`LEAST` and :data:`SHARE` say.
    """

    def __init__(self, base: Path, reserve: int | None = None) -> None:
        self._base = base
        self._reserve = reserve

    def disk(self) -> tuple[int, int]:
        """Bytes that are free, and bytes in all.

        Raises:
            DiskError: the folder is gone.
        """
        with naming(self._base, WHOSE):
            usage = shutil.disk_usage(self._base)
        return usage.free, usage.total

    def full(self) -> str:
        """Why no uploads are taken, and what to do about it; "" if they are."""
        free, total = self.disk()
        return self._sentence(free, total) if free < self._kept(total) else ""

    def check(self, wanted: int, reserve: bool) -> None:
        """Refuse *wanted* further bytes where there is no room for them; those of the *reserve* are room if so said.

        Raises:
            StoreFull: there is none.
        """
        free, total = self.disk()
        if free < wanted:
            raise StoreFull(
                f"No space is left for {wanted:,} bytes at {self._base} {WHOSE}: {free:,} are free. "
                "Free space there and try again.",
                path=str(self._base),
                free=free,
            )
        if not reserve and free - wanted < self._kept(total):
            raise StoreFull(self._sentence(free, total, wanted), path=str(self._base), free=free)

    def _kept(self, total: int) -> int:
        return self._reserve if self._reserve is not None else max(LEAST, int(total * SHARE))

    def _sentence(self, free: int, total: int, wanted: int = 0) -> str:
        kept = self._kept(total)
        has = f"The store at {self._base} {WHOSE} has {free:,} bytes free"
        why = f"less than its reserve of {kept:,}" if free < kept else f"and {wanted:,} more would use up its reserve"
        limit = "" if free < kept else f" of {kept:,}"
        return (
            f"{has}, {why}{limit} (RESERVE in its conf): outputs are taken, uploads are not. "
            "Free space there, or clear jobs that are over (discomputify clear), and try again."
        )
