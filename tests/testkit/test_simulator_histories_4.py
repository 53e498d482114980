"""More of the histories of test_simulator_histories.py, in a file of their own so that they run beside those."""

from __future__ import annotations

import pytest

from .test_simulator_histories import EACH, hold


@pytest.mark.parametrize("first", range(750, 1000, EACH))
def test_no_promise_is_broken(first: int) -> None:
    hold(first)
