"""How a role's process logs: one line per event, to stderr or a file, more with DEBUG1 and DEBUG2.

Keys and contents of messages are never logged.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from discomputify_core.errors import DiskError

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def set_up(debug1: bool, debug2: bool, file: Path | None) -> None:
    """Send this process's log to *file*, or to stderr.

    Raises:
        DiskError: the file cannot be written.
    """
    try:
        handler: logging.Handler = (
            logging.StreamHandler(sys.stderr) if file is None else logging.FileHandler(file, encoding="utf-8")
        )
    except OSError as error:
        raise DiskError(f"The log file '{file}' cannot be written: {error.strerror}.", path=str(file)) from error
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger("discomputify")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(logging.DEBUG if debug2 else logging.INFO if debug1 else logging.WARNING)
