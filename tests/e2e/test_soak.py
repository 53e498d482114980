"""The master's memory does not grow with the jobs that it has seen through."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from discomputify_core import BlockingClient

from .cluster_kit import Process, program
from .conftest import MakeCluster

JOBS, PARTS = 1000, 100
#: By how much the master's memory may have grown since its first hundred jobs.
GROWTH = 1.2
FAKE = Path(__file__).with_name("fake_node.py")


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_thousand_jobs_leave_the_master_as_it_was(
    make_cluster: MakeCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = make_cluster()
    cluster.start_store()
    master = psutil.Process(cluster.start_master().pid)
    conf = cluster.write_conf("fake", COMP_NODE="fake")
    node = Process((sys.executable, str(FAKE), str(conf), "fake", "64"), cluster.environment(), cluster.here)
    try:
        node.line("ready: ")
        folder = program(tmp_path / "nothing", "pass")
        after_hundred = 0
        with BlockingClient(cluster.conf) as client:
            for job in range(1, JOBS + 1):
                submitted = client.submit(folder, parts=PARTS, process_id=f"soak-{job}")
                assert client.wait(submitted.process_id, timeout=60).parts.done == PARTS
                if job == 100:
                    after_hundred = master.memory_info().rss
        end = master.memory_info().rss
    finally:
        node.close()
    with capsys.disabled():
        print(f"\nsoak: the master's RSS {after_hundred / 1e6:.0f} MB after 100 jobs, {end / 1e6:.0f} MB after {JOBS}")
    assert end < after_hundred * GROWTH
