"""Which of the old operations change nothing: these may be done again, all others once. A table, and nothing else."""

from __future__ import annotations

#: Safe to do twice. An operation that is not known here counts as one that changes something.
CHANGE_NOTHING = frozenset(
    {
        "READ",
        "LISTITEMS",
        "GET_FILE_NAMES",
        "GET_DIR_NAMES",
        "READ_PROCESS_STATUS",
        "READ_NODE_LOAD",
        "GET_NO_OF_NODES",
    }
)


def changes(operation: str) -> bool:
    """Whether *operation* may change something."""
    return operation not in CHANGE_NOTHING
