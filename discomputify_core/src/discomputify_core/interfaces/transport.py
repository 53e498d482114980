"""The promise of a transport: authenticated, encrypted channels that carry messages in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

import attrs

from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Hello, Message


@attrs.frozen(order=True)
class Address:
    """Where a service is: a host name or address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Channel(ABC):
    """One connection to an authenticated peer. Messages arrive whole, in order, once, or the channel closes."""

    #: What the peer said of itself.
    peer: Hello
    #: The peer's address, for people.
    address: str

    @abstractmethod
    async def send(self, message: Message) -> None:
        """Send *message*; returns when the transport can take the next one (backpressure).

        Messages sent without waiting in between may share packets. May be called concurrently.

        Raises:
            ChannelClosed: the connection is gone.
            OurBug: the body is over MAX_BODY or the data cannot be encoded.
        """

    def send_now(self, message: Message) -> bool:
        """Send *message* as :meth:`send` does if that would not wait; else do nothing and return False.

        Only so that small messages cost less. A transport need not override it.

        Raises:
            ChannelClosed, OurBug: as for :meth:`send`.
        """
        return False

    def tap(self, take: Callable[[Message], bool]) -> None:
        """Offer every message to *take* in the moment in which it has come, if all before it have been received.

        What *take* returns True for is dealt with; anything else is for :meth:`receive`, in order. *take* does not
        wait, does not raise, and may send. Only so that small messages cost less: a transport need not override it.
        """
        return

    @abstractmethod
    async def receive(self) -> Message:
        """The next message.

        Raises:
            ChannelClosed: the connection is gone; ``fields["reason"]`` says why
                (closed by the peer, silent for TIMEOUT seconds, protocol broken).
        """

    @abstractmethod
    async def close(self, reason: str = "") -> None:
        """Close; what was sent before is still delivered if the peer reads. Idempotent."""


Serve = Callable[[Channel], Awaitable[None]]


class Listener(ABC):
    """A bound address."""

    #: Where it listens; the port is the real one where 0 was asked for.
    address: Address

    @abstractmethod
    async def close(self) -> None:
        """Stop listening and close all channels of this listener. Idempotent."""


class Transport(ABC):
    """A transport plugin. One instance per process and conf.

    Class attributes: ``name`` (what TRANSPORT in the conf says) and ``options``, the attrs class of
    the section of that name in the conf, or None.
    """

    name: ClassVar[str]
    options: ClassVar[type | None] = None

    #: Told of every authenticated peer that a listener refused (another major version): what it said of itself, its
    #: address, and why. Set by a role that shows them; a transport that refuses nobody never calls it.
    on_refused: Callable[[Hello, str, str], None] | None = None

    @abstractmethod
    def __init__(self, conf: Conf, options: Any) -> None:
        """*options* is an instance of ``type(self).options``, or None.

        Raises:
            BadConf: the conf cannot be used with this transport (keys…).
        """

    @classmethod
    def check(cls, conf: Conf, options: Any) -> Sequence[str]:
        """What of the conf this transport cannot use: one sentence per mistake, each ending in `` @ KEY``.

        Asked before an instance is made, so that all mistakes of a conf are shown together. Opens nothing.
        Where *conf* has other mistakes, the wrong values are at their defaults. ``__init__`` raises BadConf
        for the same mistakes.
        """
        return ()

    @abstractmethod
    async def listen(self, address: Address, hello: Hello, serve: Serve) -> Listener:
        """Bind exactly *address* and call *serve* in a task of its own for every authenticated channel.

        The channel is closed when *serve* returns. Peers that fail to authenticate never reach it and
        cost bounded memory and time; each is logged in one line with its address and the reason.

        Raises:
            AddressInUse: the address is taken, or not one of this machine.
        """

    @abstractmethod
    async def dial(self, address: Address, role: str, hello: Hello, timeout: float) -> Channel:
        """Connect to the service *role* at *address*.

        Raises:
            Unreachable: nothing answered within *timeout* seconds (names the address and why).
            KeysDiffer, VersionsDiffer, Refused: something answered and it is not ours, or refused us.
        """
