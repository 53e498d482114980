"""The head of a message: a MessagePack map. Fields that are not known are ignored.

``op`` the operation; ``id`` [client, number] where an answer is wanted or given; ``settled``; ``data``; ``body``, the
body's length. All but ``op`` may be absent. Operations that begin with ``cypher2.`` are the protocol's own.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgpack

from discomputify_core.errors import OurBug
from discomputify_core.model.message import MAX_BODY, Message, RequestId
from discomputify_tcp.cypher2.errors import broke
from discomputify_tcp.cypher2.limits import LENGTH, MAX_HEAD

OWN = "cypher2."
HELLO, PING, PONG = "cypher2.hello", "cypher2.ping", "cypher2.pong"

#: Longest name of a client process in a request id; ours have 16 bytes.
_MAX_CLIENT = 64
_MAX_NUMBER = 2**64 - 1


@attrs.define
class Head:
    """A head that was read and checked."""

    operation: str
    request: RequestId | None
    settled: int
    data: Any
    body: int


def pack_own(operation: str) -> bytes:
    """A whole message of the protocol itself: length and head."""
    return _prefixed(msgpack.packb({"op": operation}))


def pack_head(message: Message, body: int) -> bytes:
    """Length and head of *message*, whose body has *body* bytes.

    Raises:
        OurBug: the message cannot be sent.
    """
    if message.operation.startswith(OWN):
        raise OurBug(f"The operation {message.operation!r} is reserved for the transport itself.")
    if body > MAX_BODY:
        raise OurBug(f"The body of {message.operation!r} has {body:,} bytes; at most {MAX_BODY:,} fit into a message.")
    head: dict[str, Any] = {"op": message.operation}
    if message.request is not None:
        head["id"] = [message.request.client, message.request.number]
    if message.settled:
        head["settled"] = message.settled
    if message.data is not None:
        head["data"] = message.data
    if body:
        head["body"] = body
    try:
        packed: bytes = msgpack.packb(head)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise OurBug(f"The data of {message.operation!r} cannot be sent: {error}") from error
    if len(packed) > MAX_HEAD:
        raise OurBug(
            f"The data of {message.operation!r} takes {len(packed):,} bytes; at most {MAX_HEAD:,} fit into a head. "
            "Bigger things belong into the body."
        )
    return _prefixed(packed)


def _prefixed(packed: bytes) -> bytes:
    return len(packed).to_bytes(LENGTH, "big") + packed


def unpack_head(packed: bytes | bytearray | memoryview) -> Head:
    """The head in *packed*.

    Raises:
        PeerBroke: it is none.
    """
    try:
        plain = msgpack.unpackb(packed, strict_map_key=False)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise broke("messages", f"The head of a message is not MessagePack: {error}.") from error
    if not isinstance(plain, dict) or type(plain.get("op")) is not str:
        raise broke("messages", "The head of a message has no operation.")
    return Head(
        plain["op"],
        None if plain.get("id") is None else _request(plain["id"]),
        _number("settled", plain["settled"], _MAX_NUMBER) if "settled" in plain else 0,
        plain.get("data"),
        _number("body", plain["body"], MAX_BODY) if "body" in plain else 0,
    )


def _request(plain: Any) -> RequestId:
    if not isinstance(plain, list) or len(plain) != 2 or type(plain[0]) is not bytes or len(plain[0]) > _MAX_CLIENT:
        raise broke("messages", "The id of a request is not a pair of bytes and a number.")
    return RequestId(plain[0], _number("number of a request", plain[1], _MAX_NUMBER))


def _number(name: str, plain: Any, most: int) -> int:
    if type(plain) is not int or not 0 <= plain <= most:
        raise broke("messages", f"The {name} in a head is not a whole number from 0 to {most}.")
    return plain
