"""From the conf's two keys to the handshake's pre-shared key. Not here: which keys are good (transport/keys.py)."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from discomputify_tcp.cypher2.limits import PSK


def derive_psk(one: bytes, other: bytes) -> bytes:
    """The pre-shared key of a pair of keys, in whichever order: a server's keys are its client's, swapped."""
    low, high = sorted((one, other))
    return HKDF(algorithm=SHA256(), length=PSK, salt=None, info=b"CYPHER/2").derive(low + high)
