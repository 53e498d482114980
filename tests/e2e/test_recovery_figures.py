"""How long it takes until parts go on, whatever dies; with the leases and beats that a cluster has by default."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .cluster_kit import NODES, Cluster, program, until
from .conftest import MakeCluster
from .held import attempts, go_on, hold, outputs
from .hosts import Hosts
from .network_kit import network

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

#: Seconds within which parts of a node run elsewhere: if its process died, and beyond its lease if it is cut off.
DIED, CUT = 4.0, 3.0
LEASE = 20.0

#: Counts to STEPS, keeps where it is every ten steps, and notes each step in the folder THERE.
STEPS = 60
COUNTS = f"""
import os, pathlib, time
from discomputify_core import program
kept = pathlib.Path(os.environ["DISCOMPUTIFY_CHECKPOINT_PATH"], "step")
step = int(kept.read_text()) if kept.exists() else 0
while step < {STEPS}:
    step += 1
    with open(os.path.join(os.environ["THERE"], "steps"), "a") as file:
        file.write(f"{{os.environ['DISCOMPUTIFY_ATTEMPT']}} {{step}}\\n")
    if step % 10 == 0:
        kept.write_text(str(step))
        program.checkpoint()
    time.sleep(0.05)
pathlib.Path("OUTPUT_PATH/counted").write_text(str(step))
"""

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def said(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", flush=True)

    return said


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with network(3) as made:
        cluster = Hosts(tmp_path / "hosts", made)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.close()


def taken(cluster: Cluster) -> int:
    return int(cluster.status("held")["parts"]["running"])


def test_a_master_takes_over_what_runs(make_cluster: MakeCluster, there: Path, say: Say) -> None:
    cluster = make_cluster().start()
    submit = hold(cluster, there, 200, "held", begun=6)
    running = attempts(there)
    cluster.roles["master_node"].kill()
    began = time.monotonic()
    cluster.start_again("master_node")
    started = time.monotonic() - began
    until(lambda: {node["state"] for node in cluster.node_states().values()} == {"live"})
    assert taken(cluster) == 6
    back = time.monotonic() - began
    assert attempts(there) == running
    go_on(there)
    ran = submit.wait(300).ok()
    assert ran.json["failures"] == []
    assert outputs(cluster, "held", 200) == [f"{part}.1" for part in range(1, 201)]
    assert len(attempts(there)) == 200
    say(
        f"master killed with 6 parts running and 194 waiting: serves after {started:.1f} s, all nodes back with their "
        f"parts after {back:.1f} s; 200 parts done, each by its first attempt"
    )


def test_parts_of_a_node_that_died_run_elsewhere(make_cluster: MakeCluster, there: Path, say: Say) -> None:
    cluster = make_cluster(NODES[0], NODES[1], SLOTS=4).start()
    submit = hold(cluster, there, 4, "held")
    cluster.roles[NODES[0]].kill()
    began = time.monotonic()
    until(lambda: {f"{part}-2" for part in range(1, 5)} <= set(attempts(there)), 30)
    took = time.monotonic() - began
    go_on(there)
    submit.wait().ok()
    say(f"a node's process killed: its 4 parts run elsewhere after {took:.1f} s")
    assert took < DIED


def test_parts_of_a_node_that_is_cut_off_run_elsewhere(hosts: Hosts, there: Path, say: Say) -> None:
    submit = hold(hosts, there, 4, "held")
    victim = hosts.hosts[hosts.nodes[0]]
    victim.link(False)
    began = time.monotonic()
    hosts.cli("nodes", "--json").ok()
    until(lambda: hosts.node_states()[victim.address]["state"] == "lost", LEASE + 30)
    took = time.monotonic() - began
    go_on(there)
    until(lambda: sum(each.endswith("-2") for each in attempts(there)) == 2, 30)
    submit.wait().ok()
    say(f"a node cut off silently: given up after {took:.1f} s (lease {LEASE:.0f} s)")
    assert LEASE - 3 < took < LEASE + CUT


def test_a_cut_of_15_seconds_costs_nothing(hosts: Hosts, there: Path, say: Say) -> None:
    submit = hold(hosts, there, 4, "held")
    victim = hosts.hosts[hosts.nodes[0]]
    victim.link(False)
    time.sleep(15.0)  # the cut itself
    victim.link(True)
    go_on(there)
    ran = submit.wait().ok()
    assert ran.json["failures"] == []
    assert outputs(hosts, "held", 4) == [f"{part}.1" for part in range(1, 5)]
    say("a cut of 15 s: no attempt lost")


def test_a_node_that_was_stopped_for_longer_than_its_lease(make_cluster: MakeCluster, there: Path, say: Say) -> None:
    cluster = make_cluster(NODES[0], NODES[1], SLOTS=4).start()
    submit = hold(cluster, there, 4, "held")
    node = cluster.roles[NODES[0]]
    node.signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        until(lambda: {f"{part}-2" for part in range(1, 5)} <= set(attempts(there)), LEASE + 30)
        took = time.monotonic() - began
        go_on(there)
        ran = submit.wait().ok()
    finally:
        node.signal(signal.SIGCONT)
    assert {report["node"] for report in ran.json["failures"]} == {NODES[0]}
    done = outputs(cluster, "held", 4)
    assert done == [f"{part}.2" for part in range(1, 5)]
    until(lambda: cluster.node_states()[NODES[0]]["state"] == "live", 60)
    until(lambda: not cluster.parts(), what="late attempts have ended")
    assert cluster.status("held")["parts"]["done"] == 4
    assert outputs(cluster, "held", 4) == done
    say(
        f"a node stopped (SIGSTOP): its 4 parts run elsewhere after {took:.1f} s (lease {LEASE:.0f} s), "
        "its late results are dropped"
    )
    assert took < LEASE + CUT


def test_a_part_goes_on_where_its_checkpoint_was(
    make_cluster: MakeCluster, tmp_path: Path, there: Path, say: Say
) -> None:
    cluster = make_cluster(NODES[0], NODES[1]).start()
    folder = program(tmp_path / "counts", COUNTS)
    submit = cluster.spawn("submit", folder, "-n", 1, "--process-id", "counts", "--env", f"THERE={there}", "--json")
    steps = there / "steps"
    until(lambda: steps.exists() and len(steps.read_text().splitlines()) > STEPS // 2)
    cluster.roles[NODES[0]].kill()
    submit.wait().ok()
    noted = [line.split() for line in steps.read_text().splitlines()]
    first = [int(step) for attempt, step in noted if attempt == "1"]
    second = [int(step) for attempt, step in noted if attempt == "2"]
    say(
        f"a part killed at step {first[-1]} of {STEPS}: the next attempt begins at step {second[0]}; "
        f"{len(noted)} steps in all"
    )
    assert STEPS // 2 - 10 < second[0] <= first[-1] + 1
    assert second[-1] == STEPS
