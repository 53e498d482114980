"""What ``main.py`` imports: which part am I, my inputs, my outputs, how far I am, what parts share.

::

    from discomputify_core import program

    with program.open("numbers.txt") as numbers, program.open("sums.txt", "w") as sums:
        ...
    program.progress(0.5, "half way")

Every part of every job pays for this import, so nothing here may import more than ``os`` and ``sys`` before
it is needed: no attrs, no asyncio, no sockets, no JSON.
"""

from __future__ import annotations

from discomputify_core.errors import (
    AttemptOver,
    BadName,
    BadProgress,
    BadValue,
    CanNotGoUpInDirectory,
    CanNotOpenFileAtOutputPath,
    FileNotFound,
    FileNotFoundAtInputPath,
    LockLost,
    MemoryFull,
    MemoryLost,
    NoSharedMemory,
    NoSuchName,
    NotInAPart,
    PartGone,
    ProgramError,
    RoundForgotten,
    RoundsDiffer,
    SharedMemoryError,
    TooLate,
    WrongKind,
)
from discomputify_core.program.checkpoint import checkpoint
from discomputify_core.program.files import open_file as open
from discomputify_core.program.files import open_output
from discomputify_core.program.here import attempt, part, process_id, total_parts
from discomputify_core.program.progress import progress
from discomputify_core.program.sharing import ABSENT, memory

__all__ = [
    "ABSENT",
    "AttemptOver",
    "BadName",
    "BadProgress",
    "BadValue",
    "CanNotGoUpInDirectory",
    "CanNotOpenFileAtOutputPath",
    "FileNotFound",
    "FileNotFoundAtInputPath",
    "LockLost",
    "MemoryFull",
    "MemoryLost",
    "NoSharedMemory",
    "NoSuchName",
    "NotInAPart",
    "PartGone",
    "ProgramError",
    "RoundForgotten",
    "RoundsDiffer",
    "SharedMemoryError",
    "TooLate",
    "WrongKind",
    "attempt",
    "checkpoint",
    "memory",
    "open",
    "open_output",
    "part",
    "process_id",
    "progress",
    "total_parts",
]
