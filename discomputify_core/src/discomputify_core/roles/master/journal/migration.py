"""Journals of earlier formats: converted where a master starts, with a copy kept of what was there.

Not here: what a format is (format.py). There is one so far, so nothing is to be converted yet.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from discomputify_core.errors import DiskError
from discomputify_core.roles.master.journal import format as bytes_of
from discomputify_core.roles.master.journal import reading, snapshots

log = logging.getLogger("discomputify.master")

#: From each earlier format to the one after it: converts the files of a folder in place.
STEPS: Mapping[int, Callable[[Path], None]] = {}


def migrate(folder: Path, steps: Mapping[int, Callable[[Path], None]] = STEPS) -> Path | None:
    """Convert the journal in *folder* to this release's format; returns the copy that was kept, if there was need.

    Raises:
        BadConf: a newer release wrote it; nothing is touched.
        DiskError: the copy cannot be made; nothing is touched.
    """
    version = _version(folder)
    if version >= bytes_of.FORMAT:
        return None
    copy = _free(folder.with_name(f"{folder.name}.format-{version}"))
    new = copy.with_name(f"{copy.name}.new")
    try:
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(folder, new, ignore=shutil.ignore_patterns("lock"))
        new.rename(copy)
    except (OSError, shutil.Error) as error:
        raise DiskError(
            f"No copy of the journal in {folder} can be made at {copy}: {error}. It has to be converted to the format "
            "of this release; make room there first.",
            path=str(copy),
        ) from error
    for number in range(version, bytes_of.FORMAT):
        steps[number](folder)
    log.warning("the journal in %s was converted from format %d; what was there is kept in %s", folder, version, copy)
    return copy


def _free(wanted: Path) -> Path:
    """*wanted*, or a name like it that nothing has: an earlier copy is never touched."""
    number, free = 1, wanted
    while free.exists():
        number += 1
        free = wanted.with_name(f"{wanted.name}.{number}")
    return free


def _version(folder: Path) -> int:
    """The oldest format of the segments in *folder*; this release's where there are none that can be read.

    Raises:
        BadConf: one is newer.
    """
    versions = []
    for segment in reading.segments(folder):
        with segment.path.open("rb") as file:
            header = bytes_of.read_header(file.read(bytes_of.HEADER))
        if header is not None:
            if header[0] > bytes_of.FORMAT:
                raise snapshots.newer(segment.path, header[0])
            versions.append(header[0])
    return min(versions, default=bytes_of.FORMAT)
