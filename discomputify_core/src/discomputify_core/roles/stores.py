"""Hosts a plugin's service role (the store's ``ftp_node``, …) over the conf's transport."""

from __future__ import annotations

from discomputify_core.edge.connect import hello
from discomputify_core.edge.serving import Server
from discomputify_core.interfaces.role import ServiceRole
from discomputify_core.interfaces.transport import Address, Transport


class ServiceHost:
    """Opens a service role, serves its operations at its addresses, closes both."""

    def __init__(self, transport: Transport, role: ServiceRole) -> None:
        self.name = role.name
        self._role = role
        self._transport = transport
        self._server: Server | None = None

    async def start(self) -> tuple[Address, ...]:
        """Serve; returns the addresses.

        Raises:
            DiskError: a folder of the role cannot be used.
            AddressInUse: an address cannot be bound.
        """
        await self._role.open()
        try:
            self._server = Server(self._transport, hello(self.name), self._role.operations())
            return await self._server.open(self._role.addresses())
        except BaseException:
            # Also when cancelled: folders and locks are given back.
            await self._role.close()
            raise

    async def close(self) -> None:
        """Stop serving and close the role. Idempotent."""
        if self._server:
            await self._server.close()
            self._server = None
            await self._role.close()
