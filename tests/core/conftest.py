"""One embedded cluster for all tests that only need some cluster: real sockets, store, node and programs."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from discomputify_core.edge.opening import Loaded
from discomputify_core.roles.local import LocalCluster


class RunningCluster:
    """A :class:`LocalCluster` of two slots in a thread of its own, and the conf file to reach it."""

    def __init__(self, folder: Path) -> None:
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._loaded: Loaded | None = None
        self._trouble: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="cluster", daemon=True)
        self._thread.start()
        assert self._ready.wait(60), "the embedded cluster did not start"
        if self._trouble is not None:
            raise self._trouble
        conf = self.loaded.conf
        self.conf = folder / "discomputify_conf.json"
        values = {
            "ENCRYPTION_KEY": conf.encryption_key,
            "DECRYPTION_KEY": conf.decryption_key,
            "MASTER_NODE": conf.master_node,
            "MASTER_PORT": conf.master_port,
            "FTP_NODE": conf.ftp_node,
            "FTP_PORT": conf.ftp_port,
            "QUERY_NODE": "localhost",  # the embedded store serves both at one address, which a conf file may not say
            "QUERY_PORT": conf.query_port,
            "WORK_PATH": str(folder / "work"),
            "CACHE_PATH": str(folder / "cache"),
            "FTP_BASE_PATH": str(folder / "store"),
        }
        self.conf.touch(0o600)
        self.conf.write_text(json.dumps(values), encoding="utf-8")

    @property
    def loaded(self) -> Loaded:
        """The opened conf."""
        assert self._loaded is not None
        return self._loaded

    def close(self) -> None:
        """End it."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive(), "the embedded cluster did not end"

    def _live(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # told to the tests that need the cluster
            self._trouble = error
        finally:
            self._ready.set()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with LocalCluster(2) as self._loaded:
            self._ready.set()
            await self._stop.wait()


@pytest.fixture(scope="session")
def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """The cluster; jobs of different tests need different process ids."""
    cluster = RunningCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()
