"""The conformance suite of shared memories. Subclass :class:`MemoryConformance` in a test file of the plugin.

Every method ``test_m_NN_…`` checks the behaviour M-NN of docs/behaviour/memory.md.
"""

import pytest

_PARTS = ("base", "entries", "lists", "locks", "rounds", "history", "attempts", "limits", "whole")
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

from discomputify_testkit.memory.attempts import Attempts  # noqa: E402
from discomputify_testkit.memory.base import LIMITS, Capabilities, Connect  # noqa: E402
from discomputify_testkit.memory.entries import Entries  # noqa: E402
from discomputify_testkit.memory.history import History  # noqa: E402
from discomputify_testkit.memory.limits import Bounds  # noqa: E402
from discomputify_testkit.memory.lists import Lists  # noqa: E402
from discomputify_testkit.memory.locks import Locks  # noqa: E402
from discomputify_testkit.memory.rounds import Rounds  # noqa: E402
from discomputify_testkit.memory.whole import Whole  # noqa: E402


class MemoryConformance(Entries, Lists, Locks, Rounds, History, Attempts, Bounds, Whole):
    """What every shared memory does; a subclass gives ``make_memory``, ``lose`` and says its ``capabilities``."""


__all__ = ["LIMITS", "Capabilities", "Connect", "MemoryConformance"]
