"""From the plaintext stream of one direction to messages, whatever the frames' boundaries.

Not here: decryption (frames.py), what a head holds (heads.py).
"""

from __future__ import annotations

from discomputify_tcp.cypher2.errors import broke
from discomputify_tcp.cypher2.heads import Head, unpack_head
from discomputify_tcp.cypher2.limits import LENGTH, MAX_HEAD, SMALL


class Assembler:
    """Plaintexts in, pairs of head and body out."""

    def __init__(self) -> None:
        self._plain: bytes | bytearray = b""
        self._at = 0
        self._head: Head | None = None
        self._size = 0
        self._pieces: list[bytes | bytearray] = []
        self._missing = 0

    @property
    def at_rest(self) -> bool:
        """Whether nothing is held of a message that is still arriving."""
        return self._head is None and self._at == len(self._plain)

    def feed(self, plain: bytes) -> None:
        """Add what a frame held, after :meth:`next` has returned None."""
        if self._at == len(self._plain):
            self._plain = plain
        else:
            rest = self._plain if isinstance(self._plain, bytearray) else bytearray(self._plain)
            del rest[: self._at]
            rest += plain
            self._plain = rest
        self._at = 0

    def next(self) -> tuple[Head, bytes, int] | None:
        """The next message: head, body, its size in the stream; None until it has arrived whole.

        Raises:
            PeerBroke: its head is over 1 MiB (before it is waited for) or malformed.
        """
        if self._head is None:
            self._head = self._next_head()
            if self._head is None:
                return None
            if self._head.body <= len(self._plain) - self._at:
                return self._whole(self._head)
            self._missing = self._head.body
        self._take_body()
        if self._missing:
            return None
        head, body = self._head, self._joined()
        self._head, self._pieces = None, []
        return head, body, self._size + head.body

    def _whole(self, head: Head) -> tuple[Head, bytes, int]:
        """A message that is here whole, as most are."""
        end = self._at + head.body
        body = bytes(self._plain[self._at : end])
        self._head, self._at = None, end
        return head, body, self._size + head.body

    def _next_head(self) -> Head | None:
        begin = self._at + LENGTH
        if len(self._plain) < begin:
            return None
        size = int.from_bytes(self._plain[self._at : begin], "big")
        if size > MAX_HEAD:
            raise broke("messages", f"The peer announced a head of {size} bytes; at most {MAX_HEAD} are allowed.")
        if len(self._plain) < begin + size:
            return None
        head = unpack_head(self._plain[begin : begin + size])
        self._at = begin + size
        self._size = LENGTH + size
        return head

    def _take_body(self) -> None:
        size = min(self._missing, len(self._plain) - self._at)
        if not size:
            return
        if size == len(self._plain) and isinstance(self._plain, bytes):
            piece = self._plain  # the whole frame: no copy
        else:
            piece = bytes(self._plain[self._at : self._at + size])
        # Small pieces are merged: a body in frames of one byte must not cost an object for each byte.
        if size < SMALL and self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += piece
        elif size < SMALL and size < self._missing:
            self._pieces.append(bytearray(piece))
        else:
            self._pieces.append(piece)
        self._at += size
        self._missing -= size

    def _joined(self) -> bytes:
        if len(self._pieces) == 1 and isinstance(self._pieces[0], bytes):
            return self._pieces[0]
        return b"".join(self._pieces)
