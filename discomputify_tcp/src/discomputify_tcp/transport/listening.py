"""A bound address: peers arrive, are authenticated, and are served. Not here: the handshake itself (arrival.py)."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable

from discomputify_core.interfaces.transport import Address, Listener, Serve
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Hello
from discomputify_tcp.cypher2 import EPHEMERAL_KEY, Connection, versions_agree
from discomputify_tcp.transport.agreement import versions_differ
from discomputify_tcp.transport.arrival import Arrival
from discomputify_tcp.transport.channel import TcpChannel
from discomputify_tcp.transport.complaints import Complaints
from discomputify_tcp.transport.sockets import BACKLOG, tune
from discomputify_tcp.transport.wire import Wire

log = logging.getLogger("discomputify.tcp")

#: Peers that are not authenticated, at a time.
MAX_ARRIVALS = 128
#: Seconds for those who serve a channel to end when it closes, and again when they are cancelled.
END_WITHIN = 2.0

OnRefused = Callable[[Hello, str, str], None]


class TcpListener(Listener):
    """Listens on a bound socket until closed. :meth:`open` starts it.

    Args:
        refused: told about every authenticated peer that was refused: its hello, address, and the reason.
    """

    def __init__(
        self,
        sock: socket.socket,
        hello: Hello,
        serve: Serve,
        *,
        psk: bytes,
        conf: Conf,
        complaints: Complaints,
        refused: OnRefused,
    ) -> None:
        name = sock.getsockname()
        self.address = Address(name[0], name[1])
        self._sock = sock
        self._hello = hello
        self._serve = serve
        self._psk = psk
        self._conf = conf
        self._complaints = complaints
        self._refused = refused
        self._server: asyncio.Server | None = None
        self._arrivals: dict[Arrival, None] = {}
        self._channels: set[TcpChannel] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        # A hello that cannot be sent shows here, not at the first peer.
        self._codec()

    async def open(self) -> None:
        """Start to accept peers."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._wire, sock=self._sock, backlog=BACKLOG)

    async def close(self) -> None:
        """See :meth:`Listener.close`."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        for arrival in list(self._arrivals):
            arrival.turn_away("this service is stopping")
        if self._channels:
            await asyncio.gather(*(channel.close("this service is stopping") for channel in self._channels))
        # Whoever serves a channel may be the one who closes the listener: it is not waited for.
        tasks = self._tasks - {asyncio.current_task()}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=END_WITHIN)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=END_WITHIN)

    def _codec(self) -> Connection:
        ephemeral = secrets.token_bytes(EPHEMERAL_KEY)
        return Connection(client=False, psk=self._psk, ephemeral=ephemeral, hello=self._hello)

    def _wire(self) -> Wire:
        return Arrival(self._codec, self._arrived, self._welcome, self._left).wire

    def _arrived(self, arrival: Arrival) -> None:
        while len(self._arrivals) >= MAX_ARRIVALS:
            next(iter(self._arrivals)).turn_away(
                f"{MAX_ARRIVALS} others wait to be authenticated, and it waited longest"
            )
        self._arrivals[arrival] = None
        if self._closed:
            arrival.turn_away("this service is stopping")

    def _left(self, arrival: Arrival, reason: str) -> None:
        self._arrivals.pop(arrival, None)
        peer = arrival.wire.peer
        self._complaints.say(peer.host, f"turned away {peer} at {self.address}: {reason}")

    def _welcome(self, arrival: Arrival, theirs: Hello) -> None:
        self._arrivals.pop(arrival, None)
        wire = arrival.wire
        address = str(wire.peer)
        if not versions_agree(self._hello, theirs):
            reason = str(versions_differ(address, self._hello, theirs))
            self._complaints.say(wire.peer.host, f"refused {theirs.role!r} {theirs.name!r}: {reason}")
            wire.transport.close()
            self._refused(theirs, address, reason)
            return
        sock = wire.transport.get_extra_info("socket")
        if sock is not None:
            tune(sock, self._conf)
        channel = TcpChannel(wire, theirs, address, self._conf.timeout, self._complaints)
        self._channels.add(channel)
        task = asyncio.get_running_loop().create_task(self._host(channel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _host(self, channel: TcpChannel) -> None:
        try:
            await self._serve(channel)
        except Exception:  # a bug in one channel's service must not end the others
            log.exception("serving %s at %s failed", channel.peer.role, channel.address)
        finally:
            await channel.close()
            self._channels.discard(channel)
