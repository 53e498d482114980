"""Files of large values: written once by the part that has it, mapped by those who read it. No copy in between.

The node makes and removes the files (``roles/node/arrays_kept.py``) and brings those of other nodes here.
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
            f"A value of {value.size} bytes cannot be kept on this computer: {error.strerror or error}.",
            limit="",
            path=path,
        ) from error


def read_file(path: str, meta: dict[str, Any]) -> Any:
    """The value in the file *path*: bytes, or an array that is mapped read-only for as long as it lives.

    Raises:
        FileNotFoundError: the file is not there any more.
        MemoryFull: this process may not open or map any more.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            if meta["of"] == "bytes":
                return file.read()
            mapped = _mapped(file.fileno(), meta["size"])
    except FileNotFoundError:
        raise
    except OSError as error:
        raise MemoryFull(
            f"A value of {meta['size']} bytes cannot be mapped by this process: {error.strerror or error}. Let go of "
            "arrays that are not needed any more, or raise the limits of the account of the computing node (ulimit).",
            limit="",
            path=path,
        ) from error
    from discomputify_core.program.arrays import array_of

    return array_of(meta, mapped)


def _mapped(file: int, size: int) -> mmap.mmap:
    if sys.version_info >= (3, 13) and sys.platform != "win32":  # needs no open file for each array
        return mmap.mmap(file, size, access=mmap.ACCESS_READ, trackfd=False)
    return mmap.mmap(file, size, access=mmap.ACCESS_READ)
