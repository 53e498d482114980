"""The room that a scope's things take, against its limits. Not here: the things."""

from __future__ import annotations

import attrs

from discomputify_core.errors import MemoryFull
from discomputify_core.model.memory import MAX_NAME_BYTES, OVERHEAD, Limits, Value

#: How many names of rounds there may be for each entry that there may be: of a complete round its number is kept.
ROUND_NAMES = 10


def weight(name: str) -> int:
    """Bytes that something counts for being there under *name*."""
    return OVERHEAD + (len(name) if name.isascii() else len(name.encode()))


def short(name: str) -> bool:
    """Whether *name* is certainly not too long, without looking at its bytes."""
    return 0 < len(name) <= MAX_NAME_BYTES // 4


@attrs.define
class Room:
    """What a scope holds, and may hold."""

    limits: Limits
    #: Bytes.
    size: int = 0
    #: Entries and locks.
    count: int = 0
    #: Values of all lists.
    items: int = 0

    def check(self, value: Value) -> int:
        """Bytes of *value*.

        Raises:
            MemoryFull: it is larger than any value may be.
        """
        size = value.size
        if size > self.limits.value_bytes:
            raise full("value_bytes", f"A value of {size:,} bytes", f"{self.limits.value_bytes:,} bytes")
        return size

    def take(self, size: int = 0, count: int = 0, items: int = 0) -> None:
        """Make room; negative numbers free it.

        Raises:
            MemoryFull: there is none; nothing has changed.
        """
        limits = self.limits
        if size > 0 and self.size + size > limits.job_bytes:
            held = f"The job's shared memory with {self.size + size:,} bytes"
            raise full("job_bytes", held, f"{limits.job_bytes:,} bytes")
        if count > 0 and self.count + count > limits.job_entries:
            held = f"The job's shared memory with {self.count + count:,} entries and locks"
            raise full("job_entries", held, f"{limits.job_entries:,}")
        if items > 0 and self.items + items > limits.job_entries:
            held = f"The job's shared memory with {self.items + items:,} values in its lists"
            raise full("job_entries", held, f"{limits.job_entries:,}")
        self.size += size
        self.count += count
        self.items += items

    def check_round_names(self, count: int) -> None:
        """Refuse a further name of a round where there are *count*.

        Raises:
            MemoryFull: there may be no more.
        """
        most = ROUND_NAMES * self.limits.job_entries
        if count >= most:
            held = f"A job with more than {most:,} names of barriers, gathers, reduces and broadcasts"
            raise full("job_entries", held, f"{ROUND_NAMES} for each of {self.limits.job_entries:,} entries")


def full(limit: str, held: str, most: str) -> MemoryFull:
    """The error that names the option *limit*."""
    return MemoryFull(
        f"{held} would be over the limit of {most}. Nothing was changed. "
        f'The limit is {limit} in the section "sharedmem" of the conf of shared_mem_node.',
        limit=limit,
    )
