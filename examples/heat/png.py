"""A picture of 256 colours as a PNG file, with the standard library only. Knows nothing of what is painted."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence

_INDEXED = 3  # the colour type of a PNG that has a palette


def encode(width: int, height: int, rows: Iterable[bytes], palette: Sequence[tuple[int, int, int]]) -> bytes:
    """The bytes of a PNG file.

    Args:
        width: pixels per row.
        height: number of rows.
        rows: from the top, each *width* bytes: the index of each pixel's colour.
        palette: colours as (red, green, blue), 0 to 255 each.
    """
    header = struct.pack(">IIBBBBB", width, height, 8, _INDEXED, 0, 0, 0)
    colours = b"".join(bytes(colour) for colour in palette)
    pixels = b"".join(b"\0" + row for row in rows)  # 0 before a row: its bytes stand as they are
    chunks = [(b"IHDR", header), (b"PLTE", colours), (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
