"""Many people look on while everything fails at once: the master stays quick, and nobody's command breaks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from .cluster_kit import COMMAND, Process, program, until
from .conftest import MakeCluster

#: Runs the command line with every turn of an event loop watched; writes the longest CPU time of one to a file.
WATCHED = """
import asyncio.base_events, sys, time
said, sys.argv[1:] = sys.argv[1], sys.argv[2:]
longest, turn = 0.0, asyncio.base_events.BaseEventLoop._run_once

def watched(loop):
    global longest
    begun = time.thread_time()
    turn(loop)
    took = time.thread_time() - begun
    if took > longest:
        longest = took
        with open(said, "w") as file:
            file.write(str(longest))

asyncio.base_events.BaseEventLoop._run_once = watched
from discomputify_core.cli.main import main
sys.exit(main())
"""
#: Fails at once, as soon as it may, with much to say.
FAILS = """
import os, sys, time
end = time.monotonic() + 60
while not os.path.exists(os.environ["GO"]) and time.monotonic() < end:
    time.sleep(0.02)
sys.exit("\\n".join(f"line {number} of what part {sys.argv[1]} has to say about its end" for number in range(60)))
"""
PARTS, ASKING, READING = 500, 20, 5
#: Most seconds of CPU time that one turn of the master's loop may take.
MOST_TURN = 0.1


@pytest.mark.long
@pytest.mark.timeout(400)
def test_the_master_stays_quick_while_many_look_on(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster()
    cluster.start_store()
    turns = tmp_path / "turns"
    script = tmp_path / "watched.py"
    script.write_text(WATCHED, encoding="utf-8")
    conf = cluster.write_conf("master")
    line = (sys.executable, str(script), str(turns), "--conf", str(conf), "run", "master_node")
    master = Process(line, cluster.environment(), cluster.here)
    try:
        master.line("ready: ")
        for node in cluster.nodes:
            cluster.start_node(node, SLOTS=170)
        go = tmp_path / "go"
        folder = program(tmp_path / "fails", FAILS)
        how = ("-n", PARTS, "--process-id", "fails", "--retries", 0, "--env", f"GO={go}", "--detach")
        cluster.submit(folder, *how).ok()
        until(lambda: cluster.status("fails")["parts"]["running"] > PARTS // 2, 60)
        stop = threading.Event()
        crashed: list[str] = []

        def ask() -> None:
            command = (*COMMAND, "--conf", str(cluster.conf), "status", "fails", "--json")
            while not stop.is_set():
                ran = subprocess.run(
                    command, env=cluster.environment(), capture_output=True, text=True, timeout=90, check=False
                )
                if ran.returncode or json.loads(ran.stdout)["process_id"] != "fails":
                    crashed.append(ran.stderr)

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(ASKING)]
        readers = [cluster.spawn("logs", "fails", "-f", "--part", part) for part in range(1, READING + 1)]
        for thread in threads:
            thread.start()
        go.touch()
        waited = cluster.cli("wait", "fails", "--json", deadline=110.0)
        stop.set()
        for thread in threads:
            thread.join(95.0)
        assert (waited.code, waited.json["parts"]["failed"]) == (1, PARTS)
        assert not crashed, crashed[0]
        for reader in readers:
            assert "Traceback" not in reader.wait().err
        assert float(turns.read_text(encoding="utf-8")) < MOST_TURN
    finally:
        cluster.close()
        master.stop()
        master.close()
