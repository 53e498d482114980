"""The blocking client: the same methods, and no thread or task left behind."""

import asyncio
import inspect
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.client import BlockingClient, Client
from discomputify_core.errors import BadInput, ChannelClosed, NoSuchJob
from discomputify_core.model.job import JobState
from discomputify_testkit.running import until


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name == "discomputify-client"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "program"
    place.mkdir()
    (place / "main.py").write_text("print('a line'); open('OUTPUT_PATH/n', 'w').close()", encoding="utf-8")
    return place


def test_it_has_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, set[str]]:
        return {
            name: set(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(kind, callable)
            if not name.startswith("_")
        }

    ours, theirs = methods(BlockingClient), methods(Client)
    wanted = set(theirs) - {"from_conf", "scan", "plan", "committed", "with_store"}
    assert set(ours) == wanted
    assert {name for name in wanted if ours[name] != theirs[name]} <= {"submit", "resubmit", "changes"}


def test_a_job_from_a_plain_program(running_cluster: Any, folder: Path, tmp_path: Path) -> None:
    with BlockingClient(running_cluster.conf) as client:
        client.submit(folder, 2, process_id="b-job")
        states = [status.state for status in client.changes("b-job")]
        assert states[-1] is JobState.DONE
        assert client.wait("b-job").state is JobState.DONE
        assert b"".join(client.logs("b-job", 1)).split() == [b"a", b"line"]
        assert client.fetch("b-job", tmp_path / "out").parts == 2
        assert [attempt.end for attempt in client.attempts("b-job", 1)] == ["done"]
        assert client.why("b-job").text
        assert client.info().nodes == 1
        assert [node.state for node in client.nodes()] == ["live"]
        client.clear("b-job")
        with pytest.raises(NoSuchJob):
            client.status("b-job")
    assert not threads()


def test_an_iteration_that_is_given_up_leaves_nothing(running_cluster: Any, folder: Path) -> None:
    (folder / "main.py").write_text("import time; print('begun', flush=True); time.sleep(600)", encoding="utf-8")
    with BlockingClient(running_cluster.conf) as client:
        client.submit(folder, 1, process_id="b-endless")
        changes = client.changes("b-endless")
        assert not next(changes).ended
        assert client.stop("b-endless").state is JobState.STOPPED
    assert not threads()


@pytest.mark.skipif(sys.platform == "win32", reason="a signal ends the whole process there")
def test_an_interrupt_ends_the_work_in_the_thread(running_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    async def interrupted(*about: Any) -> None:
        await until(lambda: sys._current_frames()[main].f_code.co_name == "wait")
        os.kill(os.getpid(), signal.SIGINT)  # reaches the main thread, which waits for this
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    with BlockingClient(running_cluster.conf) as client:
        monkeypatch.setattr(client._client, "stop", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.stop("b-any")
        assert ended.wait(10)
    assert not threads()


def test_several_threads_may_share_one(running_cluster: Any) -> None:
    with BlockingClient(running_cluster.conf) as client:
        found: list[int] = []
        workers = [threading.Thread(target=lambda: found.append(client.info().nodes)) for _ in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(20)
        assert found == [1] * 8


def test_a_conf_that_cannot_be_used_leaves_no_thread(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        BlockingClient(tmp_path / "missing.json")
    assert not threads()


def test_closing_twice_and_using_it_afterwards(running_cluster: Any) -> None:
    client = BlockingClient(running_cluster.conf)
    client.close()
    client.close()
    with pytest.raises(ChannelClosed, match="make a new one"):
        client.info()
