"""The published packages' clients, unmodified, against a cluster with CYPHER/1 on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from discomputify_core.client import BlockingClient
from discomputify_core.errors import NoSuchTree

from .cluster_kit import NODES, QUERY, STORE, Cluster, program, tree, until
from .conftest import MakeCluster
from .old_kit import OldScript, Recorder, old_conf, peers, replay

#: What the cluster's confs say beside the usual; several slots, and yet one part on each node.
ON = {"tcp": {"cypher1": True}, "SLOTS": 4}

MAIN = """
import os, sys
from pathlib import Path
part, total, process_id = sys.argv[1:]
text = Path("INPUT_PATH/deep/words.txt").read_text()
big = Path("INPUT_PATH/big.bin").read_bytes()
assert not Path("INPUT_PATH/empty.txt").exists()
Path("OUTPUT_PATH/sub").mkdir()
Path("OUTPUT_PATH/said.txt").write_text(f"{text} {part} of {total} in {process_id}")
Path("OUTPUT_PATH/sub/big.bin").write_bytes(big[::-1])
Path("OUTPUT_PATH/empty").touch()
"""

HELD = """
import os, sys, time
open(os.path.join({there!r}, sys.argv[1]), "w").close()
time.sleep(60)
"""

Old = Callable[..., OldScript]


@pytest.fixture(scope="session")
def old_python(request: pytest.FixtureRequest) -> Path:
    """The interpreter of a venv that has the published packages."""
    return peers(Path(request.config.cache.mkdir("old-peers")))


@pytest.fixture
def old(old_python: Path, tmp_path: Path) -> Iterator[Old]:
    """Starts a script of old_scripts/ against a cluster, in a folder; ended with the test."""
    started: list[OldScript] = []

    def start(cluster: Cluster, name: str, folder: Path, *args: object, **keys: object) -> OldScript:
        conf = old_conf(cluster, **keys)
        script = OldScript(old_python, name, folder, conf, *args, env=cluster.environment())
        started.append(script)
        return script

    yield start
    for script in started:
        script.close()


def test_the_published_client_drives_a_cluster(make_cluster: MakeCluster, old: Old, tmp_path: Path) -> None:
    cluster = make_cluster(**ON).start()
    big = os.urandom(5 * 1024 * 1024)
    here = tmp_path / "old"
    files: dict[str, str | bytes] = {
        "INPUT_PATH/deep/words.txt": "words",
        "INPUT_PATH/big.bin": big,
        "INPUT_PATH/empty.txt": "",
    }
    program(here / "qwe", MAIN, files)
    for clear in ((), ("clear",)):  # the same id twice in a row: the second run replaces the first
        script = old(cluster, "drive.py", here, "old_job", *clear)
        assert script.said("started") == dict.fromkeys(NODES, "STARTED")
        assert script.said("again") in (dict.fromkeys(NODES, "ALREADY_RUNNING"), dict.fromkeys(NODES, "STARTED"))
        load = script.said("load")
        assert load.keys() == set(NODES)
        assert load[NODES[0]].keys() == {"CPU_LOAD", "MEM_LOAD", "MEM_USED"}
        statuses = script.said("statuses")
        assert all(status.keys() == set(NODES) for status in statuses)
        assert not any(statuses[-1].values())
        assert script.said("stopped") == dict.fromkeys(NODES, "DO_NOT_EXIST")
        if not clear:
            # An ordinary job for everybody else, too.
            status = cluster.status("old_job")
            assert (status["state"], status["nodes"]) == ("done", dict.fromkeys(NODES, 1))
            cluster.cli("fetch", "old_job").ok()
            assert (cluster.here / "old_job/old_job_2_3/said.txt").read_text() == "words 2 of 3 in old_job"
        else:
            assert script.said("left") == []
            assert script.said("known") == dict.fromkeys(NODES, False)
        assert script.wait().code == 0, script.err
        outputs = tree(here / "old_job")
        for part in (1, 2, 3):
            place = f"old_job_{part}_3/OUTPUT_PATH"
            assert outputs[f"{place}/said.txt"] == f"words {part} of 3 in old_job".encode()
            assert outputs[f"{place}/sub/big.bin"] == big[::-1]
            assert outputs[f"{place}/empty"] == b""
    assert cluster.cli("status", "old_job").code != 0


def test_the_published_client_stops_a_job(make_cluster: MakeCluster, old: Old, tmp_path: Path) -> None:
    cluster = make_cluster(*NODES[:2], **ON).start()
    there = tmp_path / "there"
    there.mkdir()
    program(tmp_path / "old/qwe", HELD.format(there=str(there)))
    script = old(cluster, "stop.py", tmp_path / "old", "held", there, 2)
    assert script.said("running") == dict.fromkeys(NODES[:2], True)
    assert script.said("stopped") == dict.fromkeys(NODES[:2], "TERMINATED")
    assert not cluster.parts()
    assert script.said("after") == dict.fromkeys(NODES[:2], False)
    assert script.wait().code == 0, script.err
    assert cluster.status("held")["state"] == "stopped"


def test_a_thousand_requests_over_a_restart_are_each_done_once(
    make_cluster: MakeCluster, old: Old, tmp_path: Path
) -> None:
    cluster = make_cluster(NODES[0], **ON)
    cluster.start_store()
    restarted = tmp_path / "restarted"
    script = old(cluster, "requests.py", tmp_path / "old", 1000, restarted, TRANSMISSION_BUFFER=2 * 1024 * 1024)
    assert script.said("half")
    cluster.restart("ftp_node")
    restarted.touch()
    assert script.wait().code == 0, script.err
    size, digest = script.said("written")
    assert script.said("wrong") == []
    assert (script.said("answers"), script.said("done")) == (1000, 1000)
    written = next(Path(path) for path in (cluster.folder / "machines/store/store").rglob("all"))
    assert written.stat().st_size == size
    assert hashlib.sha256(written.read_bytes()).hexdigest() == digest


def test_fifty_files_go_up_and_down_and_what_was_recorded_changes_nothing(
    make_cluster: MakeCluster, old: Old, tmp_path: Path
) -> None:
    cluster = make_cluster(NODES[0], **ON)
    cluster.start_store()
    target = (STORE, cluster.common["FTP_PORT"])
    recorder = Recorder(target)
    try:
        here = tmp_path / "old"
        sizes = [1, 100, 70_000, 200_000, 0, 5_000, 1, 1_000, 50_000, 3_000_000]
        files = {f"up/{number:02}.bin": os.urandom(sizes[number % 10] or 2 * 1024 * 1024) for number in range(50)}
        program(here, "", files)
        restarted = tmp_path / "restarted"
        script = old(cluster, "files.py", here, restarted, FTP_NODE="127.0.0.1", FTP_PORT=recorder.port)
        assert script.said("half")
        cluster.restart("ftp_node")
        restarted.touch()
        assert script.wait().code == 0, script.err
        down = tree(here / "down/fifty/up")
        assert down == {name.partition("/")[2]: data for name, data in files.items()}

        before = tree(cluster.folder / "machines/store/store/old")
        assert len([1 for data in before.values() if data is not None]) == 49  # one was deleted in the end
        sessions = [bytes(sent) for sent in recorder.sent]
        assert sum(len(session.split(b"\0")) for session in sessions) > 150
        for session in sessions:
            replay(target, session)
        assert tree(cluster.folder / "machines/store/store/old") == before
        cluster.restart("ftp_node")
        for session in sessions:
            for service in (target, (QUERY, target[1])):
                replay(service, session)
        assert tree(cluster.folder / "machines/store/store/old") == before
    finally:
        recorder.close()


def test_old_and_new_clients_use_the_same_ports_at_the_same_time(
    make_cluster: MakeCluster, old: Old, tmp_path: Path
) -> None:
    cluster = make_cluster(**ON).start()
    big = os.urandom(1024 * 1024)
    program(tmp_path / "old/qwe", MAIN, {"INPUT_PATH/deep/words.txt": "old", "INPUT_PATH/big.bin": big})
    new = program(tmp_path / "new", MAIN, {"INPUT_PATH/deep/words.txt": "new", "INPUT_PATH/big.bin": big})
    script = old(cluster, "drive.py", tmp_path / "old", "old_one")
    jobs = [cluster.spawn("submit", new, "-n", 4, "--process-id", f"new-{number}", "--json") for number in range(2)]
    for number, job in enumerate(jobs):
        assert job.wait().ok().json["state"] == "done"
        text = (cluster.here / f"new-{number}/new-{number}_4_4/said.txt").read_text(encoding="utf-8")
        assert text == f"new 4 of 4 in new-{number}"
    assert script.wait().code == 0, script.err
    outputs = tmp_path / "old/old_one"
    assert (outputs / "old_one_3_3/OUTPUT_PATH/said.txt").read_text(encoding="utf-8") == "old 3 of 3 in old_one"
    assert {path.name for path in outputs.iterdir()} == {f"old_one_{part}_3" for part in (1, 2, 3)}


def test_an_old_client_of_a_cluster_without_cypher1_is_told_in_the_log(
    make_cluster: MakeCluster, old: Old, tmp_path: Path
) -> None:
    cluster = make_cluster(NODES[0])
    store = cluster.start_store()
    old(cluster, "requests.py", tmp_path / "old", 4, tmp_path / "never")
    until(lambda: '"tcp": {"cypher1": true}' in store.err, what="the log says which key turns CYPHER/1 on")
    assert store.running


def test_a_new_client_starts_what_an_old_one_uploaded(make_cluster: MakeCluster, old: Old, tmp_path: Path) -> None:
    cluster = make_cluster(NODES[0], **ON).start()
    here = program(tmp_path / "old", "", {"up/main.py": "open('OUTPUT_PATH/here', 'w').close()", "up/lib.py": ""})
    script = old(cluster, "files.py", here, here)  # there is nothing to wait for
    assert script.wait().code == 0, script.err
    with BlockingClient(cluster.conf) as client:
        client.start("fifty", 2)
        assert client.wait("fifty", 30).parts.done == 2
        with pytest.raises(NoSuchTree, match="nothing"):
            client.start("nothing", 2)
