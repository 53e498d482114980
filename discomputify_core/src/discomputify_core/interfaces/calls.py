"""Requests and answers as plugins see them; core's edge supplies the sending, retrying and serving."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Union

import attrs

from discomputify_core.errors import DiscomputifyError
from discomputify_core.model.message import Hello


@attrs.frozen
class Reply:
    """An answer: plain data, and bytes."""

    data: Any = None
    body: bytes | bytearray | memoryview = b""


@attrs.frozen
class Asked:
    """A request as its handler sees it."""

    data: Any
    body: bytes | bytearray | memoryview
    #: Who asks, as the authenticated handshake said, and from which address.
    peer: Hello
    address: str


@attrs.frozen
class Operation:
    """One operation of a service.

    ``changes`` marks a state-changing operation: core remembers its answer for each request id, so
    that a request that arrives again after a reconnect is answered and not done twice.
    A handler raises :class:`~discomputify_core.errors.DiscomputifyError` to refuse; the asking side gets the
    same error. Anything else that it raises is our bug: logged, and answered as such.

    ``at_once`` is a handler that never waits, for operations that are small and many: it may be asked in place of
    ``handler``, to the same effect, in the moment in which the request has come. Not for one that ``changes``.
    """

    handler: Callable[[Asked], Awaitable[Reply]]
    changes: bool = False
    at_once: Callable[[Asked], Reply] | None = None


Operations = Mapping[str, Operation]

Told = Callable[[Union[Reply, DiscomputifyError]], None]
"""Told once what came of a call that was begun. Does not wait, and does not raise."""
GiveUp = Callable[[], None]
"""Gives up what was begun: nobody is told of it any more. Without effect once they have been."""


class Caller(ABC):
    """Asks one service, over a connection that is made again when it breaks."""

    #: Told why, each time a connection that was in use breaks. Calls under way go on over the next one all the same.
    on_cut: Callable[[str], None] | None = None

    @abstractmethod
    async def call(
        self, operation: str, data: Any = None, body: bytes | bytearray | memoryview = b"", *, timeout: float = 60.0
    ) -> Reply:
        """Send a request and wait for its answer; sent again with the same id after a reconnect.

        Any number of calls may be under way at once; answers may come in any order.

        Raises:
            Unreachable: no answer within *timeout* seconds.
            Refused: the peer refused the connection.
            DiscomputifyError: the error that the service answered with.
        """

    def begin(
        self, operation: str, data: Any, body: bytes | bytearray | memoryview, *, timeout: float, told: Told
    ) -> GiveUp | None:
        """Begin a :meth:`call` if that needs no waiting, and tell *told* later what came of it; else do nothing: None.

        Only so that small calls cost less, since nobody has to wait: the default never begins.
        """
        return None

    @abstractmethod
    async def close(self) -> None:
        """Close the connection; calls under way fail with ChannelClosed."""
