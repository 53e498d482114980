"""The transport ``tcp`` keeps what transports promise."""

from __future__ import annotations

from discomputify_core.model.conf import Conf
from discomputify_tcp.transport import TcpTransport
from discomputify_testkit.transport import TransportConformance


class TestTcpTransport(TransportConformance):
    def make_transport(self, conf: Conf) -> TcpTransport:
        return TcpTransport(conf)
