"""The client's way to a channel: connect, greet, check who answered, confirm. Not here: what follows (channel.py)."""

from __future__ import annotations

import asyncio
import secrets

import attrs

from discomputify_core.errors import DiscomputifyError, PeerBroke, Unreachable
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Hello
from discomputify_tcp.cypher2 import EPHEMERAL_KEY, CannotOpen, Connection, Event, Greeted, versions_agree
from discomputify_tcp.transport.agreement import keys_differ, not_ours, roles_differ, versions_differ
from discomputify_tcp.transport.channel import GONE_WITHIN, TcpChannel
from discomputify_tcp.transport.complaints import Complaints
from discomputify_tcp.transport.sockets import connected
from discomputify_tcp.transport.wire import Owner, Wire


class Greeting(Owner):
    """Owns a wire until the server's hello is there."""

    def __init__(self, address: Address) -> None:
        self._address = address
        #: The server's hello, or why there is none.
        self.hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()

    def full(self) -> bool:
        """See :meth:`Owner.full`: what the server sends after its hello is for the channel."""
        return self.hello.done()

    def on_made(self) -> None:
        """See :meth:`Owner.on_made`: the dialling coroutine speaks first."""

    def on_writable(self, writable: bool) -> None:
        """See :meth:`Owner.on_writable`: a handshake always fits into the buffer."""

    def on_event(self, event: Event) -> None:
        """See :meth:`Owner.on_event`."""
        if isinstance(event, Greeted):
            self.hello.set_result(event.hello)

    def on_broken(self, error: PeerBroke) -> None:
        """See :meth:`Owner.on_broken`."""
        if isinstance(error, CannotOpen):
            self._fail(keys_differ(self._address, "answered with another key"))
        else:
            self._fail(not_ours(self._address, str(error)))

    def on_end(self, reason: str, *, orderly: bool) -> None:
        """See :meth:`Owner.on_end`. Only a service that does not open our message closes in order at this point."""
        if orderly:
            self._fail(keys_differ(self._address, "closed the connection in the handshake"))
        else:
            self._fail(
                Unreachable(
                    f"Nothing can be reached at {self._address}: {reason} in the handshake. The service there is "
                    "overloaded or just stopping, or it is not a discomputify port.",
                    address=str(self._address),
                    reason=reason,
                )
            )

    def _fail(self, error: DiscomputifyError) -> None:
        if not self.hello.done():
            self.hello.set_exception(error)
            self.hello.exception()  # it may be that nobody waits any more


@attrs.define
class Dial:
    """One try to connect.

    Args:
        timeout: seconds of silence after which the channel closes; :meth:`run` has one of its own.
    """

    address: Address
    role: str
    hello: Hello
    psk: bytes = attrs.field(repr=False)
    conf: Conf = attrs.field(repr=False)
    complaints: Complaints
    _stage: str = "connecting"

    async def run(self, timeout: float) -> TcpChannel:
        """The channel; within *timeout* seconds.

        Raises:
            Unreachable, KeysDiffer, VersionsDiffer, Refused: see :meth:`Transport.dial`.
        """
        running = asyncio.ensure_future(self._run(timeout))
        # A caller that is cancelled in the very turn in which it fails does not look at why.
        running.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            return await asyncio.wait_for(running, timeout)
        except asyncio.TimeoutError:
            raise Unreachable(
                f"{self.role} at {self.address} did not answer within {round(timeout, 1):g} s ({self._stage}). "
                "Is the service running there, and is the address right?",
                address=str(self.address),
                reason=f"no answer while {self._stage}",
            ) from None

    async def _run(self, timeout: float) -> TcpChannel:
        greeting = Greeting(self.address)
        codec = Connection(client=True, psk=self.psk, ephemeral=secrets.token_bytes(EPHEMERAL_KEY), hello=self.hello)
        wire = Wire(greeting, codec)
        sock = await connected(self.address, self.conf, timeout)
        try:
            await asyncio.get_running_loop().create_connection(lambda: wire, sock=sock)
        except BaseException:  # also when cancelled: the socket belongs to nobody
            sock.close()
            raise
        self._stage = "shaking hands"
        try:
            wire.write([codec.start()])
            return self._checked(wire, await greeting.hello)
        except BaseException:  # also when cancelled: the connection belongs to nobody
            await _hang_up(wire)
            raise

    def _checked(self, wire: Wire, theirs: Hello) -> TcpChannel:
        agree = versions_agree(self.hello, theirs)
        if not agree or theirs.role == self.role:
            # Confirmed also where the versions differ, so that the server knows for certain who was refused.
            wire.write([wire.codec.confirm()])
        if not agree:
            raise versions_differ(str(self.address), self.hello, theirs)
        if theirs.role != self.role:
            raise roles_differ(self.address, self.role, theirs.role)
        channel = TcpChannel(wire, theirs, str(self.address), self.conf.timeout, self.complaints)
        wire.work()
        return channel


async def _hang_up(wire: Wire) -> None:
    wire.close()
    try:
        await asyncio.wait_for(wire.gone.wait(), GONE_WITHIN)
    except asyncio.TimeoutError:
        wire.transport.abort()
