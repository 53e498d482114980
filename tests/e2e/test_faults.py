"""Roles that die, come back, stop as planned or have the name of another."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

from .cluster_kit import NODES, STORE, until
from .conftest import MakeCluster
from .held import attempts, go_on, hold


def test_a_killed_nodes_parts_run_elsewhere_and_each_counts_once(
    make_cluster: MakeCluster, tmp_path: Path, there: Path
) -> None:
    cluster = make_cluster().start()
    submit = hold(cluster, there, 12, "kill", begun=6)
    victim = NODES[1]
    cluster.roles[victim].kill()
    until(lambda: cluster.node_states()[victim]["state"] == "lost")
    # What ran on the dead node runs nowhere any more.
    until(lambda: len(cluster.parts()) == 4, what="the dead node's parts have ended")
    go_on(there)
    ended = submit.wait()
    assert ended.code == 0, ended.err
    status = ended.json
    assert status["parts"] == {**dict.fromkeys(status["parts"], 0), "total": 12, "done": 12}
    assert sum(status["nodes"].values()) == 12
    assert victim not in status["nodes"]
    lost = [report for report in status["failures"] if report["end"] == "lost"]
    assert [report["node"] for report in lost] == [victim, victim]
    home = cluster.here / "kill"
    done = {path.parent.name: path.read_text(encoding="utf-8") for path in home.glob("kill_*/done")}
    assert len(done) == 12
    again = {str(report["part"]) for report in lost}
    for part in map(str, range(1, 13)):
        assert done[f"kill_{part}_12"] == f"{part}.{2 if part in again else 1}"

    cluster.start_node(victim)
    assert cluster.node_states()[victim]["state"] == "live"
    cluster.close()
    assert cluster.leftovers() == []


def test_a_node_restarted_at_once_replaces_its_dead_predecessor(
    make_cluster: MakeCluster, tmp_path: Path, there: Path
) -> None:
    cluster = make_cluster(NODES[0]).start()
    submit = hold(cluster, there, 2, "back")
    cluster.roles[NODES[0]].kill()
    cluster.start_node(NODES[0])
    until(lambda: {"1-2", "2-2"} <= set(attempts(there)))
    go_on(there)
    ended = submit.wait()
    assert ended.code == 0, ended.err
    assert [report["end"] for report in ended.json["failures"]] == ["lost", "lost"]
    assert list(cluster.node_states()) == [NODES[0]]


def test_a_second_live_node_of_one_name_is_refused(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(NODES[0]).start()
    second = cluster.run("computing_node", cluster.write_conf("second", COMP_NODE=NODES[0]))
    ended = second.wait()
    assert ended.code == 3
    assert ended.out == ""
    live = cluster.node_states()[NODES[0]]
    assert live["state"] == "live"
    assert live["address"] in ended.err  # the one that stays
    (refused,) = (node for node in cluster.node_states().values() if node["state"] == "refused")
    assert refused["address"] in ended.err  # and the one that goes
    third = cluster.run("computing_node", cluster.write_conf("third", COMP_NODE=NODES[0]), "--name", "other")
    assert third.line("ready: ") == "ready: computing_node on other"


def test_a_planned_stop_costs_no_part_an_attempt(make_cluster: MakeCluster, tmp_path: Path, there: Path) -> None:
    cluster = make_cluster(NODES[0], NODES[1]).start()
    submit = hold(cluster, there, 4, "plan")
    assert cluster.roles[NODES[0]].stop().code == 0
    assert cluster.node_states()[NODES[0]]["state"] == "left"
    go_on(there)
    ended = submit.wait()
    assert ended.code == 0, ended.err
    assert ended.json["failures"] == []
    assert ended.json["nodes"] == {NODES[1]: 4}
    assert Counter(each.rpartition("-")[2] for each in attempts(there)) == {"1": 4, "2": 2}


def test_ctrl_c_ends_every_role_and_its_parts(make_cluster: MakeCluster, tmp_path: Path, there: Path) -> None:
    cluster = make_cluster(NODES[0]).start()
    hold(cluster, there, 2, "end", "--detach")
    for process in reversed(cluster.roles.values()):
        process.signal(signal.SIGINT)
        ended = process.wait()
        assert ended.code == 0, ended.err
    assert cluster.leftovers() == []


def test_outputs_wait_for_a_store_that_is_away_and_why_says_so(
    make_cluster: MakeCluster, tmp_path: Path, there: Path
) -> None:
    cluster = make_cluster(NODES[0]).start()
    submit = hold(cluster, there, 1, "away")
    cluster.roles["ftp_node"].kill()
    go_on(there)
    waits = f"its program has ended; its outputs wait for the store at {STORE}:"
    assert waits in cluster.why("away.1", waits)
    assert waits in cluster.status("away")["reason"]
    assert waits in cluster.roles[NODES[0]].err
    cluster.start_store()
    ended = submit.wait()
    assert ended.code == 0, ended.err
    assert ended.json["failures"] == []
