"""A cluster as its user meets it: roles start, jobs are submitted, watched, stopped, fetched and cleared."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster_kit import MASTER, STORE, Cluster, program, until
from .conftest import MakeCluster

#: Writes a file and says which part it is.
PLAIN = """
import os, sys
part, total, process_id, *more = sys.argv[1:]
with open(os.path.join(os.environ["DISCOMPUTIFY_OUTPUT_PATH"], "said.txt"), "w") as file:
    file.write(" ".join([part, total, process_id, *more]))
"""

#: Says that it is there, and waits until it may end.
HELD = """
import os, time
there = os.environ["THERE"]
open(os.path.join(there, "part-" + os.environ["DISCOMPUTIFY_PART"]), "w").close()
deadline = time.monotonic() + 60
while not os.path.exists(os.path.join(there, "go")) and time.monotonic() < deadline:
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder in which parts and tests leave each other signs."""
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


# --- roles ----------------------------------------------------------------------------------------


def test_every_role_says_where_it_is_ready(cluster: Cluster) -> None:
    port = cluster.common["MASTER_PORT"]
    ready = {name: process.line("ready: ") for name, process in cluster.roles.items()}
    assert ready["ftp_node"] == f"ready: ftp_node on {STORE}:{port}"
    assert ready["master_node"] == f"ready: master_node on {MASTER}:{port}"
    for name in cluster.nodes:
        assert ready[name] == f"ready: computing_node on {name}"
    assert {node["state"] for node in cluster.node_states().values()} == {"live"}


def test_all_roles_of_one_conf_run_in_one_process(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster("127.0.0.1")
    everything = cluster.run("all", cluster.write_conf("machine", COMP_NODE="127.0.0.1"))
    for role in ("ftp_node", "master_node", "computing_node"):
        everything.line(f"ready: {role} on ")
    folder = program(tmp_path / "plain", PLAIN)
    ran = cluster.submit(folder, "--process-id", "one").ok()
    assert ran.json["parts"]["done"] == 2  # as many parts as SLOTS
    everything.signal(signal.SIGINT)
    assert everything.wait().code == 0
    assert cluster.leftovers() == []


def test_a_node_without_a_master_says_so_and_joins_later(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("127.0.0.1")
    node = cluster.run("computing_node", cluster.write_conf("early", COMP_NODE="127.0.0.1"))
    node.line(f"no master at {MASTER}:", stream="err")
    cluster.start_store()
    cluster.start_master()
    assert node.line("ready: ") == "ready: computing_node on 127.0.0.1"


# --- submitting -----------------------------------------------------------------------------------


def test_arguments_and_parts_reach_the_program(cluster: Cluster, tmp_path: Path) -> None:
    folder = program(tmp_path / "plain", PLAIN)
    ran = cluster.cli(
        "submit", folder, "-n", 3, "--process-id", "args", "--out", tmp_path, "--", "-x", "two words"
    ).ok()
    assert "3 of 3 parts done" in ran.out
    for part in (1, 2, 3):
        said = tmp_path / "args" / f"args_{part}_3" / "said.txt"
        assert said.read_text(encoding="utf-8") == f"{part} 3 args -x two words"


def test_only_what_changed_is_uploaded_again(cluster: Cluster, tmp_path: Path) -> None:
    inputs = {"INPUT_PATH/a": "A" * 5000, "INPUT_PATH/b": "B" * 6000, "lib.py": "x = 1"}
    folder = program(tmp_path / "some", PLAIN + "# like no other program here\n", inputs)
    first = cluster.submit(folder, "-n", 1, "--process-id", "up-1").ok().json["upload"]
    assert first == {"files": 4, "bytes": first["bytes"], "blobs_sent": 4, "bytes_sent": first["bytes"]}

    plan = cluster.cli("submit", folder, "--plan", "--json").ok().json
    assert (plan["new"], plan["new_bytes"], len(plan["known"])) == ([], 0, 4)
    second = cluster.submit(folder, "-n", 1, "--process-id", "up-2").ok().json["upload"]
    assert second == {**first, "blobs_sent": 0, "bytes_sent": 0}

    (folder / "INPUT_PATH" / "a").write_text("C" * 700, encoding="utf-8")
    plan = cluster.cli("submit", folder, "--plan", "--json").ok().json
    assert plan["new"] == [{"path": "INPUT_PATH/a", "size": 700}]
    third = cluster.submit(folder, "-n", 1, "--process-id", "up-3").ok().json["upload"]
    assert (third["blobs_sent"], third["bytes_sent"]) == (1, 700)
    assert "up-4" not in cluster.cli("status").ok().out  # --plan started nothing


def test_the_default_number_of_parts_is_the_clusters_slots(cluster: Cluster, tmp_path: Path) -> None:
    folder = program(tmp_path / "plain", PLAIN)
    assert cluster.submit(folder, "--process-id", "slots").ok().json["parts"]["total"] == 6


def test_without_a_node_a_job_with_n_waits_and_one_without_is_refused(
    make_cluster: MakeCluster, tmp_path: Path
) -> None:
    cluster = make_cluster("127.0.0.1")
    cluster.start_store()
    cluster.start_master()
    folder = program(tmp_path / "plain", PLAIN)
    refused = cluster.cli("submit", folder)
    assert refused.code == 3
    assert "No computing node" in refused.err
    waiting = cluster.spawn("submit", folder, "-n", 2, "--process-id", "early")
    waiting.line("early: 2 parts", stream="err")
    assert cluster.why("early", says="no computing node is connected (expected: 127.0.0.1)")
    assert cluster.status("early")["state"] == "waiting"
    cluster.start_node("127.0.0.1")
    assert waiting.wait().code == 0


# --- watching -------------------------------------------------------------------------------------


def test_a_detached_job_is_waited_for_and_fetched_later(cluster: Cluster, tmp_path: Path, there: Path) -> None:
    folder = program(tmp_path / "held", PLAIN + HELD)
    accepted = cluster.submit(folder, "-n", 2, "--process-id", "later", "--detach", "--env", f"THERE={there}").ok()
    assert accepted.json["state"] in ("waiting", "running")
    assert not (cluster.here / "later").exists()
    until(lambda: len(list(there.glob("part-*"))) == 2)
    assert cluster.cli("wait", "later", "--timeout", "0.2").code == 4
    status = cluster.status("later")
    assert (status["state"], status["parts"]["running"]) == ("running", 2)
    assert "2 of 2 parts are under way" in cluster.why("later")
    taken = cluster.cli("submit", folder, "-n", 1, "--process-id", "later")
    assert taken.code == 2
    assert "discomputify clear later" in taken.err
    (there / "go").touch()
    assert cluster.cli("wait", "later").ok().out.startswith("later: done, 2 of 2 parts done")
    assert cluster.cli("fetch", "later", "--out", tmp_path / "out").ok()
    assert (tmp_path / "out" / "later" / "later_2_2" / "said.txt").read_text(encoding="utf-8") == "2 2 later"


def test_a_submit_that_is_interrupted_leaves_the_job_running(cluster: Cluster, tmp_path: Path, there: Path) -> None:
    folder = program(tmp_path / "held", PLAIN + HELD)
    submit = cluster.spawn("submit", folder, "-n", 1, "--process-id", "cut", "--env", f"THERE={there}")
    until(lambda: list(there.glob("part-*")))
    submit.signal(signal.SIGINT)
    ended = submit.wait()
    assert ended.code == 130
    assert "discomputify wait cut" in ended.err
    assert cluster.status("cut")["state"] == "running"
    (there / "go").touch()
    assert cluster.cli("wait", "cut").code == 0


def test_ids_are_free_again_after_clear(cluster: Cluster, tmp_path: Path) -> None:
    folder = program(tmp_path / "plain", PLAIN)
    cluster.submit(folder, "-n", 2, "--process-id", "again", "--out", tmp_path / "first").ok()
    assert cluster.cli("submit", folder, "-n", 3, "--process-id", "again").code == 2
    cluster.cli("clear", "again").ok()
    gone = cluster.cli("status", "again")
    assert gone.code == 2
    assert "knows no job 'again'" in gone.err
    cluster.submit(folder, "-n", 3, "--process-id", "again", "--out", tmp_path / "second").ok()
    assert (tmp_path / "second" / "again" / "again_3_3" / "said.txt").is_file()


# --- stopping -------------------------------------------------------------------------------------

#: Starts a child in a session of its own, with a child of its own; none of them wants to end.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
grandchild = deaf + "print('up', flush=True); time.sleep(600)"
child = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {grandchild!r}]); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, start_new_session=True).stdout.readline()
open(os.path.join(os.environ["THERE"], "part-" + os.environ["DISCOMPUTIFY_PART"]), "w").close()
time.sleep(600)
"""


