"""The conformance suite of transports. Subclass :class:`TransportConformance` in a test file of the plugin.

Every method ``test_t_NN_…`` checks the behaviour T-NN of docs/behaviour/transport.md.
"""

import pytest

pytest.register_assert_rewrite(
    *(f"{__name__}.{part}" for part in ("base", "messages", "closing", "dialling", "on_the_wire"))
)

from discomputify_testkit.transport.base import Capabilities  # noqa: E402
from discomputify_testkit.transport.closing import Closing  # noqa: E402
from discomputify_testkit.transport.dialling import Dialling  # noqa: E402
from discomputify_testkit.transport.messages import Messages  # noqa: E402
from discomputify_testkit.transport.on_the_wire import OnTheWire  # noqa: E402


class TransportConformance(Messages, Closing, Dialling, OnTheWire):
    """What every transport does; a subclass gives ``make_transport`` and says its ``capabilities``."""


__all__ = ["Capabilities", "TransportConformance"]
