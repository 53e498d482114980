"""The handshake ``Noise_NNpsk0_25519_AESGCM_SHA256`` (Noise Protocol Framework, revision 34).

Here: the two handshake messages as bytes. Not here: what their payloads mean, framing, where the ephemeral key
comes from. After ``psk`` every payload is encrypted, so the framework's branches without a key are not needed.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from discomputify_tcp.cypher2.cipher import Buffer, Cipher
from discomputify_tcp.cypher2.errors import CannotOpen, broke
from discomputify_tcp.cypher2.limits import EPHEMERAL_KEY, TAG

#: Exactly 32 bytes long, so it is the first hash itself (5.2, Initialize).
PROTOCOL = b"Noise_NNpsk0_25519_AESGCM_SHA256"


def _hkdf(chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
    """Noise 4.3: *outputs* keys of 32 bytes."""
    temp = hmac.digest(chaining_key, material, "sha256")
    found: list[bytes] = []
    last = b""
    for number in range(1, outputs + 1):
        last = hmac.digest(temp, last + bytes((number,)), "sha256")
        found.append(last)
    return found


class _Symmetric:
    """Noise 5.2, SymmetricState."""

    def __init__(self, prologue: bytes) -> None:
        self.hash = PROTOCOL
        self._chaining_key = PROTOCOL
        self._cipher = Cipher(bytes(32))
        self.mix_hash(prologue)

    def mix_hash(self, data: Buffer) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self._chaining_key, key = _hkdf(self._chaining_key, material, 2)
        self._cipher = Cipher(key)

    def mix_key_and_hash(self, material: bytes) -> None:
        self._chaining_key, mixed, key = _hkdf(self._chaining_key, material, 3)
        self.mix_hash(mixed)
        self._cipher = Cipher(key)

    def encrypt(self, payload: bytes) -> bytes:
        sealed = self._cipher.encrypt(payload, self.hash)
        self.mix_hash(sealed)
        return sealed

    def decrypt(self, sealed: bytes) -> bytes:
        plain = self._cipher.decrypt(sealed, self.hash)
        self.mix_hash(sealed)
        return plain

    def split(self) -> tuple[Cipher, Cipher]:
        first, second = _hkdf(self._chaining_key, b"", 2)
        return Cipher(first), Cipher(second)


class Handshake:
    """One side of the handshake; each side writes one message and reads one.

    Args:
        psk: the pre-shared key, 32 bytes.
        ephemeral: 32 fresh random bytes, used for this handshake alone.
        prologue: what both sides must have seen alike before it.
    """

    def __init__(self, psk: bytes, ephemeral: bytes, prologue: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(ephemeral)
        self._public = self._private.public_key().public_bytes_raw()
        self._symmetric = _Symmetric(prologue)
        # "psk" is the first token of the first message, for both sides.
        self._symmetric.mix_key_and_hash(psk)
        self._theirs = b""

    @property
    def hash(self) -> bytes:
        """The hash of everything so far: alike on both sides once the handshake is complete."""
        return self._symmetric.hash

    def write_first(self, payload: bytes) -> bytes:
        """Client: ``psk, e`` and *payload*."""
        self._mix_public(self._public)
        return self._public + self._symmetric.encrypt(payload)

    def read_first(self, message: bytes) -> bytes:
        """Server: the payload of the client's message.

        Raises:
            PeerBroke: too short.
            CannotOpen: it does not open with our key.
        """
        return self._read(message, agree=False, clause="handshake.2 first")

    def write_second(self, payload: bytes) -> bytes:
        """Server: ``e, ee`` and *payload*."""
        self._mix_public(self._public)
        self._agree("handshake.2 first")
        return self._public + self._symmetric.encrypt(payload)

    def read_second(self, message: bytes) -> bytes:
        """Client: the payload of the server's message. Raises as :meth:`read_first`."""
        return self._read(message, agree=True, clause="handshake.2 second")

    def split(self) -> tuple[Cipher, Cipher]:
        """The ciphers of the two directions: client to server, server to client."""
        return self._symmetric.split()

    def _mix_public(self, public: bytes) -> None:
        self._symmetric.mix_hash(public)
        # 9.2: in handshakes with a psk an "e" is mixed into the key too.
        self._symmetric.mix_key(public)

    def _agree(self, clause: str) -> None:
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(self._theirs))
        except ValueError as error:  # a point of low order: the shared secret would be all zeros
            raise broke(clause, "The peer's ephemeral key is not a usable point.") from error
        self._symmetric.mix_key(shared)

    def _read(self, message: bytes, *, agree: bool, clause: str) -> bytes:
        if len(message) < EPHEMERAL_KEY + TAG:
            raise broke(clause, f"The peer's handshake message has {len(message)} bytes, which is too short.")
        self._theirs = message[:EPHEMERAL_KEY]
        self._mix_public(self._theirs)
        if agree:
            self._agree(clause)
        try:
            return self._symmetric.decrypt(message[EPHEMERAL_KEY:])
        except InvalidTag:
            raise CannotOpen("The peer's handshake message does not open with our key.", clause=clause) from None
