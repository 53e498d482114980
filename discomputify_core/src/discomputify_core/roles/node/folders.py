"""The folders of a computing node, and pieces of logs in them. Not here: what is in a work folder (workspace.py)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from discomputify_core.edge.places import made_default_folder
from discomputify_core.errors import BadInput
from discomputify_core.model.ids import NodeName

#: Most bytes of a log handed over at once.
MAX_LOG = 4 * 1024 * 1024


def piece(path: Path, offset: int, limit: int) -> bytes:
    """Bytes of a log; none where there is no such file. Blocks.

    Raises:
        BadInput: the place is none.
    """
    if offset < 0 or limit < 0:
        raise BadInput("A log is read from an offset of at least 0.")
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(min(limit, MAX_LOG))
    except FileNotFoundError:
        return b""


async def folder_for(named: str | None, default: str) -> Path:
    """The folder that the conf names, or this user's default one, made.

    Raises:
        DiskError: it cannot be used.
    """
    return Path(named) if named is not None else await asyncio.to_thread(made_default_folder, default)


def folder_name(node: NodeName) -> str:
    """*node* as a folder's name on every system."""
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in node)
