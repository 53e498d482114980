"""A Caller without a network: it invokes the handlers of a service directly, and can be told to go wrong.

Here: what a reconnecting caller and a service do together, seen from both ends. Not here: channels and transports.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any, Union

from discomputify_core.errors import (
    ChannelClosed,
    DiscomputifyError,
    OurBug,
    PeerBroke,
    Unreachable,
    from_wire,
    to_wire,
)
from discomputify_core.interfaces.calls import Asked, Caller, Operations, Reply
from discomputify_core.model.message import MAX_BODY, Hello
from discomputify_testkit.plain import round_trip

Body = Union[bytes, bytearray, memoryview]


class Fault(enum.Enum):
    """What happens to one call."""

    #: Nothing.
    NONE = "none"
    #: The request is lost, and sent again with the same id.
    REQUEST_LOST = "request lost"
    #: The request is done, its answer is lost, and it is sent again with the same id.
    ANSWER_LOST = "answer lost"
    #: The request arrives a second time right after its answer.
    REPEATED = "repeated"
    #: The service is gone before the request arrives, and does not come back in time.
    CUT_BEFORE = "cut before"
    #: The service does what was asked and is gone before its answer arrives.
    CUT_AFTER = "cut after"


Faults = Callable[[str, int], Fault]
"""Given an operation and the number of the call (from 1, over all operations): what happens to it."""


def no_faults(operation: str, number: int) -> Fault:
    """Everything works."""
    return Fault.NONE


class LoopbackCaller(Caller):
    """Asks *operations* in this process, as core's caller asks a service over a transport.

    Data goes through a MessagePack round trip both ways, bodies arrive as memoryviews of a copy, errors arrive as
    :func:`~discomputify_core.errors.from_wire` makes them, and an operation with ``changes`` that arrives again is
    answered from memory instead of being done twice. Whatever else a handler raises comes out as it is, so that
    a test shows where it happened (a real service answers OurBug).

    Args:
        operations: what the service does; may be replaced later (``caller.operations = …``), as after a restart.
        peer: who asks, as handlers see it.
        address: where from, as handlers see it.
        faults: what goes wrong, see :data:`Faults`.
    """

    def __init__(
        self,
        operations: Operations,
        peer: Hello | None = None,
        *,
        address: str = "loopback",
        faults: Faults = no_faults,
    ) -> None:
        self.operations = operations
        self.peer = peer or Hello("client")
        self.address = address
        self.faults = faults
        #: How often each operation was called, repetitions not counted.
        self.calls: Counter[str] = Counter()
        #: Bytes of bodies that were asked with and answered with.
        self.body_bytes_out = 0
        self.body_bytes_in = 0
        self._numbers = itertools.count(1)
        self._closed = asyncio.Event()

    async def call(self, operation: str, data: Any = None, body: Body = b"", *, timeout: float = 60.0) -> Reply:
        """See :meth:`Caller.call`."""
        if self._closed.is_set():
            raise ChannelClosed("This caller is closed.", reason="closed by this side")
        if len(body) > MAX_BODY:
            raise OurBug(f"A body of {len(body)} bytes was sent with '{operation}'; at most {MAX_BODY} may be.")
        self.calls[operation] += 1
        exchange = asyncio.ensure_future(self._exchange(operation, data, body))
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({exchange, closed}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if exchange.done():
                return exchange.result()
            if self._closed.is_set():
                raise ChannelClosed("This caller was closed while it waited.", reason="closed by this side")
            raise Unreachable(f"The service did not answer '{operation}' within {timeout:g} s.", address=self.address)
        finally:
            exchange.cancel()
            closed.cancel()
            await asyncio.wait({exchange, closed}, timeout=5.0)

    async def _exchange(self, operation: str, data: Any, body: Body) -> Reply:
        fault = self.faults(operation, next(self._numbers))
        if fault is Fault.CUT_BEFORE:
            raise self._gone(operation)
        plain, copy = round_trip(data), bytes(body)
        self.body_bytes_out += len(copy) * (2 if fault in _SENT_TWICE else 1)
        answer = await self._handled(operation, plain, copy)
        if fault is Fault.CUT_AFTER:
            raise self._gone(operation)
        if fault in _DONE_TWICE and not self._remembers(operation):
            again = await self._handled(operation, round_trip(plain), copy)
            answer = again if fault is Fault.ANSWER_LOST else answer
        return self._result(*answer)

    def _remembers(self, operation: str) -> bool:
        known = self.operations.get(operation)
        return known is not None and known.changes

    async def _handled(self, name: str, data: Any, body: bytes) -> tuple[Any, bytes]:
        """The answer as it travels: data (``ok`` or ``error``) and body."""
        operation = self.operations.get(name)
        if operation is None:
            error = PeerBroke(f"There is no operation '{name}' here.", clause="operation")
            return {"error": round_trip(to_wire(error))}, b""
        try:
            reply = await operation.handler(Asked(data, memoryview(body), self.peer, self.address))
        except DiscomputifyError as error:
            return {"error": round_trip(to_wire(error))}, b""
        if len(reply.body) > MAX_BODY:
            raise OurBug(f"'{name}' answered with a body of {len(reply.body)} bytes; at most {MAX_BODY} may be.")
        return {"ok": round_trip(reply.data)}, bytes(reply.body)

    def _result(self, data: Any, body: bytes) -> Reply:
        if "error" in data:
            raise from_wire(data["error"])
        self.body_bytes_in += len(body)
        return Reply(data["ok"], memoryview(body))

    def _gone(self, operation: str) -> Unreachable:
        return Unreachable(f"The service went away during '{operation}' and did not come back.", address=self.address)

    async def close(self) -> None:
        """See :meth:`Caller.close`."""
        self._closed.set()


_SENT_TWICE = frozenset({Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.REPEATED})
_DONE_TWICE = frozenset({Fault.ANSWER_LOST, Fault.REPEATED})


class UnreachableCaller(Caller):
    """Asks a service that is not there."""

    async def call(self, operation: str, data: Any = None, body: Body = b"", *, timeout: float = 60.0) -> Reply:
        """Raises Unreachable at once."""
        raise Unreachable(f"Nothing answered '{operation}': the service is not there.", address="nowhere")

    async def close(self) -> None:
        """Nothing to close."""


__all__ = ["Fault", "Faults", "LoopbackCaller", "UnreachableCaller", "no_faults"]
