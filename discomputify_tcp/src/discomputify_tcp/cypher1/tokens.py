"""From tokens to the texts inside them, and back. Not here: what the texts say (texts.py), finding tokens (inbox.py).

A token's digest stands for its text, vector and time, so two spellings of one token must not pass: the decoder of
``cryptography`` skips characters that are not base64, and ignores bits behind the end.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from discomputify_core.errors import OurBug
from discomputify_tcp.cypher1.errors import CannotOpen, broke
from discomputify_tcp.cypher1.limits import BEGIN

#: Base64 digits, and what may fill up the last four.
DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
PAD = b"="

#: Characters that hold version and time; bytes of the shortest token's contents: version, time, vector, block, MAC.
_HEAD = 12
_LEAST = 1 + 8 + 16 + 16 + 32
_KEY = 32

#: A token that is longer than this may have lost bytes on its way into the client's socket.
LOSSY = 1024 * 1024


def fernet(key: str) -> Fernet:
    """The cipher of a key of the conf: its 32 ASCII characters are the bytes of the Fernet key.

    Raises:
        OurBug: it is another kind of key, which the transport should not have let pass.
    """
    if len(key) != _KEY or not key.isascii():
        raise OurBug(f"A key for CYPHER/1 has {_KEY} ASCII characters.")
    return Fernet(base64.urlsafe_b64encode(key.encode("ascii")))


def digest(token: bytes) -> bytes:
    """What stands for *token*, without its terminator, in a memory."""
    return hashlib.sha256(token).digest()


def seal(cipher: Fernet, text: bytes, now: float) -> bytes:
    """*text* as a token made at *now*, seconds of the epoch."""
    return cipher.encrypt_at_time(text, int(now))


def open_token(cipher: Fernet, token: bytes) -> tuple[bytes, int]:
    """The text in *token*, and when it was made, whatever the time is now.

    Raises:
        PeerBroke: it is not written as tokens are.
        CannotOpen: it was made with another key, or damaged.
    """
    _check_spelling(token)
    try:
        made_at = int.from_bytes(base64.urlsafe_b64decode(token[:_HEAD])[1:9], "big")
        # At its own time every token is fresh; what time it is now is not asked here.
        return cipher.decrypt_at_time(token, ttl=0, current_time=made_at), made_at
    except (InvalidToken, ValueError):
        text = f"A token does not open: most likely the keys differ, or it was damaged.{lossy(len(token))}"
        raise CannotOpen(f"{text} (CYPHER/1, token)", clause="token") from None


def _check_spelling(token: bytes) -> None:
    padding = len(token) - len(token.rstrip(PAD))
    digits, last = token[: len(token) - padding], token[-4:]
    if (
        len(token) % 4
        or padding > 2
        or len(digits) * 3 // 4 < _LEAST
        or not token.startswith(BEGIN)
        or digits.translate(None, DIGITS)
        or not _same_again(last)
    ):
        raise broke("token", f"What came is not spelled as a token is.{lossy(len(token))}")


def lossy(size: int) -> str:
    """A hint, where *size* bytes of a token came and not all is well: bytes may be missing.

    Old clients do not look how much of a piece the system took at once, and go on with the next.
    """
    if size <= LOSSY:
        return ""
    return " Old clients lose bytes of big requests: make TRANSMISSION_BUFFER smaller there, 65536."


def _same_again(last: bytes) -> bool:
    try:
        return base64.urlsafe_b64encode(base64.urlsafe_b64decode(last)) == last
    except binascii.Error:
        return False
