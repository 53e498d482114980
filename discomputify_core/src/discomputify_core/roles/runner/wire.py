"""Messages between a computing node and its runner: a length (4 bytes, big endian), then MessagePack.

Here: the codec, bytes in and maps out. Not here: pipes, what the messages mean.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import msgpack

_LENGTH = struct.Struct(">I")

#: Most bytes in one message. A part's arguments and environment are far below it on every system.
MAX_MESSAGE = 64 * 1024 * 1024


class MessageTooLong(ValueError):
    """A message is longer than MAX_MESSAGE."""


class NotAMessage(ValueError):
    """The bytes are MessagePack, but no map."""


def pack(message: Mapping[str, object]) -> bytes:
    """*message* as bytes.

    File names and environments may hold bytes that are no text; they travel as Python's surrogate escapes.

    Raises:
        MessageTooLong: it has more than MAX_MESSAGE bytes.
    """
    body: bytes = msgpack.packb(message, unicode_errors="surrogateescape")
    if len(body) > MAX_MESSAGE:
        raise MessageTooLong(f"a message of {len(body):,} bytes; at most {MAX_MESSAGE:,} are allowed")
    return _LENGTH.pack(len(body)) + body


class Reader:
    """Puts messages together from whatever pieces of bytes arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that *data* completes, in order.

        Raises:
            MessageTooLong: the length that was announced is above MAX_MESSAGE.
            ValueError: the bytes are no MessagePack, or no map (NotAMessage).
        """
        self._buffer += data
        found: list[dict[str, Any]] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > MAX_MESSAGE:
                raise MessageTooLong(f"a message of {length:,} bytes was announced")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            found.append(_unpack(bytes(self._buffer[start + _LENGTH.size : end])))
            start = end
        del self._buffer[:start]
        return found


def _unpack(body: bytes) -> dict[str, Any]:
    message = msgpack.unpackb(body, unicode_errors="surrogateescape")
    if not isinstance(message, dict):
        raise NotAMessage(f"a message that is no map but {type(message).__name__}")
    return message
