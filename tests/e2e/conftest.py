"""Clusters of real processes for end-to-end tests; see cluster_kit.py, which tests import as ``.cluster_kit``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .cluster_kit import Cluster, Commands

MakeCluster = Callable[..., Cluster]


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[MakeCluster]:
    """Makes a :class:`Cluster` (not started) from the keys of its confs; ended with the test."""
    made: list[Cluster] = []

    def make(*nodes: str, **conf: Any) -> Cluster:
        folder = tmp_path / f"cluster-{len(made)}"
        made.append(Cluster(folder, nodes, **conf) if nodes else Cluster(folder, **conf))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """The command line on a machine without a conf; all that it started is ended with the test."""
    made = Commands(tmp_path / "machine")
    yield made
    made.close()


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder in which parts and tests leave each other signs (held.py)."""
    folder = tmp_path / "there"
    folder.mkdir()
    return folder
