"""Makes a snapshot of a journal, in a process of its own: ``python -m discomputify_core.roles.master.journal.compact``.

It reads the segments that the master does not write to any more, and nothing of the master itself. Segments that are
older than the older one of the last two snapshots are removed then.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

from discomputify_core.cluster import saving
from discomputify_core.errors import DiscomputifyError
from discomputify_core.roles.master.journal import reading, snapshots
from discomputify_core.roles.master.journal.recovery import recover


def compact(folder: Path) -> Path | None:
    """Write a snapshot of all sealed segments in *folder*; None if there is nothing new in them.

    Raises:
        DiscomputifyError: it cannot be made.
    """
    found = reading.segments(folder)
    if len(found) < 2:
        return None
    written_to = found[-1].first
    recovered = recover(folder, lambda segment: segment.first < written_to)
    if recovered.next - 1 <= recovered.snapshot:
        return None
    plain = {**saving.save(recovered.state), "wall": recovered.wall}
    path = snapshots.write(folder, recovered.next - 1, plain)
    forget(folder)
    return path


def forget(folder: Path) -> None:
    """Remove segments that nobody needs: all their records are in the older one of the snapshots kept."""
    kept = snapshots.paths(folder)
    if len(kept) < snapshots.KEPT:
        return
    oldest = int(kept[0].name[len(snapshots.SNAPSHOT) : -len(snapshots.SUFFIX)])
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
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