def test_stop_ends_a_job_and_all_its_descendants_within_five_seconds(
    cluster: Cluster, tmp_path: Path, there: Path
) -> None:
    folder = program(tmp_path / "stubborn", STUBBORN)
    submit = cluster.spawn("submit", folder, "-n", 2, "--process-id", "stop", "--env", f"THERE={there}", "--json")
    until(lambda: len(list(there.glob("part-*"))) == 2)
    assert len(cluster.parts()) == 6
    asked_at = time.time()
    cluster.cli("stop", "stop").ok()
    assert cluster.parts() == []
    ended = submit.wait()
    assert ended.code == 1
    assert ended.json["state"] == "stopped"
    assert ended.json["ended_at"] - asked_at < 5.0 + 2.0  # the command has to start first
    assert "stopped by" in cluster.why("stop")
    assert cluster.cli("wait", "stop").code == 1
    assert {node["state"] for node in cluster.node_states().values()} == {"live"}


def test_a_failing_job_brings_its_done_parts_and_says_why(cluster: Cluster, tmp_path: Path) -> None:
    failing = PLAIN + "if part == '2':\n    print('what a pity', file=sys.stderr)\n    sys.exit(7)\n"
    folder = program(tmp_path / "failing", failing)
    ran = cluster.cli("submit", folder, "-n", 3, "--process-id", "pity", "--out", tmp_path)
    assert ran.code == 1
    assert "part 2 failed after 3 attempts" in ran.out
    assert "exit code 7" in ran.out
    assert "what a pity" in ran.out
    home = tmp_path / "pity"
    assert sorted(path.name for path in home.glob("pity_*")) == ["pity_1_3", "pity_3_3"]
    assert (home / "logs" / "2.err").read_text(encoding="utf-8") == "what a pity\n"
    status = cluster.status("pity")
    assert (status["state"], status["parts"]["done"], status["parts"]["failed"]) == ("failed", 2, 1)
    assert cluster.why("pity.2").startswith("part 2 failed: ")
    # Each attempt was made by a node that had not failed the part before.
    assert len({report["node"] for report in status["failures"]}) == 3


def test_status_of_all_jobs_is_a_table_and_a_list(cluster: Cluster, tmp_path: Path) -> None:
    cluster.submit(program(tmp_path / "plain", PLAIN), "-n", 1, "--process-id", "listed").ok()
    assert "listed" in cluster.cli("status").ok().out
    jobs = json.loads(cluster.cli("status", "--json").ok().out)
    (job,) = (job for job in jobs if job["process_id"] == "listed")
    wanted = {"process_id", "state", "parts", "submitted_at", "ended_at", "reason"}
    assert wanted <= set(job)
    assert set(job["parts"]) == {"total", "waiting", "ready", "placed", "running", "done", "failed", "stopped"}
    assert "@" in job["owner"]
