"""Histories of thousands of nodes."""

from __future__ import annotations

import pytest

from discomputify_testkit.simulator import simulate
from discomputify_testkit.simulator.durations import Durations
from discomputify_testkit.simulator.histories import anything, one_job

pytestmark = pytest.mark.long


@pytest.mark.parametrize("seed", range(2000, 2010))
def test_five_thousand_nodes_with_every_kind_of_fault(seed: int) -> None:
    result = simulate(anything(seed, nodes=5000, parts=5000))
    print(f"seed {seed}: {result.events:,} events, faults {dict(result.faults)}, history {result.history}")


def test_two_hundred_thousand_parts_on_five_thousand_nodes() -> None:
    seconds = Durations("uniform", (1.0, 3.0))
    scenario = one_job(1, nodes=5000, slots=4, parts=200_000, policy="fifo", seconds=seconds, kill=0.05)
    result = simulate(scenario)
    print("\n".join(result.lines()))
    assert result.done == 200_000
