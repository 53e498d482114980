"""The in-memory transport keeps what transports promise."""

from __future__ import annotations

from discomputify_core.model.conf import Conf
from discomputify_testkit.fakes.memory_transport import MemoryTransport
from discomputify_testkit.transport import Capabilities, TransportConformance


class TestMemoryTransport(TransportConformance):
    capabilities = Capabilities(over_tcp=False, encrypts=False, closes_silent_peers=False, most_ahead=8 * 1024 * 1024)

    def make_transport(self, conf: Conf) -> MemoryTransport:
        return MemoryTransport(conf)
