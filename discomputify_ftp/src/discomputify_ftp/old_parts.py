"""Files of old clients (CYPHER/1) that have not arrived completely. Blocking: runs in threads, one at a time.

A file grows under a hash of its path, beside a note of its path and of how long it will be, so that it can go on after
a restart; its length is how far it has come. Nobody sees it before it is complete (old_files.py).
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import msgpack

from discomputify_core.errors import BadInput
from discomputify_ftp import layout
from discomputify_ftp.disk import WHOSE, naming, read_at, remove, write_at, write_new
from discomputify_ftp.old_requests import Chunk, top_of
from discomputify_ftp.old_tree import FILE_MODE, FOLDER_MODE

log = logging.getLogger("discomputify.ftp")

#: A file that nobody continues is kept for this many seconds.
KEPT = 24 * 3600.0


@attrs.frozen
class Part:
    """An incomplete file."""

    #: Its path once it is complete.
    path: str
    #: Bytes that it will have.
    size: int
    held: int

    def __str__(self) -> str:
        return f"{self.path!r} has {self.held:,} of {self.size:,} bytes"


class OldParts:
    """The folder of those files, one folder in it for each top folder of the namespace."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def file(self, path: str) -> Path:
        """Where the bytes of *path* gather."""
        return self._base / layout.old_part(path)

    def find(self, path: str) -> Part | None:
        """How far *path* has come, if it is incomplete."""
        return _part(self._base / layout.old_note(path))

    def begin(self, path: str, size: int) -> Part:
        """Forget what has come of *path*, and begin anew.

        Raises:
            DiskError: it cannot be written.
        """
        file, note = self.file(path), self._base / layout.old_note(path)
        # The bytes go first: a crash in between must not leave old bytes beside a new note.
        self.forget(path)
        with naming(file, WHOSE):
            for folder in (file.parents[2], file.parents[1], file.parent):
                folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            write_new(note, msgpack.packb([path, size]), FILE_MODE)
            write_new(file, b"", FILE_MODE)
        return Part(path, size, 0)

    def put(self, part: Part, chunk: Chunk) -> None:
        """Add *chunk* to *part*; what of it is there already is compared.

        Raises:
            BadInput: it does not fit what is there.
            DiskError: it cannot be written; what was there is there.
        """
        file = self.file(part.path)
        if part.size != chunk.size:
            raise BadInput(f"{part.path!r} has changed while it was being uploaded. Upload it again.")
        if chunk.offset > part.held:
            raise BadInput(f"{part}, and a chunk came that begins at byte {chunk.offset:,}. Upload the file again.")
        there = min(part.held - chunk.offset, len(chunk.data))
        with naming(file, WHOSE):
            if read_at(file, chunk.offset, there) != chunk.data[:there]:
                raise differs(part.path, chunk.offset)
            if there < len(chunk.data):
                try:
                    write_at(file, part.held, memoryview(chunk.data)[there:], create=False)
                except OSError:
                    with suppress(OSError):
                        os.truncate(file, part.held)
                    raise

    def forget(self, path: str) -> None:
        """*path* is complete, or nobody wants it any more."""
        remove(self.file(path))
        remove(self._base / layout.old_note(path))

    def below(self, path: str) -> list[Part]:
        """The incomplete files at *path* and below it, in order."""
        folder = self._base / layout.old_top(top_of(path))
        parts = (part for part in map(_part, _notes(folder)) if part is not None)
        mine = (part for part in parts if part.path == path or part.path.startswith(path + "/"))
        return sorted(mine, key=lambda part: part.path)

    def forget_top(self, top: str) -> None:
        """Nobody wants the incomplete files below the top folder *top* any more."""
        shutil.rmtree(self._base / layout.old_top(top), ignore_errors=True)

    def forget_old(self) -> list[Part]:
        """Remove files that nobody has continued for long; returns those of them that are known."""
        before = time.time() - KEPT
        removed = []
        for folder in _inside(self._base / layout.OLD_INCOMING):
            for path in _inside(folder):
                with suppress(OSError):
                    # The age of a note is that of the bytes beside it, if there are any.
                    bytes_of = path.with_suffix(layout.PART)
                    if (bytes_of if bytes_of.exists() else path).stat().st_mtime < before:
                        part = _part(path.with_suffix(layout.NOTE))
                        remove(bytes_of)
                        remove(path.with_suffix(layout.NOTE))
                        removed += [part] if part else []
            with suppress(OSError):
                folder.rmdir()  # refused where something is left
        return removed


def differs(path: str, offset: int) -> BadInput:
    """The error for a chunk that comes again with other bytes."""
    return BadInput(f"{path!r} holds other bytes at {offset:,} than the chunk that came now. Upload the file again.")


def _part(note: Path) -> Part | None:
    with naming(note, WHOSE), suppress(FileNotFoundError, NotADirectoryError):
        packed = note.read_bytes()
        held = note.with_suffix(layout.PART).stat().st_size
        match _unpacked(packed):
            case [str(path), int(size)] if (note.parent.name, note.stem) == layout.old_names(path):
                return Part(path, size, held)
        log.warning("%s does not say which file it is about: ignored", note)
    return None


def _unpacked(packed: bytes) -> Any:
    try:
        return msgpack.unpackb(packed)
    except (ValueError, RecursionError, msgpack.UnpackException):
        return None


def _notes(folder: Path) -> Iterator[Path]:
    return (path for path in _inside(folder) if path.suffix == layout.NOTE)


def _inside(folder: Path) -> list[Path]:
    with naming(folder, WHOSE), suppress(FileNotFoundError, NotADirectoryError):
        return sorted(folder.iterdir())
    return []
