"""A service at its addresses: listens, and answers every peer's calls. Not here: one peer's calls (calls.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from discomputify_core.edge.answers import Answers
from discomputify_core.edge.calls import Peer, RequestIds
from discomputify_core.errors import AddressInUse
from discomputify_core.interfaces.calls import Operations
from discomputify_core.interfaces.transport import Address, Channel, Listener, Transport
from discomputify_core.model.message import Hello


class Server:
    """A service at one or more addresses of a transport.

    Args:
        on_close: told about every peer whose channel is gone.
    """

    def __init__(
        self,
        transport: Transport,
        hello: Hello,
        operations: Operations,
        on_close: Callable[[Peer], None] | None = None,
    ) -> None:
        self._transport = transport
        self._hello = hello
        self._operations = operations
        self._on_close = on_close
        self._answers = Answers()
        self._ids = RequestIds()
        self._listeners: list[Listener] = []

    async def open(self, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
        """Listen at *addresses* (each once); returns where it really listens.

        Raises:
            AddressInUse: some cannot be bound; then none is. ``fields["each"]`` has every one with its reason.
        """
        try:
            await self._listen(dict.fromkeys(addresses))
        except BaseException:
            # Also when cancelled: a half-open service is not left behind.
            await self.close()
            raise
        return tuple(listener.address for listener in self._listeners)

    async def _listen(self, addresses: Iterable[Address]) -> None:
        refused: list[tuple[str, str]] = []
        for address in addresses:
            try:
                self._listeners.append(await self._transport.listen(address, self._hello, self._serve))
            except AddressInUse as error:
                refused.append((str(address), str(error)))
        if refused:
            raise AddressInUse(" ".join(said for _, said in refused), each=refused)

    async def _serve(self, channel: Channel) -> None:
        peer = Peer(channel, self._operations, self._answers, self._ids)
        try:
            await peer.serve()
        finally:
            if self._on_close:
                self._on_close(peer)

    async def close(self) -> None:
        """Stop listening and close all channels."""
        for listener in self._listeners:
            await listener.close()
        self._listeners.clear()
