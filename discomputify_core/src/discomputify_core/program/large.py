"""Files of large values: written once by the part that has it, mapped by those who read it. No copy in between.

The node makes and removes the files (``roles/node/arrays.py``) and brings those of other nodes here.
"""

from __future__ import annotations

# Importing pathlib would cost milliseconds.
# ruff: noqa: PTH123
import mmap
import sys

from discomputify_core.errors import MemoryFull

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from typing import Any

    from discomputify_core.program.values import Encoded


def write_file(path: str, value: Encoded) -> None:
    """Write *value* to the file *path*, which the node has made with room for it.

    Raises:
        MemoryFull: there is no room after all.
    """
    try:
        with open(path, "r+b", buffering=0) as file:
            whole: memoryview | None
            if value.kind == "bytes":
                whole = memoryview(value.data)
            else:
                from discomputify_core.program.arrays import copy_into, flat

                whole = flat(value.data, value.meta["order"])
            if whole is None:  # elements that lie apart are put in order on their way
                with mmap.mmap(file.fileno(), value.size) as room:
                    copy_into(room, value.data, value.meta["order"])
                return
            at = 0
            while at < value.size:
                at += file.write(whole[at:])
    except OSError as error:
        raise MemoryFull(
            f"A value of {value.size} bytes cannot be kept on this computer: {error.strerror or error}.", path=path
        ) from error


def read_file(path: str, meta: dict[str, Any]) -> Any:
    """The value in the file *path*: bytes, or an array that is mapped read-only for as long as it lives.

    Raises:
        FileNotFoundError: the file is not there any more.
    """
    with open(path, "rb", buffering=0) as file:
        if meta["of"] == "bytes":
            return file.read()
        from discomputify_core.program.arrays import array_of

        if sys.version_info >= (3, 13) and sys.platform != "win32":  # needs no open file for each array
            mapped = mmap.mmap(file.fileno(), meta["size"], access=mmap.ACCESS_READ, trackfd=False)
        else:
            mapped = mmap.mmap(file.fileno(), meta["size"], access=mmap.ACCESS_READ)
        return array_of(meta, mapped)
