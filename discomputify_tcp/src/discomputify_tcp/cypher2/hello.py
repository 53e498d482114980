"""What the two ends say of themselves in the handshake, as bytes, and which versions work together.

Not here: which role was dialled (the transport knows).
"""

from __future__ import annotations

import msgpack

from discomputify_core.errors import OurBug, PeerBroke
from discomputify_core.model.codec import from_plain
from discomputify_core.model.message import Hello
from discomputify_tcp.cypher2.errors import broke
from discomputify_tcp.cypher2.limits import MAX_HELLO


def pack_hello(hello: Hello) -> bytes:
    """*hello* as a handshake payload.

    Raises:
        OurBug: it is over 2 KiB, or holds what MessagePack cannot.
    """
    plain = {
        "software": hello.software,
        "version": hello.version,
        "role": hello.role,
        "name": hello.name,
        "features": dict(hello.features),
    }
    try:
        payload: bytes = msgpack.packb(plain)
    except (TypeError, ValueError, OverflowError) as error:
        raise OurBug(f"What this process says of itself cannot be sent: {error}") from error
    if len(payload) > MAX_HELLO:
        raise OurBug(f"What this process says of itself has {len(payload)} bytes; at most {MAX_HELLO} can be sent.")
    return payload


def unpack_hello(payload: bytes) -> Hello:
    """The peer's hello; fields that this release does not know are ignored.

    Raises:
        PeerBroke: *payload* is none.
    """
    try:
        plain = msgpack.unpackb(payload)
    # RecursionError is no ValueError in every release of msgpack.
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise broke("handshake.4", f"What the peer says of itself is not MessagePack: {error}.") from error
    try:
        return from_plain(plain, Hello)
    except PeerBroke as error:
        raise broke("handshake.4", str(error)) from error


def versions_agree(one: Hello, other: Hello) -> bool:
    """Whether two ends work together: the same software, the same major version."""
    return one.software == other.software and _major(one.version) == _major(other.version)


def _major(version: str) -> str:
    return version.partition(".")[0]
