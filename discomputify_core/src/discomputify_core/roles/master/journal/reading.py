"""Reading the journal's folder: the newest snapshot that is whole, the records after it, and what is damaged.

Reads only; what it is told of is said, never repaired here. Not here: applying records (recovery.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from discomputify_core.errors import BadConf, DiskError
from discomputify_core.roles.master.journal import format as bytes_of
from discomputify_core.roles.master.journal import snapshots

SEGMENT, SUFFIX = "segment-", ".log"
#: Most jobs named in one sentence.
NAMED = 5


@attrs.frozen
class Segment:
    """One file of records."""

    path: Path
    #: The number of its first record, as its name says.
    first: int
    size: int


@attrs.frozen
class Damage:
    """Something in the journal that cannot be read."""

    path: Path
    #: Bytes from … to … of the file.
    start: int
    stop: int
    #: The end is cut off, as by a crash while a record was being written, which nobody relied on yet.
    torn: bool = False
    #: Numbers of the first and the last record that are lost; 0, 0: none, or not known.
    first: int = 0
    last: int = 0
    #: Jobs that the lost records were about, as far as is known.
    jobs: tuple[str, ...] = ()
    #: What else there is to say.
    detail: str = ""

    def __str__(self) -> str:
        where = f"{self.path}, bytes {self.start} to {self.stop}"
        if self.detail:
            return f"{where}: {self.detail}"
        if self.torn:
            return f"{where}: the last record is not whole; if it was being written at a crash, nobody relied on it yet"
        what = f"record {self.first} is" if self.first == self.last else f"records {self.first} to {self.last} are"
        named = ", ".join(f"'{job}'" for job in self.jobs[:NAMED]) + (" and others" if len(self.jobs) > NAMED else "")
        about = f" (about {named})" if named else " (about jobs that are not known)"
        return f"{where}: damaged; {what} lost{about}" if self.first else f"{where}: damaged; no record is lost"


@attrs.define
class Read:
    """What a segment gave."""

    records: list[bytes_of.Framed] = attrs.field(factory=list)
    damage: list[Damage] = attrs.field(factory=list)


def segments(folder: Path) -> list[Segment]:
    """The segments in *folder*, oldest first.

    Raises:
        DiskError: it cannot be read.
    """
    try:
        found = [
            Segment(path, int(path.name[len(SEGMENT) : -len(SUFFIX)]), path.stat().st_size)
            for path in folder.glob(f"{SEGMENT}*{SUFFIX}")
            if path.name[len(SEGMENT) : -len(SUFFIX)].isdigit()
        ]
    except OSError as error:
        raise DiskError(
            f"The journal in {folder} cannot be read: {error.strerror or error}.", path=str(folder)
        ) from error
    return sorted(found, key=lambda segment: segment.first)


def segment_path(folder: Path, first: int) -> Path:
    """The file of the segment that begins with the record *first*."""
    return folder / f"{SEGMENT}{first:020d}{SUFFIX}"


def read(folder: Path, after: int) -> Iterator[tuple[bytes_of.Framed | Damage, Segment]]:
    """Records with numbers above *after*, in order, and damage where it is met.

    Raises:
        BadConf: a segment was written by a newer release.
        DiskError: a file cannot be read.
    """
    expected = after + 1
    found = segments(folder)
    for at, segment in enumerate(found):
        following = found[at + 1].first if at + 1 < len(found) else None
        if following is not None and following <= expected:
            continue  # all of it is older
        data = _bytes(segment.path)
        lost: list[bytes_of.Broken] = []
        for record in _scan(segment, data):
            if isinstance(record, bytes_of.Broken):
                lost.append(record)
                continue
            if record.number < expected:
                lost.clear()  # what is lost before it is in the snapshot
                continue
            if lost or record.number > expected:
                yield _damage(segment, lost, expected, record.number - 1), segment
                lost = []
            expected = record.number + 1
            yield record, segment
        if not lost:
            continue
        if following is None and all(each.torn for each in lost):
            yield Damage(segment.path, lost[0].start, lost[-1].stop, torn=True), segment
        elif following is None:
            known = [each.number for each in lost if each.number is not None]
            last = max([*known, expected - 1])
            yield _damage(segment, lost, expected, last), segment
            expected = last + 1
        elif following > expected:
            yield _damage(segment, lost, expected, following - 1), segment
            expected = following


def _scan(segment: Segment, data: bytes) -> Sequence[bytes_of.Framed | bytes_of.Broken]:
    header = bytes_of.read_header(data)
    if header is not None and header[0] > bytes_of.FORMAT:
        raise newer(segment.path, header[0])
    if header is None:
        return list(bytes_of.scan(data, 0))
    return list(bytes_of.scan(data))


def newer(path: Path, number: int) -> BadConf:
    """The error for a file that a newer release wrote."""
    return BadConf(
        f"{path} was written by a newer release of discomputify (format {number}, this one reads up to "
        f"{bytes_of.FORMAT}). Start that release, or set another MASTER_PATH to begin with nothing.",
        problems=[f"MASTER_PATH: written by a newer release (format {number})"],
        path=str(path),
    )


def _damage(segment: Segment, lost: Sequence[bytes_of.Broken], first: int, last: int) -> Damage:
    start, stop = (lost[0].start, lost[-1].stop) if lost else (0, 0)
    jobs = tuple(dict.fromkeys(job for each in lost for job in each.jobs))
    if last < first:
        return Damage(segment.path, start, stop)
    return Damage(segment.path, start, stop, first=first, last=last, jobs=jobs)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DiskError(f"{path} cannot be read: {error.strerror or error}.", path=str(path)) from error


def newest_snapshot(folder: Path) -> tuple[snapshots.Snapshot | None, list[Damage]]:
    """The newest snapshot that is whole, and those that are not.

    Raises:
        BadConf: it was written by a newer release.
    """
    damage: list[Damage] = []
    for path in reversed(snapshots.paths(folder)):
        found = snapshots.read(path)
        if isinstance(found, snapshots.Snapshot):
            return found, damage
        damage.append(Damage(path, 0, path.stat().st_size, detail=found))
    return None, damage
