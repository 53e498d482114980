"""One cluster for all tests that only need some cluster; jobs of different tests need different process ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from DISCOMPUTIFY.CLIENT_NODE.client_node import CLIENT_NODE

from .legacy_kit import OldCluster


@pytest.fixture(scope="session")
def old_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OldCluster]:
    """Three nodes of three slots each."""
    cluster = OldCluster(tmp_path_factory.mktemp("old"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def here(old_cluster: OldCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a client's, with its conf."""
    assert old_cluster.conf is not None
    conf = tmp_path / "discomputify_conf.json"
    conf.write_bytes(old_cluster.conf.read_bytes())
    conf.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def client(here: Path) -> Iterator[CLIENT_NODE]:
    """A client in its folder."""
    with CLIENT_NODE() as made:
        yield made
