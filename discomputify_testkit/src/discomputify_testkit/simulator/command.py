"""``discomputify simulate``: how a cluster would do, in virtual time."""

from __future__ import annotations

import gc
import re
import time
from pathlib import Path

import attrs
import click

from discomputify_core.cli.output import note, say, say_json
from discomputify_core.errors import BadInput
from discomputify_core.model.ids import MAX_PARTS
from discomputify_core.plugins.manager import Plugins
from discomputify_core.plugins.selection import select
from discomputify_testkit.simulator.breach import Breach
from discomputify_testkit.simulator.chart import draw
from discomputify_testkit.simulator.durations import Durations, durations
from discomputify_testkit.simulator.histories import one_job
from discomputify_testkit.simulator.result import Result
from discomputify_testkit.simulator.scenario import Scenario
from discomputify_testkit.simulator.shrinking import shrunk, told
from discomputify_testkit.simulator.simulation import Simulation

#: Seconds that looking for a minimal history may take.
SHRINK = 60.0


def _durations(context: click.Context, parameter: click.Parameter, value: str) -> Durations:
    try:
        return durations(value)
    except BadInput as error:
        raise click.BadParameter(str(error), context, parameter) from None


def _rate(context: click.Context, parameter: click.Parameter, value: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", value.strip())
    rate = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= rate <= 1:
        why = f"{value!r} is no share of the nodes. Write one such as 5% or 0.05."
        raise click.BadParameter(why, context, parameter)
    return rate


@click.command()
@click.option("--nodes", metavar="N", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Nodes.")
@click.option("--slots", metavar="S", type=click.IntRange(1, 1024), default=4, show_default=True, help="Slots of each.")
@click.option(
    "--parts", metavar="P", type=click.IntRange(1, MAX_PARTS), default=10_000, show_default=True, help="Parts of a job."
)
@click.option("--policy", metavar="NAME", default="fifo", show_default=True, help="Scheduling policy.")
@click.option(
    "--part-seconds",
    metavar="DIST",
    callback=_durations,
    default="uniform:1,3",
    show_default=True,
    help="How long parts take: 2, uniform:1,3, exp:2 or lognormal:1,0.5.",
)
@click.option(
    "--kill",
    metavar="RATE",
    callback=_rate,
    default="0%",
    show_default=True,
    help="Share of the nodes that die once, half of them silently, and are back after 30 s.",
)
@click.option(
    "--seed", metavar="S", type=click.IntRange(0), default=1, show_default=True, help="One seed, one history."
)
@click.option(
    "--chart", metavar="FILE", type=click.Path(path_type=Path), help="Write a Gantt chart (.png, .svg, .pdf)."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(
    nodes: int,
    slots: int,
    parts: int,
    policy: str,
    part_seconds: Durations,
    kill: float,
    seed: int,
    chart: Path | None,
    as_json: bool,
) -> int:
    """Simulate a job on a cluster whose nodes die: the master's own code and policies, in virtual time."""
    _check_policy(policy)
    scenario = one_job(seed, nodes=nodes, slots=slots, parts=parts, policy=policy, seconds=part_seconds, kill=kill)
    gc.disable()  # there are millions of objects and hardly a cycle among them
    try:
        result = Simulation(scenario).run()
    except Breach as breach:
        _show_breach(scenario, breach)
        return 1
    finally:
        gc.enable()
    if chart is not None:
        draw(result, chart)
    _show(result, as_json)
    return 0


def _check_policy(name: str) -> None:
    """Whether there is such a policy.

    Raises:
        PluginMissing: there is not; says how to install it.
    """
    select(Plugins.load(), "scheduler", name)


def _show(result: Result, as_json: bool) -> None:
    if as_json:
        data = attrs.asdict(result, filter=lambda field, _: field.name != "spans")
        say_json(data)
    else:
        for line in result.lines():
            say(line)


def _show_breach(scenario: Scenario, breach: Breach) -> None:
    """The seed, and the smallest history found in time that breaks a promise as this one did."""
    where = f"at {breach.at:.3f} s of the history of seed {scenario.seed}"
    note(f"error: A promise of the cluster is broken, {where}: {breach}")
    note("Looking for a minimal history …")
    until = time.monotonic() + SHRINK
    small = shrunk(scenario, more=lambda: time.monotonic() < until)
    try:
        Simulation(small, trace=True).run()
    except Breach as again:
        for line in told(small, again):
            say(line)
