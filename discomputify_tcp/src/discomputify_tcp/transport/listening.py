"""A bound address: peers arrive, are authenticated, and are served. Not here: the handshake itself (arrival.py)."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Coroutine

from discomputify_core.interfaces.transport import Address, Channel, Listener, Serve
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Hello
from discomputify_tcp.cypher2 import EPHEMERAL_KEY, Connection, versions_agree
from discomputify_tcp.transport.agreement import versions_differ
from discomputify_tcp.transport.arrival import Arrival
from discomputify_tcp.transport.channel import TcpChannel
from discomputify_tcp.transport.complaints import Complaints
from discomputify_tcp.transport.old_channel import OldChannel
from discomputify_tcp.transport.old_clients import OldClients
from discomputify_tcp.transport.sockets import BACKLOG, tune, widen
from discomputify_tcp.transport.wire import Heir, Wire

log = logging.getLogger("discomputify.tcp")

#: Peers that are not authenticated, at a time.
MAX_ARRIVALS = 128
#: Seconds for those who serve a channel to end when it closes, and again when they are cancelled.
END_WITHIN = 2.0

STOPPING = "this service is stopping"

#: What to do about an old client where those are not served.
MOVE = (
    "Move it to this version; or, to serve old clients too, over their weaker protocol (CYPHER/1), put "
    '"tcp": {"cypher1": true} into the conf of this service'
)

OnRefused = Callable[[Hello, str, str], None]


class TcpListener(Listener):
    """Listens on a bound socket until closed. :meth:`open` starts it.

    Args:
        complaints: for peers that speak CYPHER/2, or nothing that is known.
        old_complaints: for old clients, who come again each second.
        old: what serves old clients; None where they are turned away.
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
        old_complaints: Complaints,
        old: OldClients | None,
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
        self._old_complaints = old_complaints
        self._old = old
        self._refused = refused
        self._server: asyncio.Server | None = None
        self._arrivals: dict[Arrival, None] = {}
        self._channels: set[Channel] = set()
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
            arrival.turn_away(STOPPING)
        if self._channels:
            await asyncio.gather(*(channel.close(STOPPING) for channel in self._channels))
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
        silent = self._conf.timeout if self._old is not None else 0.0
        return Arrival(self._codec, self._arrived, self._welcome, self._left, self._came_old, silent).wire

    def _arrived(self, arrival: Arrival) -> None:
        while len(self._arrivals) >= MAX_ARRIVALS:
            next(iter(self._arrivals)).turn_away(
                f"{MAX_ARRIVALS} others wait to be authenticated, and it waited longest"
            )
        self._arrivals[arrival] = None
        if self._closed:
            arrival.turn_away(STOPPING)
        elif self._old is not None and (sock := arrival.wire.transport.get_extra_info("socket")) is not None:
            # At once: what an old client sends first may be what loses bytes where there is no room for it.
            widen(sock)

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
        self._tune(wire.transport)
        self._serve_to(TcpChannel(wire, theirs, address, self._conf.timeout, self._complaints))

    def _came_old(self, arrival: Arrival) -> Heir | None:
        self._arrivals.pop(arrival, None)
        wire = arrival.wire
        if self._old is None:
            line = f"An old client connected from {wire.peer} to {self.address}, and was turned away. {MOVE}."
            self._old_complaints.say(wire.peer.host, line)
            wire.transport.close()
            return None
        self._tune(wire.transport, wide=True)
        channel = OldChannel(wire.transport, self._old, self._serve_to)
        self._channels.add(channel)
        self._spawn(self._run_old(channel))
        return channel.stream

    def _tune(self, transport: asyncio.Transport, *, wide: bool = False) -> None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            tune(sock, self._conf, wide=wide)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_old(self, channel: OldChannel) -> None:
        try:
            await channel.run()
        finally:
            self._channels.discard(channel)

    def _serve_to(self, channel: Channel) -> None:
        self._channels.add(channel)
        self._spawn(self._host(channel))

    async def _host(self, channel: Channel) -> None:
        try:
            await self._serve(channel)
        except Exception:  # a bug in one channel's service must not end the others
            log.exception("serving %s at %s failed", channel.peer.role, channel.address)
        finally:
            await channel.close()
            self._channels.discard(channel)
