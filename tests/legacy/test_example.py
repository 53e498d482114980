"""The example of the old README, with its conf: its script runs as it is, and again."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from discomputify_core.edge.trees import JOB_MARK

from ..e2e.cluster_kit import NODES, program
from .legacy_kit import MAIN, PROCESS_ID, SCRIPT, OldCluster


def outputs(folder: Path) -> dict[str, list[int]]:
    """What is in the folder of outputs: every file by its path."""
    files = [each for each in folder.rglob("*") if each.is_file() and each.name != JOB_MARK]
    return {each.relative_to(folder).as_posix(): json.loads(each.read_text(encoding="utf-8")) for each in files}


def test_the_script_of_the_readme_runs_twice_in_a_row(old_cluster: OldCluster) -> None:
    home = old_cluster.client
    for start in (1, 100):  # other inputs the second time, so other outputs
        numbers = list(range(start, start + 30))
        program(home / "qwe", MAIN, {"INPUT_PATH/numbers.txt": "\n".join(map(str, numbers))})
        ran = old_cluster.script(SCRIPT).wait().ok()
        assert not ran.err
        said = ran.out.splitlines()
        assert [line for line in said if line[0] != "{"] == [
            *("UPLOADING", "STARTING", "LOAD", "STATUS", "STATUS", "DOWNLOADING", "DOWNLOADED")
        ]
        started, load, *statuses = [ast.literal_eval(line) for line in said if line[0] == "{"]
        assert started == dict.fromkeys(NODES, "STARTED")
        assert load.keys() == set(NODES)
        assert all(each.keys() == {"CPU_LOAD", "MEM_LOAD", "MEM_USED"} for each in load.values())
        assert statuses == [dict.fromkeys(NODES, True)] * 2
        assert outputs(home / PROCESS_ID) == {
            f"{PROCESS_ID}_{part}_3/OUTPUT_PATH/sum.txt": [part, 3, sum(numbers[part - 1 :: 3])] for part in (1, 2, 3)
        }
        # Each node has three slots, and yet each ran one part; and it is an ordinary job.
        assert old_cluster.status(PROCESS_ID)["nodes"] == dict.fromkeys(NODES, 1)
        log = old_cluster.cli("logs", PROCESS_ID, "--part", 2).ok().out
        assert log.strip() == f"[2, 3, {sum(numbers[1::3])}] [] True"


def test_roles_say_what_their_command_is_called_now(old_cluster: OldCluster) -> None:
    for name, role in old_cluster.roles.items():
        kind = {"ftp_node": "ftp_node", "master_node": "master_node"}.get(name, "computing_node")
        first = role.err.splitlines()[0]
        assert "deprecated since 2.0 (2026-11)" in first
        assert first.endswith(f"Use instead: discomputify run {kind}")
        assert role.err.count("deprecated") == 1
