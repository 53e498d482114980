"""A thousand histories of the cluster with every kind of fault, a quarter of them here."""

from __future__ import annotations

import functools
import time
from collections import Counter

import pytest

from discomputify_testkit.simulator import Breach, Simulation, simulate
from discomputify_testkit.simulator.histories import anything
from discomputify_testkit.simulator.scenario import FAULTS
from discomputify_testkit.simulator.shrinking import shrunk, told

#: Histories of one test, and seconds that looking for a smaller one may take.
EACH, SHRINK = 25, 20.0


def _before(until: float) -> bool:
    return time.monotonic() < until


def hold(first: int) -> Counter[str]:
    """The histories of the seeds from *first* on break no promise; returns how often each fault happened."""
    faults: Counter[str] = Counter()
    for seed in range(first, first + EACH):
        try:
            faults.update(simulate(anything(seed)).faults)
        except Breach as found:
            until = time.monotonic() + SHRINK
            breach, small = found, anything(seed)
            small = shrunk(small, more=functools.partial(_before, until))
            try:
                Simulation(small, trace=True).run()
            except Breach as again:
                breach = again
            pytest.fail(f"seed {seed}\n" + "\n".join(told(small, breach)))
    return faults


@pytest.mark.parametrize("first", range(0, 250, EACH))
def test_no_promise_is_broken(first: int) -> None:
    hold(first)


def test_every_kind_of_fault_is_among_them() -> None:
    planned = {fault.kind for seed in range(100) for fault in anything(seed).faults}
    assert planned == set(FAULTS)
