"""Nodes that fetch large files from each other, as real processes; one that is wrong about them, one that is gone."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from .cluster_kit import Cluster, free_port, program, until
from .conftest import MakeCluster

NODES = ("127.0.0.21", "127.0.0.22", "127.0.0.23", "127.0.0.24")
SIZE = 3 * 1024 * 1024
#: Each part says what it read; parts wait for each other, so that each runs on a node of its own.
READS = """\
import hashlib, os
data = open(os.path.join(os.environ["DISCOMPUTIFY_INPUT_PATH"], "big.bin"), "rb").read()
with open(os.path.join(os.environ["DISCOMPUTIFY_OUTPUT_PATH"], "digest"), "w") as out:
    out.write(hashlib.sha256(data).hexdigest())
"""


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    port = free_port(*NODES)
    made = make_cluster(*NODES, SHARE=True, COMPUTING_PORT=port, SLOTS=1, DEBUG1=True)
    made.start_store()
    made.start_master()
    return made


def digests(cluster: Cluster, folder: Path, name: str, parts: int) -> set[str]:
    out = folder / f"out-{name}"
    cluster.submit(big_of(folder), "-n", parts, "--together", "--process-id", name, "--out", out).ok()
    return {path.read_text() for path in out.rglob("digest")}


def big_of(folder: Path) -> Path:
    made = folder / "program"
    return made if made.exists() else program(made, READS, {"INPUT_PATH/big.bin": os.urandom(SIZE)})


def shared(cluster: Cluster, name: str) -> list[str]:
    """From whom *name* got large files."""
    return re.findall(r"came from the node at (\S+)", cluster.roles[name].err)


def test_a_file_reaches_all_nodes_and_the_store_sends_it_to_few(cluster: Cluster, tmp_path: Path) -> None:
    for name in NODES:
        cluster.start_node(name)
    assert len(digests(cluster, tmp_path, "spread", 4)) == 1
    from_others = [source for name in NODES for source in shared(cluster, name)]
    assert len(from_others) >= 2
    assert all(source.rpartition(":")[0] in NODES for source in from_others)


def test_who_changed_or_is_gone_is_not_believed(cluster: Cluster, tmp_path: Path) -> None:
    first, second, third, _ = NODES
    cluster.start_node(first)
    assert len(digests(cluster, tmp_path, "one", 1)) == 1
    [held] = [path for path in (cluster.folder / "machines" / first / "cache").rglob("*") if _size(path) == SIZE]
    held.chmod(0o600)
    held.write_bytes(bytes(SIZE))
    cluster.start_node(second)
    cluster.cli("nodes", "drain", first).ok()
    assert digests(cluster, tmp_path, "two", 1) == digests_of(tmp_path)
    assert shared(cluster, second) == []
    until(lambda: "did not come from the node at" in cluster.roles[second].err, what="the node says who failed it")
    cluster.roles[second].kill()
    cluster.start_node(third)
    assert digests(cluster, tmp_path, "three", 1) == digests_of(tmp_path)
    assert shared(cluster, third) == []


def digests_of(folder: Path) -> set[str]:
    return {hashlib.sha256((folder / "program/INPUT_PATH/big.bin").read_bytes()).hexdigest()}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def test_sharing_needs_an_address(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(*NODES, SHARE=True)
    conf = cluster.write_conf("nowhere", COMP_NODE="0.0.0.0")
    said = cluster.cli("run", "computing_node", "--name", "one", conf=conf)
    assert said.code != 0
    assert "COMP_NODE" in said.err
    assert "Traceback" not in said.err
