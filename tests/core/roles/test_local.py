"""The embedded cluster: a whole one, that leaves nothing behind however it ends."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.client.client import Client
from discomputify_core.errors import DiskError
from discomputify_core.model.conf import Name
from discomputify_core.model.job import JobState
from discomputify_core.roles import starting
from discomputify_core.roles.local import LocalCluster
from discomputify_testkit.confs import make_conf
from discomputify_testkit.running import run


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cluster makes its folder, and nobody else."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def program(folder: Path, text: str = "import sys; open('OUTPUT_PATH/n', 'w').write(sys.argv[1])") -> Path:
    folder.mkdir()
    (folder / "main.py").write_text(text, encoding="utf-8")
    return folder


def test_a_job_runs_and_nothing_is_left(tmp_path: Path, temporary: Path) -> None:
    async def main() -> None:
        async with LocalCluster(2, nodes=2) as loaded, Client(loaded) as client:
            assert list(temporary.glob("discomputify-*"))
            assert {node.name for node in await client.nodes()} == {"local-1", "local-2"}
            await client.submit(program(tmp_path / "p"), process_id="job")
            status = await client.wait("job", 30)
            assert (status.state, status.parts.done) == (JobState.DONE, 4)
            fetched = await client.fetch("job", tmp_path)
            assert (fetched.parts, fetched.files) == (4, 4)

    run(main(), 60)
    assert list(temporary.iterdir()) == []


def test_it_follows_a_conf_but_keeps_to_itself(tmp_path: Path, temporary: Path) -> None:
    like = make_conf(scheduler=Name("roundrobin"), master_node="10.1.2.3", comp_node="10.1.2.4")

    async def main() -> None:
        async with LocalCluster(1, like) as loaded, Client(loaded) as client:
            assert (await client.info()).scheduler == "roundrobin"
            assert loaded.conf.master_node == "127.0.0.1"
            assert loaded.conf.encryption_key not in (None, like.encryption_key)

    run(main(), 60)


def test_a_running_job_ends_with_it(tmp_path: Path, temporary: Path) -> None:
    place = tmp_path / "running"
    text = f"import time\nopen({str(place)!r}, 'w').close()\ntime.sleep(600)"

    async def main() -> None:
        async with LocalCluster(1) as loaded, Client(loaded) as client:
            await client.submit(program(tmp_path / "p", text), 1, process_id="job")
            while not place.exists():
                await asyncio.sleep(0.01)

    run(main(), 60)
    assert list(temporary.iterdir()) == []


def test_one_that_cannot_start_leaves_nothing(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(self: Any) -> None:
        raise DiskError("no room", path="nowhere")

    monkeypatch.setattr(starting.NodeRole, "start", fails)

    async def main() -> None:
        async with LocalCluster(1):
            raise AssertionError("it started")

    with pytest.raises(DiskError, match="no room"):
        run(main(), 60)
    assert list(temporary.iterdir()) == []


def test_trouble_at_the_end_of_one_role_does_not_keep_the_others(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    close = starting.NodeRole.close

    async def fails(self: Any) -> None:
        await close(self)
        raise ZeroDivisionError("at the very end")

    monkeypatch.setattr(starting.NodeRole, "close", fails)

    async def main() -> None:
        async with LocalCluster(1):
            pass

    run(main(), 60)
    assert "at the very end" in caplog.text
    assert list(temporary.iterdir()) == []


def test_no_place_for_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))

    async def main() -> None:
        async with LocalCluster(1):
            pass

    with pytest.raises(DiskError, match="missing"):
        run(main(), 60)
