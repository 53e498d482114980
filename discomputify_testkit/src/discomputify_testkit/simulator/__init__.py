"""The cluster in virtual time: the master's own state machine and policies among simulated nodes and faults.

Deterministic: what happens follows from a :class:`Scenario` alone. ``discomputify simulate`` and tests use it.
"""

from discomputify_testkit.simulator.breach import Breach
from discomputify_testkit.simulator.result import Result
from discomputify_testkit.simulator.scenario import Fault, JobPlan, NodePlan, Scenario
from discomputify_testkit.simulator.simulation import Simulation, simulate

__all__ = ["Breach", "Fault", "JobPlan", "NodePlan", "Result", "Scenario", "Simulation", "simulate"]
