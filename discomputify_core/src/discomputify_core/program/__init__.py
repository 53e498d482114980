"""What ``main.py`` imports: which part am I, my inputs, my outputs, how far I am.

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
    BadProgress,
    CanNotGoUpInDirectory,
    CanNotOpenFileAtOutputPath,
    FileNotFound,
    FileNotFoundAtInputPath,
    NotInAPart,
    ProgramError,
)
from discomputify_core.program.files import open_file as open
from discomputify_core.program.files import open_output
from discomputify_core.program.here import attempt, part, process_id, total_parts
from discomputify_core.program.progress import progress

__all__ = [
    "BadProgress",
    "CanNotGoUpInDirectory",
    "CanNotOpenFileAtOutputPath",
    "FileNotFound",
    "FileNotFoundAtInputPath",
    "NotInAPart",
    "ProgramError",
    "attempt",
    "open",
    "open_output",
    "part",
    "process_id",
    "progress",
    "total_parts",
]
