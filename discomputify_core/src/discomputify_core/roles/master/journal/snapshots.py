"""Snapshots: the whole state at one record, each a file of its own with a checksum. The last two are kept.

Not here: what a state looks like as plain data (cluster/saving.py), who makes snapshots (compact.py).
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import attrs
import msgpack

from discomputify_core.errors import BadConf, DiskError
from discomputify_core.roles.master.journal.format import FORMAT

SNAPSHOT, SUFFIX = "snapshot-", ".state"
KEPT = 2
_HEAD = struct.Struct("<8sIQQI")
_MAGIC = b"DCYSNAP\n"


@attrs.frozen
class Snapshot:
    """The state after the record *number*."""

    path: Path
    number: int
    plain: Mapping[str, Any]
    size: int


def paths(folder: Path) -> list[Path]:
    """The snapshots in *folder*, oldest first."""
    return sorted(folder.glob(f"{SNAPSHOT}*{SUFFIX}"))


def write(folder: Path, number: int, plain: Mapping[str, Any]) -> Path:
    """Write a snapshot, whole or not at all; older ones than the last two are removed.

    Raises:
        DiskError: it cannot be written.
    """
    body: bytes = msgpack.packb(plain)
    head = _HEAD.pack(_MAGIC, FORMAT, number, len(body), crc32(body))
    path = folder / f"{SNAPSHOT}{number:020d}{SUFFIX}"
    new = path.with_suffix(".new")
    try:
        with new.open("wb") as file:
            file.write(head)
            file.write(struct.pack("<I", crc32(head)))
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync_folder(folder)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise DiskError(f"{path} cannot be written: {error.strerror or error}.", path=str(path)) from error
    for old in paths(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def read(path: Path) -> Snapshot | str:
    """The snapshot at *path*, or what is wrong with it.

    Raises:
        BadConf: it was written by a newer release.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    body_at = _HEAD.size + 4
    if len(data) < body_at or crc32(data[: _HEAD.size]) != struct.unpack_from("<I", data, _HEAD.size)[0]:
        return "its header is damaged"
    magic, version, number, length, checksum = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        return "is no snapshot"
    if version > FORMAT:
        raise BadConf(
            f"{path} was written by a newer release of discomputify (format {version}, this one reads up to "
            f"{FORMAT}). Start that release, or set another MASTER_PATH to begin with nothing.",
            problems=[f"MASTER_PATH: written by a newer release (format {version})"],
            path=str(path),
        )
    body = data[body_at:]
    if len(body) != length or crc32(body) != checksum:
        return "its contents are damaged"
    try:
        plain = msgpack.unpackb(body, strict_map_key=False)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        return f"its contents cannot be read: {error}"
    return Snapshot(path, number, plain, len(data)) if isinstance(plain, dict) else "its contents are no state"


def sync_folder(folder: Path) -> None:
    """Make sure that names in *folder* survive a power failure, where the system can."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
