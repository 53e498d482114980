"""The master dies and is started again: running parts are taken over, nothing runs twice, commands go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from .cluster_kit import program, until
from .conftest import MakeCluster
from .held import HELD, attempts, go_on, hold, outputs

#: Whole clusters that die and come back, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)


def test_running_parts_are_taken_over_and_commands_go_on(
    make_cluster: MakeCluster, tmp_path: Path, there: Path
) -> None:
    cluster = make_cluster().start()
    submit = hold(cluster, there, 10, "held", begun=6)
    wait = cluster.spawn("wait", "held", "--json")
    logs = cluster.spawn("logs", "held", "-f")
    logs.line("part 1 began")
    running = attempts(there)
    cluster.roles["master_node"].kill()
    cluster.start_again("master_node")
    until(lambda: {node["state"] for node in cluster.node_states().values()} == {"live"})
    assert cluster.status("held")["parts"]["running"] == 6
    assert attempts(there) == running
    go_on(there)
    ran = submit.wait().ok()
    assert ran.json["failures"] == []
    assert outputs(cluster, "held", 10) == [f"{part}.1" for part in range(1, 11)]
    assert len(attempts(there)) == 10
    assert wait.wait().ok().json["parts"]["done"] == 10
    assert "part 1 ended" in logs.wait().ok().out
    cluster.close()
    assert cluster.leftovers() == []


def test_parts_that_end_while_the_master_is_away_count(make_cluster: MakeCluster, tmp_path: Path, there: Path) -> None:
    cluster = make_cluster().start()
    submit = hold(cluster, there, 6, "away")
    until(lambda: cluster.status("away")["parts"]["running"] == 6)
    cluster.roles["master_node"].kill()
    go_on(there)
    until(lambda: not cluster.parts(), what="all parts have ended")
    cluster.start_again("master_node")
    assert submit.wait().ok().json["failures"] == []
    assert outputs(cluster, "away", 6) == [f"{part}.1" for part in range(1, 7)]
    assert len(attempts(there)) == 6


def test_what_was_acknowledged_is_there_after_a_kill_at_once(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster()
    cluster.start_store()
    cluster.start_master()
    folder = program(tmp_path / "plain", "open('OUTPUT_PATH/x', 'w').write('x')")
    for number in range(3):
        cluster.submit(folder, "-n", 2, "--process-id", f"job{number}", "--detach").ok()
        cluster.roles["master_node"].kill()
        cluster.start_again("master_node")
    states = [cluster.status(f"job{number}")["state"] for number in range(3)]
    assert states == ["waiting"] * 3
    cluster.start_node(cluster.nodes[0])
    for number in range(3):
        assert cluster.cli("wait", f"job{number}", "--json").ok().json["parts"]["done"] == 2
    cluster.cli("clear", "job0").ok()
    cluster.roles["master_node"].kill()
    cluster.start_again("master_node")
    assert cluster.cli("status", "job0").code == 2
    assert cluster.status("job1")["state"] == "done"


def test_jobs_that_depend_on_each_other_go_on(make_cluster: MakeCluster, tmp_path: Path, there: Path) -> None:
    cluster = make_cluster(SHARED_MEM="sharedmem").start()
    main = HELD.replace("print(", "from discomputify_core import program\nmemory = program.memory()\nprint(", 1)
    main += "total = memory.reduce('sum', int(me))\nassert total == 10, total\n"
    first = program(tmp_path / "first", main)
    how = ("-n", 4, "--together", "--process-id", "first", "--env", f"THERE={there}", "--detach")
    cluster.submit(first, *how).ok()
    reads = """
import pathlib
found = list(pathlib.Path("INPUT_PATH").rglob("done"))
pathlib.Path("OUTPUT_PATH/n").write_text(str(len(found)))
"""
    second = program(tmp_path / "second", reads)
    waiting = cluster.spawn("submit", second, "-n", 1, "--process-id", "second", "--inputs-from", "first", "--json")
    until(lambda: len(attempts(there)) == 4)
    until(lambda: cluster.cli("status", "second").code == 0)
    cluster.roles["master_node"].kill()
    cluster.start_again("master_node")
    until(lambda: {node["state"] for node in cluster.node_states().values()} == {"live"})
    go_on(there)
    assert waiting.wait().ok().json["state"] == "done"
    assert (cluster.here / "second" / "second_1_1" / "n").read_text(encoding="utf-8") == "4"
    assert cluster.status("first")["failures"] == []
