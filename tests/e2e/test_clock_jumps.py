"""The clock of the master's machine is set, while jobs run and between two masters: nothing is lost by it."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

import pytest

from .cluster_kit import NODES, Cluster, Process, until
from .conftest import MakeCluster
from .held import attempts, go_on, hold, outputs

pytestmark = pytest.mark.timeout(300)

#: Runs the command line on a machine whose clock is ahead by as many seconds as a file says.
AHEAD = """
import sys, time
path, sys.argv[1:] = sys.argv[1], sys.argv[2:]
real = time.time

def ahead():
    with open(path) as file:
        return real() + float(file.read() or 0)

time.time = ahead
from discomputify_core.cli.main import main
sys.exit(main())
"""
HOUR = 3600.0


class Clock:
    """The clock of the master's machine."""

    def __init__(self, folder: Path) -> None:
        self._ahead = folder / "ahead"
        self._script = folder / "ahead.py"
        self._script.write_text(AHEAD, encoding="utf-8")
        self.set(0.0)

    def set(self, seconds: float) -> None:
        """It is *seconds* ahead of the real one from now on."""
        new = self._ahead.with_suffix(".new")
        new.write_text(str(seconds), encoding="utf-8")
        new.replace(self._ahead)

    def start_master(self, cluster: Cluster) -> Process:
        conf = cluster.write_conf("master", KEEP_DAYS=1)
        line = (sys.executable, str(self._script), str(self._ahead), "--conf", str(conf), "run", "master_node")
        master = Process(line, cluster.environment(), cluster.here)
        cluster.roles["master_node"] = master
        master.line("ready: ")
        return master


def heard_at(cluster: Cluster, moment: float) -> bool:
    """Whether all nodes were heard of about at *moment*."""
    return all(abs(node["seen_at"] - moment) < HOUR / 4 for node in cluster.node_states().values())


def all_live(cluster: Cluster) -> bool:
    return {node["state"] for node in cluster.node_states().values()} == {"live"}


def test_the_clock_of_the_master_jumps(make_cluster: MakeCluster, tmp_path: Path, there: Path) -> None:
    cluster = make_cluster(NODES[0], NODES[1], BEAT=0.5)
    clock = Clock(tmp_path)
    cluster.start_store()
    clock.start_master(cluster)
    for node in cluster.nodes:
        cluster.start_node(node)
    submit = hold(cluster, there, 6, "jumps", begun=4)
    try:
        for ahead in (HOUR, -HOUR):
            clock.set(ahead)
            until(functools.partial(heard_at, cluster, time.time() + ahead), what="nodes are heard of by the new clock")
            assert all_live(cluster)
        clock.set(-2 * HOUR)
        cluster.roles["master_node"].kill()
        clock.start_master(cluster)
        until(lambda: all_live(cluster))
        go_on(there)
        ran = submit.wait().ok()
        assert ran.json["failures"] == []
        assert outputs(cluster, "jumps", 6) == [f"{part}.1" for part in range(1, 7)]
        assert len(attempts(there)) == 6
        clock.set(2 * HOUR)
        cluster.roles["master_node"].kill()
        clock.start_master(cluster)
        assert cluster.status("jumps")["parts"]["done"] == 6
        for said in (cluster.cli("status").ok().out, cluster.cli("status", "jumps").ok().out):
            assert " -" not in said
    finally:
        cluster.roles["master_node"].close()
