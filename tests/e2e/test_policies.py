"""The census of the standard library on three nodes: exactly one process's counts, under every policy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from .cluster_kit import NODES
from .conftest import MakeCluster

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "stdlib_census"
PARTS = 24


def script(folder: Path, name: str, *arguments: object) -> str:
    command = [sys.executable, "-B", name, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True).stdout


@attrs.frozen
class Census:
    folder: Path
    counts: Any


@pytest.fixture(scope="module")
def census(tmp_path_factory: pytest.TempPathFactory) -> Census:
    """The example with hundreds of small files prepared, and what one process counts in them."""
    folder = tmp_path_factory.mktemp("census") / "stdlib_census"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("INPUT_PATH", "__pycache__"))
    script(folder, "prepare.py", "--largest", 6)
    return Census(folder, json.loads(script(folder, "census.py", "--json")))


@pytest.mark.parametrize(("policy", "inputs"), [("fifo", "all"), ("roundrobin", "lazy"), ("leastload", "lazy")])
def test_parts_on_three_nodes_count_what_one_process_counts(
    policy: str, inputs: str, census: Census, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster(SCHEDULER=policy).start()
    selected = [each for each in cluster.cli("plugins", "--json").ok().json if each["selected"]]
    assert [each["name"] for each in selected if each["kind"] == "scheduler"] == [policy]

    ended = cluster.submit(census.folder, "-n", PARTS, "--process-id", "census", "--inputs", inputs).ok().json

    assert ended["state"] == "done"
    assert ended["parts"]["done"] == PARTS
    status = cluster.status("census")
    assert set(status["nodes"]) == set(NODES)
    assert sum(status["nodes"].values()) == PARTS
    assert status["failures"] == []
    merged = json.loads(script(census.folder, "merge.py", cluster.here / "census", "--json"))
    assert merged == census.counts
    assert merged["files"] > 500
