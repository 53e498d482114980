"""From a history that breaks a promise to a minimal one: leave out what it does without (delta debugging).

Faults first, then jobs, then nodes, then halves of what jobs have of parts. Not here: what a history is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from discomputify_core.model.ids import ProcessId
from discomputify_testkit.simulator.breach import Breach
from discomputify_testkit.simulator.scenario import JobPlan, Scenario
from discomputify_testkit.simulator.simulation import Simulation

T = TypeVar("T")

Play = Callable[[Scenario], object]


def breach_of(scenario: Scenario, play: Play) -> Breach | None:
    """The promise that *scenario* breaks, if it does."""
    try:
        play(scenario)
    except Breach as breach:
        return breach
    return None


def _kind(breach: Breach | None) -> str:
    """What *breach* is about, without names and numbers; "" for none."""
    return re.sub(r"\S*\d\S*|\bjob\b", "#", breach.what.partition("(")[0]) if breach is not None else ""


def shrunk(scenario: Scenario, play: Play | None = None, more: Callable[[], bool] = lambda: True) -> Scenario:
    """The smallest scenario found that breaks the promise which *scenario* breaks.

    Args:
        play: plays a scenario; raises Breach.
        more: whether there is time to go on.
    """
    played = play or (lambda each: Simulation(each).run())

    kind = _kind(breach_of(scenario, played))

    def fails(smaller: Scenario) -> bool:
        return bool(kind and smaller.nodes and smaller.jobs) and _kind(breach_of(smaller, played)) == kind

    for _ in range(3):
        before = scenario
        scenario = _fewer(scenario, scenario.faults, lambda s, kept: attrs.evolve(s, faults=kept), fails, more)
        scenario = _fewer(scenario, scenario.jobs, _with_jobs, fails, more)
        scenario = _fewer(scenario, scenario.nodes, _with_nodes, fails, more)
        scenario = _fewer_parts(scenario, fails, more)
        if scenario == before or not more():
            break
    return scenario


def _fewer(
    scenario: Scenario,
    items: Sequence[T],
    made: Callable[[Scenario, tuple[T, ...]], Scenario],
    fails: Callable[[Scenario], bool],
    more: Callable[[], bool],
) -> Scenario:
    """Leave out runs of *items*, long ones first, as long as the scenario fails without them."""
    kept, size = tuple(items), len(items)
    while size >= 1 and more():
        at = 0
        while at < len(kept) and more():
            fewer = kept[:at] + kept[at + size :]
            smaller = made(scenario, fewer)
            if fails(smaller):
                kept, scenario = fewer, smaller
            else:
                at += size
        size //= 2
    return scenario


def _with_jobs(scenario: Scenario, kept: tuple[JobPlan, ...]) -> Scenario:
    """*scenario* with those jobs; they follow none of the others."""
    there = [plan.spec.process_id for plan in kept]

    def of(names: tuple[ProcessId, ...]) -> tuple[ProcessId, ...]:
        return tuple(name for name in names if name in there)

    specs = (
        attrs.evolve(
            plan.spec,
            after=of(plan.spec.after),
            after_any=of(plan.spec.after_any),
            inputs_from=of(plan.spec.inputs_from),
        )
        for plan in kept
    )
    jobs = tuple(attrs.evolve(plan, spec=spec) for plan, spec in zip(kept, specs, strict=True))
    return attrs.evolve(scenario, jobs=jobs)


def _with_nodes(scenario: Scenario, kept: Sequence[object]) -> Scenario:
    nodes = tuple(plan for plan in scenario.nodes if plan in kept)
    names = {plan.name: None for plan in nodes}
    faults = tuple(fault for fault in scenario.faults if not fault.node or fault.node in names)
    return attrs.evolve(scenario, nodes=nodes, faults=faults)


def _fewer_parts(scenario: Scenario, fails: Callable[[Scenario], bool], more: Callable[[], bool]) -> Scenario:
    for at in range(len(scenario.jobs)):
        while scenario.jobs[at].spec.parts > 1 and more():
            plan = scenario.jobs[at]
            half = attrs.evolve(plan, spec=attrs.evolve(plan.spec, parts=plan.spec.parts // 2))
            smaller = attrs.evolve(scenario, jobs=(*scenario.jobs[:at], half, *scenario.jobs[at + 1 :]))
            if not fails(smaller):
                break
            scenario = smaller
    return scenario


def told(scenario: Scenario, breach: Breach) -> list[str]:
    """A history that breaks a promise, in lines."""
    nodes = ", ".join(f"{plan.name} ({plan.slots} slots)" for plan in scenario.nodes[:20])
    more = f" and {len(scenario.nodes) - 20} more" if len(scenario.nodes) > 20 else ""
    lines = [f"policy {scenario.policy}; nodes: {nodes}{more}"]
    lines += [f"job {plan.spec.process_id} at {plan.at:.3f} s: {plan.spec.parts} parts" for plan in scenario.jobs]
    lines += [f"fault at {fault}" for fault in scenario.faults]
    lines += [f"  {line}" for line in breach.trace]
    return [*lines, f"at {breach.at:.3f} s: {breach}"]
