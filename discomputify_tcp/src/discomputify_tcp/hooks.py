"""What this distribution registers. Imports nothing heavy: the transport is loaded only where a conf names it."""

from __future__ import annotations

from discomputify_core.hookspecs import Registration, hookimpl


@hookimpl
def discomputify_register_transports() -> Registration:
    """Name the transport of this plugin."""
    return {"tcp": "discomputify_tcp.transport:TcpTransport"}
