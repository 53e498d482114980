"""Commands in terminals while master and store are killed and come back: they wait, say so, and go on."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil

from .cluster_kit import program, until
from .conftest import MakeCluster

WAITS = """
import pathlib, sys, time
print("begun", flush=True)
while not pathlib.Path({go!r}).exists():
    time.sleep(0.02)
print("going on", flush=True)
pathlib.Path("OUTPUT_PATH/n").write_text(sys.argv[1])
"""


def test_submit_wait_and_logs_go_on_after_the_master_was_killed(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster("127.0.0.1").start()
    go = tmp_path / "go"
    folder = program(tmp_path / "program", WAITS.format(go=str(go)))
    submit = cluster.spawn("submit", folder, "-n", 2, "--process-id", "on", "--out", tmp_path / "out")
    until(lambda: len(cluster.parts()) == 2)
    wait = cluster.spawn("wait", "on")
    logs = cluster.spawn("logs", "on", "--stream", "out", "-f")
    logs.line("begun")
    until(lambda: psutil.Process(wait.pid).net_connections())
    assert cluster.status("on")["state"] == "running"  # which came after the question of the one that waits
    cluster.roles["master_node"].signal(signal.SIGKILL)
    for each in (submit, wait, logs):
        said = each.line("the master at ", stream="err")
        assert "is away since" in said
        assert said.endswith("waiting (Ctrl-C detaches)")
    cluster.start_master()
    until(lambda: all("is back\n" in each.err for each in (submit, wait, logs)))
    go.touch()
    assert [each.wait().code for each in (submit, wait, logs)] == [0, 0, 0]
    assert logs.out == "begun\ngoing on\n"
    assert sorted(path.read_text() for path in (tmp_path / "out/on").glob("on_*/n")) == ["1", "2"]
    attempts = [cluster.cli("why", f"on.{part}", "--json").ok().json["attempts"] for part in (1, 2)]
    assert [each["number"] for part in attempts for each in part] == [1, 1]


def test_outputs_are_fetched_on_after_the_store_was_killed(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster("127.0.0.1").start()
    go = tmp_path / "go"
    folder = program(tmp_path / "program", WAITS.format(go=str(go)))
    submit = cluster.spawn("submit", folder, "-n", 2, "--process-id", "on", "--out", tmp_path / "out")
    until(lambda: len(cluster.parts()) == 2)
    cluster.roles["ftp_node"].signal(signal.SIGKILL)
    go.touch()
    until(lambda: not cluster.parts())
    cluster.start_store()
    assert submit.wait().code == 0
    assert sorted(path.read_text() for path in (tmp_path / "out/on").glob("on_*/n")) == ["1", "2"]


def test_drain_and_resubmit(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster("127.0.0.1", "127.0.0.2").start()
    cluster.cli("nodes", "drain", "127.0.0.2").ok()
    assert cluster.node_states()["127.0.0.2"]["drained"]
    folder = program(
        tmp_path / "program", "import sys\nopen('OUTPUT_PATH/n', 'w').close()\nsys.exit(sys.argv[1] == '2')"
    )
    failed = cluster.cli("submit", folder, "-n", 3, "--process-id", "again", "--retries", 0, "--json")
    assert (failed.code, failed.json["nodes"]) == (1, {"127.0.0.1": 2})
    assert cluster.cli("resubmit", "again", "--json").code == 1
    program(folder, "open('OUTPUT_PATH/n', 'w').close()")
    cluster.cli("nodes", "drain", "127.0.0.2", "--undo").ok()
    cluster.cli("nodes", "drain", "127.0.0.1").ok()
    done = cluster.cli("resubmit", "again", folder, "--out", tmp_path / "out", "--json").ok().json
    assert done["nodes"] == {"127.0.0.1": 2, "127.0.0.2": 1}
    assert [count for _, count in done["trees"]] == [2, 1]
    assert len(list((tmp_path / "out/again").glob("again_*/n"))) == 3
    refused = cluster.cli("resubmit", "again")
    assert (refused.code, "nothing to do" in refused.err) == (2, True)
