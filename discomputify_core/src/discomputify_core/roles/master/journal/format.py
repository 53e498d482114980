"""The bytes of the journal: records one after the other in a segment, each with checksums of its own. Pure.

A segment begins with a header: magic, number of the format, number of its first record, CRC. A record is::

    magic (4) | length of names (4) | length of payload (4) | number (8) | CRC of payload (4)
    | CRC of all before and of names (4) | names | payload

*names* are the ids of the jobs that the record is about, and of those that the record before it was about: so one whose
payload is damaged still says whom that concerns, and where all of it is damaged the next one says so. Numbers grow by
one from record to record, over all segments: a gap says what is lost. Reading goes on at the next magic after damage.
Checksums are CRC-32 as of zlib: what matters is to notice damage, not who did it, and it is in the standard library, in
hardware speed.

Not here: files (reading.py, writing.py), what a payload means (model/records.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from zlib import crc32

import attrs
import msgpack

from discomputify_core.errors import OurBug

#: The number of this format. A reader refuses larger ones, and converts smaller ones.
FORMAT = 1
_SEGMENT = struct.Struct("<8sIQI")
_SEGMENT_MAGIC = b"DCYLOG\r\n"
_RECORD = struct.Struct("<4sIIQII")
_MAGIC = b"\xd5jR\x9c"
#: Bytes of a segment's header.
HEADER = _SEGMENT.size
#: The most bytes of names, and of a payload: whatever claims to be longer is damaged.
MOST_NAMES, MOST_PAYLOAD = 1 << 20, 1 << 30
#: The most jobs that a record names, and what stands for those beyond.
MOST_JOBS, OTHERS = 200, "*"


@attrs.frozen
class Framed:
    """One record as it is written."""

    number: int
    #: Ids of the jobs that it is about: MOST_JOBS of them, and OTHERS if there are more.
    jobs: tuple[str, ...]
    payload: bytes
    #: The same of the record before it.
    before: tuple[str, ...] = ()


@attrs.frozen
class Broken:
    """Bytes that are no record: from *start* to *stop* of the segment.

    ``number`` and ``jobs`` are known where only the payload is damaged. ``torn``: nothing whole comes after them, as
    after a crash in the middle of writing.
    """

    start: int
    stop: int
    number: int | None = None
    jobs: tuple[str, ...] = ()
    torn: bool = False


def segment_header(first: int) -> bytes:
    """The first bytes of a segment whose first record has the number *first*."""
    rest = _SEGMENT.pack(_SEGMENT_MAGIC, FORMAT, first, 0)[:-4]
    return rest + struct.pack("<I", crc32(rest))


def read_header(data: bytes) -> tuple[int, int] | None:
    """The format and the first number of a segment that begins with *data*; None if its header is damaged."""
    if len(data) < HEADER:
        return None
    magic, number, first, checksum = _SEGMENT.unpack_from(data)
    if magic != _SEGMENT_MAGIC or checksum != crc32(data[: HEADER - 4]):
        return None
    return number, first


def frame(record: Framed) -> bytes:
    """*record* as bytes.

    Raises:
        OurBug: it is too long to be read again.
    """
    names: bytes = msgpack.packb([record.jobs, record.before])
    if len(names) > MOST_NAMES or len(record.payload) > MOST_PAYLOAD:
        raise OurBug(f"A record of {len(record.payload)} bytes is too long for the journal.")
    sums = crc32(record.payload)
    head = _RECORD.pack(_MAGIC, len(names), len(record.payload), record.number, sums, 0)[:-4]
    return b"".join((head, struct.pack("<I", crc32(names, crc32(head))), names, record.payload))


def scan(data: bytes, start: int = HEADER) -> Iterator[Framed | Broken]:
    """What *data*, a segment, holds from *start* on: whole records and what lies between them, in order."""
    at, broken_from = start, -1
    while at < len(data):
        found = _record_at(data, at)
        if found is None:
            if broken_from < 0:
                broken_from = at
            following = data.find(_MAGIC, at + 1)
            at = len(data) if following < 0 else following
            continue
        if broken_from >= 0:
            yield Broken(broken_from, at)
            broken_from = -1
        record, stop = found
        if isinstance(record, Broken):
            # Its length may be what is damaged only if its header's checksum failed, which it did not.
            stop = min(stop, len(data))
            record = attrs.evolve(record, stop=stop)
        yield record
        at = stop
    if broken_from >= 0:
        yield Broken(broken_from, len(data), torn=True)


def _record_at(data: bytes, at: int) -> tuple[Framed | Broken, int] | None:
    """The record that begins at *at* and where it ends; None if none does."""
    if len(data) - at < _RECORD.size:
        return None
    magic, names_length, length, number, sums, checksum = _RECORD.unpack_from(data, at)
    if magic != _MAGIC or names_length > MOST_NAMES or length > MOST_PAYLOAD:
        return None
    names_at = at + _RECORD.size
    names = data[names_at : names_at + names_length]
    if checksum != crc32(names, crc32(data[at : names_at - 4])):
        return None
    named = _names(names)
    if named is None:
        return None
    jobs, before = named
    payload_at = names_at + names_length
    payload = data[payload_at : payload_at + length]
    stop = payload_at + length
    if len(payload) < length:
        return Broken(at, stop, number, jobs, torn=True), stop
    if sums != crc32(payload):
        return Broken(at, stop, number, jobs), stop
    return Framed(number, jobs, payload, before), stop


def few(jobs: Sequence[str]) -> tuple[str, ...]:
    """As many of *jobs* as a record names."""
    return tuple(jobs) if len(jobs) <= MOST_JOBS else (*jobs[:MOST_JOBS], OTHERS)


def _names(data: bytes) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    try:
        jobs, before = msgpack.unpackb(data, use_list=False)
        return tuple(map(str, jobs)), tuple(map(str, before))
    except (TypeError, ValueError, msgpack.exceptions.UnpackException):
        return None
