"""Makes a snapshot of a journal, in a process of its own: ``python -m discomputify_core.roles.master.journal.compact``.

It reads the segments that the master does not write to any more, and nothing of the master itself. Segments that are
older than the older one of the last two snapshots are removed then.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

from discomputify_core.errors import DiscomputifyError, DiskError
from discomputify_core.roles.master.journal import reading, snapshots
from discomputify_core.roles.master.journal.recovery import plain, recover

#: What this process ends with where the journal is damaged.
DAMAGED = 3


def compact(folder: Path) -> Path | None:
    """Write a snapshot of all sealed segments in *folder*; None if there is nothing new in them.

    Raises:
        DiskError: it cannot be read or written, or is damaged (``damaged`` among its fields).
        DiscomputifyError: a newer release wrote it, or a bug.
    """
    found = reading.segments(folder)
    if len(found) < 2:
        return None
    written_to = found[-1].first
    recovered = recover(folder, lambda segment: segment.first < written_to)
    spoilt = [str(each) for each in recovered.damage if not each.torn] + recovered.faults
    if spoilt:  # the running master knows more than this snapshot would hold
        raise DiskError(f"The journal in {folder} is damaged: {spoilt[0]}", path=str(folder), damaged=True)
    if recovered.next - 1 <= recovered.snapshot:
        return None
    path = snapshots.write(
        folder, recovered.next - 1, plain(recovered.state, recovered.wall, recovered.last, recovered.touched)
    )
    forget(folder)
    return path


def forget(folder: Path) -> None:
    """Remove segments that nobody needs: all their records are in the older one of the snapshots kept."""
    kept = snapshots.paths(folder)
    if len(kept) < snapshots.KEPT:
        return
    oldest = snapshots.number_of(kept[0])
    found = reading.segments(folder)
    for segment, following in itertools.pairwise(found):
        if following.first <= oldest + 1:
            segment.path.unlink(missing_ok=True)


def main() -> int:
    """Make a snapshot of the folder that the command line names."""
    if hasattr(os, "nice"):
        os.nice(10)  # the master comes first
    try:
        compact(Path(sys.argv[1]))
    except DiscomputifyError as error:
        sys.stderr.write(f"{error}\n")
        return DAMAGED if error.fields.get("damaged") else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
