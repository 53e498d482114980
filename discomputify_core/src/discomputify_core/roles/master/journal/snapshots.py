"""Snapshots: the whole state after one record, each a file of its own. The last two are kept.

A snapshot is a header and then records as in a segment, each with its checksums: one with what belongs to no job and no
node (twice, first and last), one for each job, one for each node. So damage to both snapshots costs what it hits only.

Not here: what a state looks like as plain data (cluster/saving.py), what is made of a damaged one (salvage.py), who
makes snapshots (compact.py).
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import attrs
import msgpack

from discomputify_core.errors import BadConf, DiskError
from discomputify_core.roles.master.journal import format as bytes_of
from discomputify_core.roles.master.journal.format import Framed

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
    #: Ids of jobs, and names of nodes, that cannot be read.
    jobs: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    #: What is wrong with it; "" if nothing is.
    damage: str = ""


def paths(folder: Path) -> list[Path]:
    """The snapshots in *folder*, oldest first."""
    return sorted(path for path in folder.glob(f"{SNAPSHOT}*{SUFFIX}") if number_of(path))


def number_of(path: Path) -> int:
    """The number of the last record that the snapshot at *path* holds, as its name says; 0: it is none."""
    text = path.name[len(SNAPSHOT) : -len(SUFFIX)]
    return int(text) if text.isdigit() else 0


def write(folder: Path, number: int, plain: Mapping[str, Any]) -> Path:
    """Write a snapshot, whole or not at all; older ones than the last two are removed.

    Raises:
        DiskError: it cannot be written.
    """
    frames = [bytes_of.frame(each) for each in _pieces(plain)]
    head = _HEAD.pack(_MAGIC, bytes_of.FORMAT, number, len(frames), 0)[:-4]
    path = folder / f"{SNAPSHOT}{number:020d}{SUFFIX}"
    new = path.with_suffix(".new")
    try:
        with new.open("wb") as file:
            file.write(head + struct.pack("<I", crc32(head)))
            file.writelines(frames)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise DiskError(f"{path} cannot be written: {error.strerror or error}.", path=str(path)) from error
    for old in paths(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def _pieces(plain: Mapping[str, Any]) -> Iterator[Framed]:
    """*plain* in pieces that can be lost one by one."""
    rest = {key: value for key, value in plain.items() if key not in ("jobs", "nodes")}
    rest["ids"] = [job["spec"]["process_id"] for job in plain["jobs"]]
    rest["names"] = [node["facts"]["name"] for node in plain["nodes"]]
    pieces = [rest, *plain["jobs"], *plain["nodes"], rest]
    for at, piece in enumerate(pieces, start=1):
        yield Framed(at, (), msgpack.packb(piece))


def read(path: Path) -> Snapshot | str:
    """The snapshot at *path*, with what is left of it if it is damaged; what is wrong with it if that is nothing.

    Raises:
        BadConf: it was written by a newer release.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    head_whole = len(data) >= _HEAD.size and crc32(data[: _HEAD.size - 4]) == _HEAD.unpack_from(data)[4]
    version, number = bytes_of.FORMAT, number_of(path)
    if head_whole:
        _, version, number, _, _ = _HEAD.unpack_from(data)
    if version > bytes_of.FORMAT:
        raise newer(path, version)
    try:
        found = {each.number: _unpacked(each) for each in bytes_of.scan(data, _HEAD.size) if isinstance(each, Framed)}
        return _joined(path, number, found, head_whole)
    except (KeyError, TypeError, ValueError, msgpack.exceptions.UnpackException) as error:
        return f"its contents cannot be read: {error}"


def _unpacked(piece: Framed) -> dict[str, Any]:
    return dict(msgpack.unpackb(piece.payload, strict_map_key=False))


def _joined(path: Path, number: int, found: Mapping[int, dict[str, Any]], head_whole: bool) -> Snapshot | str:
    """The state whose pieces are *found*."""
    rest = found.get(1) or found.get(max(found, default=0), {})
    if "ids" not in rest:
        return "its contents are damaged"
    ids, names = rest["ids"], rest["names"]
    plain = {key: value for key, value in rest.items() if key not in ("ids", "names")}
    plain["jobs"] = [found[at] for at in range(2, len(ids) + 2) if at in found]
    plain["nodes"] = [found[at] for at in range(len(ids) + 2, len(ids) + len(names) + 2) if at in found]
    jobs = tuple(name for at, name in enumerate(ids, start=2) if at not in found)
    nodes = tuple(name for at, name in enumerate(names, start=len(ids) + 2) if at not in found)
    if head_whole and len(found) == len(ids) + len(names) + 2:
        return Snapshot(path, number, plain)
    lost = [f"the job '{job}'" for job in jobs] + [f"the node '{node}'" for node in nodes]
    return Snapshot(path, number, plain, jobs, nodes, f"damaged; what it held of {', '.join(lost) or 'no job'} is lost")


def newer(path: Path, number: int) -> BadConf:
    """The error for a file that a newer release wrote."""
    return BadConf(
        f"{path} was written by a newer release of discomputify (format {number}, this one reads up to "
        f"{bytes_of.FORMAT}). Start that release, or set another MASTER_PATH to begin with nothing.",
        problems=[f"MASTER_PATH: written by a newer release (format {number})"],
        path=str(path),
    )


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
