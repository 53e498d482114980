"""The conformance suite of file stores. Subclass :class:`StoreConformance` in a test file of the plugin.

Every method ``test_f_NN_…`` checks the behaviour F-NN of docs/behaviour/store.md.
"""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in ("base", "sending", "trees", "clearing", "sharing")))

from discomputify_testkit.store.base import Capabilities  # noqa: E402
from discomputify_testkit.store.clearing import Clearing  # noqa: E402
from discomputify_testkit.store.sending import Sending  # noqa: E402
from discomputify_testkit.store.sharing import Sharing  # noqa: E402
from discomputify_testkit.store.trees import Trees  # noqa: E402


class StoreConformance(Sending, Trees, Clearing, Sharing):
    """What every store does; a subclass gives ``make_store``, ``damage`` and says its ``capabilities``."""


__all__ = ["Capabilities", "StoreConformance"]
