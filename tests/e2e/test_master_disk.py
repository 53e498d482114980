"""The master's disk is full: nothing is lost or done twice, new jobs are refused, all goes on once there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from .cluster_kit import NODES, program, until
from .conftest import MakeCluster
from .disks import filled, mounted
from .held import attempts, go_on, hold, outputs

pytestmark = pytest.mark.timeout(300)

#: More than what is left of the journal's last page on the disk.
LONG = "x" * 6000


def test_a_master_that_cannot_write_down_what_happens(make_cluster: MakeCluster, tmp_path: Path, there: Path) -> None:
    with mounted(tmp_path / "master") as folder:
        cluster = make_cluster(NODES[0], MASTER_PATH=str(folder))
        cluster.start_store()
        cluster.start_master(MASTER_PATH=str(folder))
        cluster.start_node(NODES[0])
        submit = hold(cluster, there, 4, "held", begun=2)
        plain = program(tmp_path / "plain", "open('OUTPUT_PATH/x', 'w').write('x')")
        job = ("submit", plain, "-n", 1, "--detach", "--env", f"LONG={LONG}", "--process-id")
        with filled(folder, 0):
            stuck = cluster.spawn(*job, "stuck")
            until(lambda: "MASTER_PATH" in cluster.cli("why", "held").out, what="why says that the disk is full")
            refused = cluster.cli(*job, "refused")
            assert refused.code != 0
            assert str(folder) in refused.err
            assert "No space left" in refused.err
            assert "Traceback" not in refused.err
            go_on(there)
            done = cluster.folder / "machines" / "store" / "store" / "jobs" / "held"
            until(lambda: len(list(done.glob("held.*"))) == 2, what="the outputs of what ran are in the store")
            assert len(attempts(there)) == 2
        assert submit.wait(60).ok().json["failures"] == []
        assert outputs(cluster, "held", 4) == [f"{part}.1" for part in range(1, 5)]
        assert len(attempts(there)) == 4
        stuck.wait(60).ok()
        assert cluster.cli("wait", "stuck", "--json").ok().json["parts"]["done"] == 1
        assert cluster.cli("status", "refused").code == 2
        cluster.close()
