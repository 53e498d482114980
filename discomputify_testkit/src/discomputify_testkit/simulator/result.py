"""What a simulation came to, as a value and in lines. Not here: what is counted (figures.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from discomputify_testkit.simulator.figures import Span

if TYPE_CHECKING:
    from discomputify_testkit.simulator.simulation import Simulation


@attrs.frozen
class Result:
    """How it went."""

    seed: int
    policy: str
    nodes: int
    slots: int
    parts: int
    #: Jobs by how they ended, and parts.
    jobs: Mapping[str, int]
    done: int
    #: Seconds until everything had ended; that no schedule can beat.
    makespan: float
    ideal: float
    #: The share of all slots' time that made outputs which count.
    utilisation: float
    #: Slot-seconds of attempts whose outputs do not count.
    lost_seconds: float
    #: How attempts ended, and which faults happened, how often.
    attempts: Mapping[str, int]
    faults: Mapping[str, int]
    #: Reports that came too late to count, masters that began with what another wrote down.
    late: int
    restarts: int
    #: Events that the cluster handled, and how often everything was looked at.
    events: int
    checks: int
    #: Equal for equal histories.
    history: str
    spans: tuple[Span, ...] = attrs.field(default=(), repr=False)

    def lines(self) -> Iterator[str]:
        """The result for people."""
        yield f"{self.parts:,} parts on {self.nodes:,} nodes with {self.slots:,} slots, policy {self.policy}"
        ended = ", ".join(f"{count} {state}" for state, count in self.jobs.items())
        yield f"jobs            {ended}; {self.done:,} parts done"
        yield f"makespan        {self.makespan:,.1f} s"
        over = 100 * (self.makespan / self.ideal - 1) if self.ideal else 0.0
        yield f"ideal           {self.ideal:,.1f} s (no schedule beats it; this one took {over:.1f} % more)"
        yield f"utilisation     {100 * self.utilisation:.1f} %"
        yield f"lost to faults  {self.lost_seconds:,.1f} slot-seconds of attempts that do not count"
        yield f"faults          {_counted(self.faults)}"
        yield f"attempts        {_counted(self.attempts)}; {self.late:,} late reports"
        yield f"checked         {self.events:,} events, everything {self.checks:,} times"
        yield f"history         {self.history} (seed {self.seed})"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"


def result_of(world: Simulation, makespan: float) -> Result:
    """The result of a simulation that took *makespan* seconds."""
    scenario, figures, state = world.scenario, world.figures, world.master.cluster.state
    jobs: dict[str, int] = {}
    for job in state.jobs.values():
        jobs[job.state.value] = jobs.get(job.state.value, 0) + 1
    if world.client.cleared:
        jobs["cleared"] = len(world.client.cleared)
    slots = sum(plan.slots for plan in scenario.nodes)
    return Result(
        seed=scenario.seed,
        policy=scenario.policy,
        nodes=len(scenario.nodes),
        slots=slots,
        parts=sum(plan.spec.parts for plan in scenario.jobs),
        jobs=dict(sorted(jobs.items())),
        done=sum(job.outputs.count for job in state.jobs.values()),
        makespan=makespan,
        ideal=world.ideal(),
        utilisation=figures.useful / (slots * makespan) if slots and makespan else 0.0,
        lost_seconds=max(figures.taken - figures.useful, 0.0),
        attempts=dict(sorted(figures.ends.items())),
        faults=dict(sorted(figures.faults.items())),
        late=state.late,
        restarts=state.starts,
        events=world.checks.events,
        checks=world.checks.full_checks,
        history=f"{world.checks.history:08x}",
        spans=tuple(figures.spans),
    )
