"""The simulator itself: one seed is one history, and whatever breaks a promise is found and made small."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from discomputify_core.cli import group
from discomputify_core.cli.main import cli
from discomputify_core.cluster.machine import Cluster
from discomputify_core.errors import BadInput
from discomputify_core.model import events as ev
from discomputify_core.model.commands import CheckTree, Command
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import End, JobSpec
from discomputify_testkit.simulator import Breach, Fault, JobPlan, NodePlan, Scenario, Simulation, command, simulate
from discomputify_testkit.simulator import checks as own_checks
from discomputify_testkit.simulator.durations import Durations, durations
from discomputify_testkit.simulator.histories import TREE, anything, one_job
from discomputify_testkit.simulator.shrinking import breach_of, shrunk, told

TWO = Durations("fixed", (2.0,))


def scenario(*faults: Fault, nodes: int = 2, parts: int = 8, **more: Any) -> Scenario:
    """One job of parts of 2 seconds on nodes with 2 slots."""
    spec = JobSpec(ProcessId("job"), "k", parts, TREE, **more)
    plans = tuple(NodePlan(f"node{at}", 2) for at in range(1, nodes + 1))
    return Scenario(1, "fifo", plans, (JobPlan(spec, seconds=TWO),), faults)


# --- what it says -----------------------------------------------------------------------------------


def test_without_faults_it_takes_as_long_as_the_work_does() -> None:
    result = simulate(scenario())
    assert result.ideal == pytest.approx(4.0)
    assert result.makespan == pytest.approx(4.0, abs=0.5)
    assert result.utilisation > 0.85
    assert result.lost_seconds == pytest.approx(0.0)
    assert result.done == 8


@pytest.mark.parametrize(("kind", "least"), [("kill", 6.0), ("power", 21.0)])
def test_what_died_with_its_node_runs_elsewhere(kind: str, least: float) -> None:
    """A process that dies is noticed at once, a machine that goes off once its lease is over."""
    result = simulate(scenario(Fault(1.0, kind, "node1", 1000.0)))
    assert result.done == 8
    assert result.attempts == {"done": 8, "lost": 2}
    assert least < result.makespan < least + 10
    assert result.lost_seconds > 1.0


def test_a_master_that_dies_costs_no_attempt() -> None:
    result = simulate(scenario(Fault(1.0, "master", "", 3.0, 0.5)))
    assert result.attempts == {"done": 8}
    assert result.restarts == 1
    assert result.makespan < 10


def test_a_node_that_was_silent_for_less_than_its_lease_costs_nothing() -> None:
    result = simulate(scenario(Fault(1.0, "silence", "node1", 15.0)))
    assert result.attempts == {"done": 8}


def test_a_planned_stop_costs_no_budget() -> None:
    result = simulate(scenario(Fault(1.0, "leave", "node1", 3.0), lost_attempts=0, attempts=1))
    assert result.done == 8
    assert result.attempts["returned"] == 2


def test_parts_that_fail_are_tried_as_often_as_they_may() -> None:
    plan = attrs.evolve(scenario().jobs[0], fails=1.0)
    result = simulate(attrs.evolve(scenario(), jobs=(plan,)))
    assert (dict(result.jobs), dict(result.attempts)) == ({"failed": 1}, {"exit": 24})


# --- one seed, one history --------------------------------------------------------------------------


def test_equal_seeds_give_equal_histories_whatever_the_hash_of_text() -> None:
    words = [
        sys.executable,
        "-m",
        "discomputify_core.cli.main",
        "simulate",
        "--nodes",
        "30",
        "--parts",
        "400",
        "--kill",
        "20%",
    ]
    said = [
        subprocess.run(
            [*words, "--nodes", "30", "--parts", "400", "--json", "--seed", seed],
            env={**os.environ, "PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed, salt in (("7", "1"), ("7", "2"), ("8", "1"))
    ]
    assert said[0] == said[1]
    assert json.loads(said[0])["history"] != json.loads(said[2])["history"]


def test_scenarios_of_every_kind_are_the_same_again() -> None:
    assert anything(5) == anything(5)
    assert simulate(anything(5)).history == simulate(anything(5)).history


def test_histories_of_every_kind_are_equal_whatever_the_hash_of_text() -> None:
    # What a set of names was made of first shows in its order: nothing that is written down may come of it.
    program = (
        "from discomputify_testkit.simulator import simulate\n"
        "from discomputify_testkit.simulator.histories import anything\n"
        "print(*(simulate(anything(seed)).history for seed in (101, 446, 970)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for salt in ("1", "100", "102", "116")
    }
    assert len(said) == 1


# --- broken clusters are caught ---------------------------------------------------------------------


class Forgets(Cluster):
    """Forgets what ran on a node that is lost."""

    def _take(self, event: ev.Event) -> None:
        if isinstance(event, ev.NodeFenced):
            node = self.state.nodes[event.node]
            for attempt in list(node.attempts.values()):
                del self.state.attempts[attempt.id]
                self.state.jobs[attempt.process_id].drop(attempt)
            node.fill()
        super()._take(event)


class CommitsTwice(Cluster):
    """Lets a later report count, too."""

    def _take(self, event: ev.Event) -> None:
        if isinstance(event, ev.AttemptEnded) and event.outcome.end is End.DONE:
            for job in self.state.jobs.values():
                for part, number, node, manifest in job.outputs.rows():
                    if manifest == event.outcome.manifest:
                        job.outputs.take_back([part])
                        job.outputs.add(part, number, node, manifest)
                        self._turn.touch(job.id)
        super()._take(event)


class Overbooks(Cluster):
    """Believes that nodes have a slot more than they have."""

    def _take(self, event: ev.Event) -> None:
        if isinstance(event, ev.NodeJoined):
            event = attrs.evolve(event, facts=attrs.evolve(event.facts, slots=event.facts.slots + 1))
        super()._take(event)


class WritesTooLittle(Cluster):
    """Does not write down where parts were placed."""

    def handle(self, *batch: ev.Event, now: float) -> tuple[Command, ...]:
        commands = super().handle(*batch, now=now)
        self.record = self.record and attrs.evolve(self.record, placed=())
        return commands


class AsksOnce(Cluster):
    """Does not ask the store again once another master has begun."""

    def _commands(self) -> tuple[Command, ...]:
        commands = super()._commands()
        return tuple(each for each in commands if not (self.state.starts and isinstance(each, CheckTree)))


BROKEN: Sequence[tuple[type[Cluster], Scenario, str]] = [
    (Forgets, scenario(Fault(1.0, "kill", "node1", 5.0)), "without an attempt|ended in time"),
    (CommitsTwice, scenario(Fault(0.0, "repeat", "node1", 9.0)), "is done twice"),
    (Overbooks, scenario(parts=9), "has 2 slots and uses 3 CPUs"),
    (WritesTooLittle, scenario(), "leads to other commands"),
    (
        AsksOnce,
        scenario(Fault(0.0, "store", "", 9.0), Fault(3.0, "master", "", 1.0)),
        "waits for the store and nobody asks it|ended in time",
    ),
]


@pytest.mark.parametrize(("kind", "history", "said"), BROKEN, ids=[kind.__name__ for kind, *_ in BROKEN])
def test_a_broken_cluster_is_caught(kind: type[Cluster], history: Scenario, said: str) -> None:
    simulate(history)
    with pytest.raises(Breach, match=said):
        Simulation(history, kind=kind).run()


@pytest.mark.parametrize("kind", [Forgets, CommitsTwice, Overbooks])
def test_what_users_and_nodes_see_is_enough(kind: type[Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator catches these without the invariants of the cluster's own state."""
    blind = SimpleNamespace(check=lambda *_: None, check_touched=lambda *_: None)
    monkeypatch.setattr(own_checks, "invariants", blind)
    history = next(history for each, history, _ in BROKEN if each is kind)
    with pytest.raises(Breach):
        Simulation(history, kind=kind).run()


