"""What requests of old clients (CYPHER/1) say, judged before anything is done. Pure: nothing here touches a disk.

Here: which paths, chunks and ids may be used, and what they mean. Not here: doing it (old_clients.py, old_files.py).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Any

import attrs

from discomputify_core.errors import BadInput, BadPath
from discomputify_core.model.files import check_path
from discomputify_core.model.ids import ProcessId, check_process_id
from discomputify_core.model.old_clients import OldRequest

#: The path of the whole namespace.
ALL = ""
#: Most characters of a path as it is sent, before what means nothing in it is taken out.
LONGEST = 4096
#: Most bytes that a file can say it has.
LARGEST = 2**63 - 1

_SHOWN_NAME = re.compile(r"(.+)_([1-9][0-9]{0,8})_([1-9][0-9]{0,8})", re.ASCII)


def clean_path(path: str) -> str:
    """*path* in the namespace, without ``.`` components and doubled slashes; :data:`ALL` where nothing is left.

    Raises:
        BadPath: it is absolute, goes up, or may not be used for another reason of :func:`check_path`.
    """
    if len(path) > LONGEST:
        raise BadPath(f"A path of {len(path):,} characters may not be used: it is too long.", path=path[:80])
    names = [name for name in path.split("/") if name not in ("", ".")]
    if not names:
        return ALL
    for name in names:
        # One by one too: each of them may become the first one of a path, below the folder that holds a program.
        check_path(name)
    return check_path(path if path.startswith("/") else "/".join(names))


def top_of(path: str) -> str:
    """The first component of *path*."""
    return path.partition("/")[0]


@attrs.frozen
class Chunk:
    """A piece of a file that is being written."""

    data: bytes = attrs.field(repr=False)
    #: Whether the file begins anew with it.
    first: bool
    #: Bytes that the whole file has; None where the client does not say so, nor where the chunk belongs.
    size: int | None = None
    offset: int = 0

    @property
    def last(self) -> bool:
        """Whether the file ends with it."""
        return self.offset + len(self.data) == self.size


def read_chunk(request: OldRequest) -> Chunk:
    """The chunk of a WRITE.

    Raises:
        BadInput: the request does not describe one.
    """
    match request.data:
        case [str(text), index] if type(index) is int and index >= 0:
            data = _from_hex(text)
        case _:
            raise BadInput("The DATA of a WRITE is [hexadecimal digits, number of the chunk from 0]; this one is not.")
    if not {"FILESIZE", "UPLOADED"} <= request.metadata.keys():
        return Chunk(data, index == 0)
    size, uploaded = _count(request.metadata, "FILESIZE"), _count(request.metadata, "UPLOADED")
    if not len(data) <= uploaded <= size:
        raise BadInput(
            f"A chunk of {len(data):,} bytes cannot end at byte {uploaded:,} (UPLOADED) of {size:,} (FILESIZE)."
        )
    if index == 0 and uploaded != len(data):
        raise BadInput(f"The first chunk has {len(data):,} bytes, but UPLOADED says {uploaded:,}.")
    return Chunk(data, index == 0, size, uploaded - len(data))


def _from_hex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except ValueError:
        raise BadInput("The first item in the DATA of a WRITE is not made of pairs of hexadecimal digits.") from None


def _count(metadata: Mapping[str, Any], key: str) -> int:
    value = metadata[key]
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise BadInput(f"{key} in METADATA is not a number of bytes.")
    return value


def read_offset(request: OldRequest) -> int | None:
    """Where in a file a READ wants bytes from; None where it asks which files there are.

    Raises:
        BadInput: it is negative.
    """
    if type(request.data) is not int:
        return None
    if request.data < 0:
        raise BadInput("The DATA of a READ is a negative number; the bytes of a file are counted from 0.")
    return request.data


def asked_job(request: OldRequest) -> ProcessId:
    """The job that a query is about.

    Raises:
        BadInput: it names none.
    """
    process_id = request.data.get("PROCESS_ID") if isinstance(request.data, Mapping) else None
    if not isinstance(process_id, str):
        raise BadInput('The DATA of this query is {"PROCESS_ID": text}; this one is not.')
    return check_process_id(process_id)


@attrs.frozen(order=True)
class ShownName:
    """What the name of a folder of outputs, ``{pid}_{part}_{total}``, says."""

    process_id: str
    part: int
    total: int


def shown_name(name: str) -> ShownName | None:
    """What *name* says, if it has the form of such a name. An id may have underscores: the last two count."""
    found = _SHOWN_NAME.fullmatch(name)
    return ShownName(found[1], int(found[2]), int(found[3])) if found else None
