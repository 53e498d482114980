"""The same programs over a Redis server: the conf says so, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..redis_memory.redis_kit import RedisServer, find_program
from .cluster_kit import NODES, Cluster, program

MAIN = """
import numpy as np
from discomputify_core import program
memory = program.memory()
memory.increment("count", program.part())
with memory.lock("one"):
    memory.update("largest", max, program.part())
memory.barrier("all")
total = memory.reduce("sum", np.full(4, float(program.part())))
with program.open("found", "w") as out:
    out.write(f"{memory['count']} {memory['largest']} {total.tolist()}")
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Two nodes, whose shared memory is a Redis server."""
    find_program()
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis")
    server.start()
    made = Cluster(tmp_path / "cluster", NODES[:2], SHARED_MEM="redis", redis={"url": server.url})
    try:
        yield made.start()
    finally:
        made.close()
        server.stop()


def test_parts_share_values_over_redis(cluster: Cluster, tmp_path: Path) -> None:
    folder = program(tmp_path / "shares", MAIN)
    ran = cluster.submit(folder, "-n", 4, "--together", "--process-id", "shares")
    assert ran.code == 0, ran.err + ran.out
    for part in range(1, 5):
        found = (cluster.here / "shares" / f"shares_{part}_4" / "found").read_text(encoding="utf-8")
        assert found == "10 4 [10.0, 10.0, 10.0, 10.0]"
    rows = {row["name"]: row for row in cluster.cli("memory", "shares", "--json").ok().json["rows"]}
    assert {"count", "largest"} <= rows.keys()
    assert "ok      shared memory 'redis'" in cluster.cli("doctor").out
    cluster.cli("clear", "shares").ok()