@pytest.mark.parametrize("kind", [Forgets, Overbooks, WritesTooLittle])
def test_random_histories_catch_them_soon(kind: type[Cluster]) -> None:
    def play(each: Scenario) -> object:
        return Simulation(each, kind=kind).run()

    assert any(breach_of(anything(seed, most=20), play) for seed in range(20))


def test_a_history_is_made_small() -> None:
    def play(each: Scenario) -> object:
        return Simulation(each, kind=Overbooks).run()

    large = next(each for seed in range(20) if breach_of(each := anything(seed, most=20), play))
    small = shrunk(large, play)
    assert len(small.nodes) == 1
    assert len(small.jobs) == 1
    assert not small.faults
    assert small.jobs[0].spec.parts <= 2 * (small.nodes[0].slots + 1)
    with pytest.raises(Breach) as caught:
        Simulation(small, kind=Overbooks, trace=True).run()
    lines = told(small, caught.value)
    assert any("StartPart" in line for line in lines)
    assert "slots and uses" in lines[-1]


def test_making_small_ends_in_time() -> None:
    asked = iter([True] * 5)
    large = anything(3, most=20)

    def always(each: Scenario) -> object:
        raise Breach("always")

    assert len(shrunk(large, always, lambda: next(asked, False)).nodes) > 1


