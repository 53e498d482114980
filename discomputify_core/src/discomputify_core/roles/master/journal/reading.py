"""Reading the segments in the journal's folder: records, and what is damaged.

Reads only; what is damaged is said, never repaired here. Not here: snapshots (snapshots.py), applying records
(recovery.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from discomputify_core.errors import DiskError
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
    #: Bytes from … to … of the file; 0, 0: all of it, or what should come before it.
    start: int = 0
    stop: int = 0
    #: The end is cut off, as by a crash while a record was being written, which nobody relied on yet.
    torn: bool = False
    #: Numbers of the first and the last record that are lost; 0, 0: none, or not known.
    first: int = 0
    last: int = 0
    #: Jobs that the lost records were about, as far as is known.
    jobs: tuple[str, ...] = ()
    #: Whether they may have been about other jobs too.
    others: bool = False
    #: What else there is to say.
    detail: str = ""

    def __str__(self) -> str:
        where = f"{self.path}, bytes {self.start} to {self.stop}" if self.stop else f"before {self.path}"
        if self.detail:
            return f"{self.path}: {self.detail}"
        if self.torn:
            return f"{where}: the last record is not whole; if it was being written at a crash, nobody relied on it yet"
        what = f"record {self.first} is" if self.first == self.last else f"records {self.first} to {self.last} are"
        return f"{where}: damaged; " + (f"{what} lost ({self._about()})" if self.first else "nothing is lost")

    def _about(self) -> str:
        named = ", ".join(f"'{job}'" for job in self.jobs[:NAMED])
        if len(self.jobs) > NAMED:
            named += f" and {len(self.jobs) - NAMED} others"
        if self.others:
            return f"about {named} and jobs that are not known" if named else "about jobs that are not known"
        return f"about {named}" if named else "about no job"


def segments(folder: Path) -> list[Segment]:
    """The segments in *folder*, oldest first.

    Raises:
        DiskError: it cannot be read.
    """
    found = []
    try:
        for path in folder.glob(f"{SEGMENT}*{SUFFIX}"):
            if (first := path.name[len(SEGMENT) : -len(SUFFIX)]).isdigit():
                with contextlib.suppress(FileNotFoundError):  # a master removed it just now
                    found.append(Segment(path, int(first), path.stat().st_size))
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
    found = segments(folder)
    # What is older than *after* throughout is left out.
    begin = max((at for at, segment in enumerate(found) if segment.first <= after + 1), default=0)
    expected = after + 1
    gap = _Gap()
    for segment in found[begin:]:
        gap.next_segment()
        for record in _scan(segment, _bytes(segment.path)):
            if isinstance(record, bytes_of.Broken):
                gap.add(segment, record)
            elif record.number < expected:
                gap = _Gap()  # what is lost before it is known from elsewhere
            else:
                if damage := gap.closed(segment, expected, record):
                    yield damage, segment
                gap, expected = _Gap(), record.number + 1
                yield record, segment
    if damage := gap.at_the_end(expected):
        yield damage, found[-1]


@attrs.define
class _Gap:
    """What lies between two whole records, or after the last one."""

    lost: list[tuple[Segment, bytes_of.Broken]] = attrs.field(factory=list)
    #: Whether some of it is in an earlier segment than the newest.
    earlier: bool = False

    def next_segment(self) -> None:
        self.earlier = bool(self.lost)

    def add(self, segment: Segment, broken: bytes_of.Broken) -> None:
        self.lost.append((segment, broken))

    def closed(self, segment: Segment, expected: int, following: bytes_of.Framed) -> Damage | None:
        """What is lost where *following*, in *segment*, comes after all that is older than *expected*."""
        last = following.number - 1
        if last < expected:
            if not self.lost or (self.earlier and all(each.torn for _, each in self.lost)):
                return None  # nothing, or what a crash left half written, and an earlier start spoke of
            return self._damage(segment, 0, 0, {})
        known = self._known()
        known[last] = (*known.get(last, ()), *following.before)
        return self._damage(segment, expected, last, known)

    def at_the_end(self, expected: int) -> Damage | None:
        """What is lost after the last whole record."""
        if not self.lost:
            return None
        first, stop = self.lost[0][1].start, self.lost[-1][1].stop
        path = self.lost[0][0].path
        if all(each.torn for _, each in self.lost):
            return Damage(path, first, stop, torn=True)
        known = self._known()
        last = max(known, default=0)
        return self._damage(self.lost[0][0], *((expected, last) if last >= expected else (0, 0)), known)

    def _known(self) -> dict[int, tuple[str, ...]]:
        return {each.number: each.jobs for _, each in self.lost if each.number is not None}

    def _damage(self, segment: Segment, first: int, last: int, known: dict[int, tuple[str, ...]]) -> Damage:
        start, stop = (self.lost[0][1].start, self.lost[-1][1].stop) if self.lost else (0, 0)
        told = {number: jobs for number, jobs in known.items() if first <= number <= last}
        named = dict.fromkeys(job for jobs in told.values() for job in jobs)
        others = named.pop(bytes_of.OTHERS, 0) is None or bool(first and len(told) < last - first + 1)
        path = self.lost[0][0].path if self.lost else segment.path
        if self.lost and self.lost[0][0] is not self.lost[-1][0]:
            stop = self.lost[0][0].size
        return Damage(path, start, stop, first=first, last=last, jobs=tuple(named), others=others)


def _scan(segment: Segment, data: bytes) -> Sequence[bytes_of.Framed | bytes_of.Broken]:
    header = bytes_of.read_header(data)
    if header is not None and header[0] > bytes_of.FORMAT:
        raise snapshots.newer(segment.path, header[0])
    if header is None:
        return list(bytes_of.scan(data, 0))
    return list(bytes_of.scan(data))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DiskError(f"{path} cannot be read: {error.strerror or error}.", path=str(path)) from error
