"""What the codec reports. Frozen values only."""

from __future__ import annotations

from typing import Union

import attrs

from discomputify_core.model.message import Hello, Message


@attrs.frozen
class Greeted:
    """The peer's handshake message opened with our key. On a server this may still be a replay: act on nothing yet."""

    hello: Hello


@attrs.frozen
class Confirmed:
    """Server: the client's first frame opened, so it holds the key and is there now."""


@attrs.frozen
class Received:
    """A whole message; ``size`` is what it cost on the wire, before encryption."""

    message: Message
    size: int


@attrs.frozen
class Ping:
    """The peer asks for a sign of life."""


@attrs.frozen
class Pong:
    """The peer's answer to our ping."""


Event = Union[Greeted, Confirmed, Received, Ping, Pong]