# --- the command ------------------------------------------------------------------------------------


def test_the_command_says_how_it_went() -> None:
    done = CliRunner().invoke(cli, ["simulate", "--nodes", "5", "--parts", "50", "--kill", "20%"])
    assert done.exit_code == 0
    for word in ("makespan", "ideal", "utilisation", "lost to faults", "1 kill", "50 parts done", "(seed 1)"):
        assert word in done.output


@pytest.mark.parametrize("policy", ["fifo", "roundrobin", "leastload"])
def test_every_policy_can_be_simulated(policy: str) -> None:
    words = ["simulate", "--nodes", "9", "--parts", "60", "--policy", policy, "--json"]
    assert json.loads(CliRunner().invoke(cli, words).stdout)["policy"] == policy


def test_a_breach_shows_the_seed_and_a_minimal_history(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(each: Scenario, trace: bool = False) -> Simulation:
        return Simulation(each, trace=trace, kind=Overbooks)

    monkeypatch.setattr(command, "Simulation", broken)
    monkeypatch.setattr(command, "shrunk", lambda each, more: shrunk(each, lambda small: broken(small).run(), more))
    done = CliRunner().invoke(cli, ["simulate", "--nodes", "20", "--parts", "200", "--seed", "77"])
    assert "seed 77" in done.stderr
    assert re.search(r"nodes: node\d+ \(4 slots\)\n", done.output)
    assert "has 4 slots and uses 5 CPUs" in done.output


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--part-seconds", "often", "uniform:1,3"),
        ("--kill", "120%", "5% or 0.05"),
        ("--policy", "nonesuch", "pip install"),
        ("--nodes", "0", "--nodes"),
    ],
)
def test_what_cannot_be_understood_is_said(option: str, value: str, said: str) -> None:
    done = CliRunner().invoke(cli, ["simulate", option, value], standalone_mode=False)
    assert said in done.output + done.stderr


def test_without_the_testkit_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group.LazyGroup, "_of_plugins", lambda self: {})
    done = CliRunner().invoke(cli, ["simulate", "--nodes", "5"])
    assert "pip install discomputify-testkit" in done.output + done.stderr


def test_a_chart_is_drawn_of_few_nodes_and_of_many(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the chart needs matplotlib")
    for nodes, name in ((3, "few.svg"), (100, "many.png")):
        words = ["simulate", "--nodes", str(nodes), "--parts", "300", "--chart", str(tmp_path / name)]
        assert CliRunner().invoke(cli, words).exit_code == 0
        assert (tmp_path / name).stat().st_size > 1000


def test_without_matplotlib_a_chart_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = CliRunner().invoke(cli, ["simulate", "--nodes", "2", "--parts", "5", "--chart", str(tmp_path / "c.png")])
    assert "discomputify-testkit[chart]" in done.output + done.stderr


# --- how long parts take ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["2", "0.5", "uniform:1,3", "exp:2", "lognormal:1,0.5"])
def test_durations_are_read_and_written(text: str) -> None:
    assert str(durations(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "0",
        "-1",
        "nan",
        "inf",
        "uniform:3,1",
        "uniform:1",
        "exp:",
        "weibull:1,2",
        "exp:1e300",
        "lognormal:1,30",
        "1e9",
    ],
)
def test_durations_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="lognormal:MEDIAN,SIGMA"):
        durations(text)


def test_one_job_kills_as_many_nodes_as_it_is_to() -> None:
    made = one_job(1, nodes=40, slots=2, parts=100, policy="fifo", seconds=TWO, kill=0.05)
    assert [fault.kind for fault in made.faults].count("kill") == 1
    assert len({fault.node for fault in made.faults}) == 2
