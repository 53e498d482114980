"""Frames: a length, then ciphertext with its tag. One class per direction.

Not here: what the plaintext means (messages.py), what is sent when (outbox.py).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag

from discomputify_tcp.cypher2.cipher import Buffer, Cipher
from discomputify_tcp.cypher2.errors import broke
from discomputify_tcp.cypher2.inbox import Inbox
from discomputify_tcp.cypher2.limits import LENGTH, MAX_FRAME, TAG


class Sealer:
    """Plaintexts in, frames out."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher

    def seal(self, plain: Buffer) -> tuple[bytes, bytes]:
        """*plain* (at most 1 MiB) as a frame: its length prefix, its ciphertext."""
        self._cipher.rekey_when_due()
        sealed = self._cipher.encrypt(plain)
        return len(sealed).to_bytes(LENGTH, "big"), sealed


class Opener:
    """Bytes in, plaintexts out."""

    def __init__(self, cipher: Cipher, inbox: Inbox) -> None:
        self._cipher = cipher
        self._inbox = inbox

    def next(self, most: int = MAX_FRAME) -> bytes | None:
        """The plaintext of the next frame, or None until it has arrived whole.

        Raises:
            PeerBroke: its length is under 16 or over *most* (before anything is allocated), or it does not open.
        """
        prefix = self._inbox.peek(LENGTH)
        if prefix is None:
            return None
        size = int.from_bytes(prefix, "big")
        if not TAG <= size <= most:
            raise broke("frames", f"The peer announced a frame of {size} bytes; {TAG} to {most} are allowed here.")
        frame = self._inbox.peek(LENGTH + size)
        if frame is None:
            self._inbox.need(LENGTH + size)
            return None
        self._cipher.rekey_when_due()
        try:
            plain = self._cipher.decrypt(frame[LENGTH:])
        except InvalidTag:
            raise broke(
                "frames", "A frame from the peer does not open: it was altered, repeated or left out."
            ) from None
        self._inbox.skip(LENGTH + size)
        return plain
