"""The plugin's class: what core creates, once per process and conf. Not here: how it is done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from discomputify_core.errors import BadConf
from discomputify_core.interfaces.transport import Address, Channel, Listener, Serve, Transport
from discomputify_core.model.conf import Conf
from discomputify_core.model.message import Hello
from discomputify_tcp.cypher2 import derive_psk
from discomputify_tcp.transport import keys
from discomputify_tcp.transport.complaints import Complaints
from discomputify_tcp.transport.dialling import Dial
from discomputify_tcp.transport.options import TcpOptions
from discomputify_tcp.transport.sockets import bound

if TYPE_CHECKING:  # only services listen, and what they listen with costs time to import
    from discomputify_tcp.transport.old_clients import OldClients

log = logging.getLogger("discomputify.tcp")


class TcpTransport(Transport):
    """CYPHER/2 over TCP; and CYPHER/1 for old clients, where the conf asks for it."""

    name: ClassVar[str] = "tcp"
    options: ClassVar[type | None] = TcpOptions

    def __init__(self, conf: Conf, options: TcpOptions | None = None) -> None:
        """Check the keys; nothing is opened.

        Raises:
            BadConf: a key cannot be used; ``fields["problems"]`` has a sentence for each.
        """
        problems = self.check(conf, options)
        if problems or conf.encryption_key is None or conf.decryption_key is None:
            raise BadConf(
                "The keys in discomputify_conf.json cannot be used:\n" + "\n".join(problems), problems=list(problems)
            )
        for warning in keys.warnings(conf):
            log.warning("%s", warning)
        self._conf = conf
        self._psk = derive_psk(conf.encryption_key.encode("ascii"), conf.decryption_key.encode("ascii"))
        self._options = options or TcpOptions()
        self._complaints: Complaints | None = None
        self._old_complaints: Complaints | None = None
        self._old: OldClients | None = None

    @classmethod
    def check(cls, conf: Conf, options: Any) -> Sequence[str]:
        """Every reason why *conf* cannot be used with this transport, one sentence each, ending in ``@ KEY``."""
        return keys.problems(conf, TcpOptions() if options is None else options)

    async def listen(self, address: Address, hello: Hello, serve: Serve) -> Listener:
        """See :meth:`Transport.listen`."""
        from discomputify_tcp.transport.listening import TcpListener

        sock = await bound(address, self._conf, wide=self._options.cypher1)
        try:
            old = await self._old_clients()
            listener = TcpListener(
                sock,
                hello,
                serve,
                psk=self._psk,
                conf=self._conf,
                complaints=self._complain(),
                old_complaints=self._complain_of_old(),
                old=old,
                refused=self._on_refused,
            )
            await listener.open()
        except BaseException:  # also when cancelled: the socket belongs to nobody
            sock.close()
            raise
        return listener

    async def dial(self, address: Address, role: str, hello: Hello, timeout: float) -> Channel:
        """See :meth:`Transport.dial`."""
        return await Dial(address, role, hello, self._psk, self._conf, self._complain()).run(timeout)

    def _complain(self) -> Complaints:
        if self._complaints is None:
            self._complaints = Complaints(asyncio.get_running_loop().time)
        return self._complaints

    def _complain_of_old(self) -> Complaints:
        from discomputify_tcp.transport.old_clients import old_complaints

        if self._old_complaints is None:
            self._old_complaints = old_complaints(asyncio.get_running_loop().time)
        return self._old_complaints

    async def _old_clients(self) -> OldClients | None:
        """What serves old clients at all addresses of this process, ready; None where they are not served."""
        if not self._options.cypher1:
            return None
        from discomputify_tcp.transport.old_clients import OldClients

        if self._old is None:
            self._old = OldClients(self._conf, self._complain_of_old())
        await self._old.begin()
        return self._old

    def _on_refused(self, hello: Hello, address: str, reason: str) -> None:
        if self.on_refused is not None:
            self.on_refused(hello, address, reason)
