"""Noise's CipherState with AESGCM: a key, and a counter that is never reset.

Here: one direction's encryption and its rekeying. Not here: framing, the handshake.
"""

from __future__ import annotations

import struct
from typing import Union

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from discomputify_tcp.cypher2.limits import REKEY_EVERY

Buffer = Union[bytes, bytearray, memoryview]

_NONCE = struct.Struct(">4xQ")
_LAST_NONCE = _NONCE.pack(2**64 - 1)


class Cipher:
    """Encrypts or decrypts one direction."""

    __slots__ = ("_aead", "_count")

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._count = 0

    def encrypt(self, plain: Buffer, ad: bytes | None = None) -> bytes:
        """*plain* as ciphertext and tag, under the next nonce."""
        sealed = self._aead.encrypt(_NONCE.pack(self._count), plain, ad)
        self._count += 1
        return sealed

    def decrypt(self, sealed: Buffer, ad: bytes | None = None) -> bytes:
        """The plaintext of *sealed*, under the next nonce.

        Raises:
            InvalidTag: not encrypted with this key, nonce and *ad*.
        """
        plain = self._aead.decrypt(_NONCE.pack(self._count), sealed, ad)
        self._count += 1
        return plain

    def rekey_when_due(self) -> None:
        """Change the key before every 65,536th frame (Noise 4.2 and 11.3; the counter goes on)."""
        if self._count and self._count % REKEY_EVERY == 0:
            self._aead = AESGCM(self._aead.encrypt(_LAST_NONCE, bytes(32), None)[:32])
