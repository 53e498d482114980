"""The conformance suite of scheduling policies. Subclass :class:`SchedulerConformance` in a test file of the plugin.

Every method ``test_s_NN_…`` checks the behaviour S-NN of docs/behaviour/scheduler.md.
"""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in ("base", "clauses")))

from discomputify_testkit.scheduler.cases import (  # noqa: E402
    Situation,
    histories,
    make_node,
    make_ready,
    make_view,
)
from discomputify_testkit.scheduler.clauses import Clauses  # noqa: E402


class SchedulerConformance(Clauses):
    """What every policy does; a subclass gives ``make_scheduler``."""


__all__ = ["SchedulerConformance", "Situation", "histories", "make_node", "make_ready", "make_view"]
