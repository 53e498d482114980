"""The client against a real cluster: what it refuses, what it gives, how long it waits."""

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from discomputify_core.client import away, contact, returning
from discomputify_core.client.client import Client
from discomputify_core.edge import clock
from discomputify_core.errors import BadInput, BadPath, BlobMissing, JobExists, NoSuchJob, NoSuchTree, Unreachable
from discomputify_core.interfaces.files import UPLOADED, Blob
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.files import Digest, Manifest, check_digest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobState, JobStatus
from discomputify_testkit.relay import Relay
from discomputify_testkit.running import run, until

WAITS = """
import pathlib, time
print("begun", flush=True)
while not pathlib.Path({go!r}).exists():
    time.sleep(0.01)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "program"
    place.mkdir()
    (place / "main.py").write_text("import sys; open('OUTPUT_PATH/n', 'w').write(sys.argv[1])", encoding="utf-8")
    return place


def test_submit_wait_fetch_clear(running_cluster: Any, folder: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            seen: list[JobStatus] = []
            moved: list[int] = []
            submitted = await client.submit(folder, process_id="c-all", moved=moved.append)
            assert submitted.status.parts.total == 2  # the cluster's slots
            assert submitted.upload.blobs_sent == 1
            assert submitted.upload.bytes == sum(moved)
            status = await client.wait("c-all", 30, seen.append)
            assert status.state is JobState.DONE
            assert seen[-1] == status
            assert [s.version for s in seen] == sorted({s.version for s in seen})
            fetched = await client.fetch("c-all", tmp_path / "out")
            assert (fetched.parts, fetched.files, fetched.bytes) == (2, 2, 2)
            again = await client.fetch("c-all", tmp_path / "out", part=2)
            assert again.parts == 1
            assert (tmp_path / "out/c-all/logs/1.out").read_bytes() == b""
            assert "c-all" in [job.process_id for job in await client.jobs()]
            assert (await client.why("c-all")).text == "c-all is done: all 2 parts are done"
            await client.clear("c-all")
            with pytest.raises(NoSuchJob, match="c-all"):
                await client.status("c-all")

    run(main(), 60)


def test_what_was_uploaded_is_started_later_and_again(running_cluster: Any, folder: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            with pytest.raises(NoSuchTree, match="c-later"):
                await client.start("c-later", 3)
            assert (await client.upload(folder, "c-later")).files == 1
        async with Client.from_conf(running_cluster.conf) as client:  # by another process, perhaps
            assert (await client.start("c-later", 3, per_node=1)).parts.total == 3
            assert (await client.wait("c-later", 30)).state is JobState.DONE
            with pytest.raises(JobExists):
                await client.start("c-later", 2)
            with pytest.raises(JobExists):
                await client.upload(folder, "c-later")
            await client.start("c-later", 2, replace=True)
            assert (await client.wait("c-later", 30)).parts.done == 2
            assert (await client.fetch("c-later", tmp_path / "out")).parts == 2
            await client.clear("c-later")
            with pytest.raises(NoSuchTree):
                await client.start("c-later", 3)

    run(main(), 60)


def test_an_ended_job_is_not_forgotten_where_there_is_nothing_to_start(running_cluster: Any, folder: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            await client.submit(folder, 1, process_id="c-kept")
            assert (await client.wait("c-kept", 30)).state is JobState.DONE
            with pytest.raises(NoSuchTree, match="c-kept"):
                await client.start("c-kept", 1, replace=True)
            assert (await client.status("c-kept")).state is JobState.DONE
            await client.clear("c-kept")

    run(main(), 60)


def test_what_an_old_client_uploaded_with_folders_around_it_is_started(running_cluster: Any, folder: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            await client.upload(folder, "c-nested")
            store, pid = client.store, ProcessId("c-nested")
            flat = await store.manifest(pid, await store.find(pid, UPLOADED))
            nested = [attrs.evolve(entry, path=f"c-nested/{entry.path}") for entry in flat.entries]
            await store.commit(pid, UPLOADED, Manifest(nested))
            await client.start("c-nested", 1)
            assert (await client.wait("c-nested", 30)).state is JobState.DONE
            await client.clear("c-nested")

    run(main(), 60)


def test_what_was_uploaded_and_not_started_can_be_discarded(running_cluster: Any, folder: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            await client.discard("c-discard")
            await client.upload(folder, "c-discard")
            await client.discard("c-discard")
            with pytest.raises(NoSuchTree):
                await client.start("c-discard", 1)
            await client.submit(folder, 1, process_id="c-discard")
            with pytest.raises(JobExists):
                await client.discard("c-discard")
            await client.wait("c-discard", 30)

    run(main(), 60)


def test_outputs_can_come_without_logs_and_below_a_folder(running_cluster: Any, folder: Path, tmp_path: Path) -> None:
    (folder / "main.py").write_text(
        "import os, sys\nif sys.argv[1] == '1':\n    os.mkdir('OUTPUT_PATH/e'); open('OUTPUT_PATH/n', 'w').close()",
        encoding="utf-8",
    )

    def brought() -> list[str]:
        home = tmp_path / "c-below"
        return sorted(each.relative_to(home).as_posix() for each in home.rglob("*") if each.name[0] != ".")

    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            await client.submit(folder, 2, process_id="c-below")
            await client.fetch("c-below", tmp_path, follow=True, below="OUT/PUT", logs=False)
            parts = ("c-below_1_2", "c-below_2_2")
            inside = [f"{part}{below}" for part in parts for below in ("", "/OUT", "/OUT/PUT")]
            assert brought() == sorted([*inside, "c-below_1_2/OUT/PUT/e", "c-below_1_2/OUT/PUT/n"])
            await client.fetch("c-below", tmp_path)  # the other way now, in the place of the first
            assert [each for each in brought() if not each.startswith("logs")] == [
                "c-below_1_2",
                "c-below_1_2/e",
                "c-below_1_2/n",
                "c-below_2_2",
            ]
            with pytest.raises(BadPath, match="goes up"):
                await client.fetch("c-below", tmp_path, below="../up")

    run(main(), 60)


def test_an_unchanged_program_is_not_sent_again_and_a_plan_says_so(running_cluster: Any, folder: Path) -> None:
    (folder / "data.txt").write_text("first", encoding="utf-8")
    (folder / "discomputify_conf.json").write_text("{}", encoding="utf-8")

    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            plan = await client.plan(folder)
            assert "data.txt" in {entry.path for entry in plan.new}
            assert [each.path for each in plan.ignored] == ["discomputify_conf.json"]
            await client.submit(folder, 1, process_id="c-first")
            second = await client.submit(folder, 1, process_id="c-second")
            assert (second.upload.files, second.upload.blobs_sent, second.upload.bytes_sent) == (2, 0, 0)
            (folder / "data.txt").write_text("edited", encoding="utf-8")
            third = await client.submit(folder, 1, process_id="c-third")
            assert (third.upload.blobs_sent, third.upload.bytes_sent) == (1, 6)
            for name in ("c-first", "c-second", "c-third"):
                await client.wait(name, 30)

    run(main(), 60)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"parts": 0}, "--parts 0"),
        ({"process_id": "a b"}, "PROCESS_ID"),
        ({"inputs": "everything"}, "allowed are 'all', 'lazy'"),
        ({"args": ["\udcff"]}, "not valid text"),
        ({"args": ["x" * 500_000]}, "into a file"),
        ({"retries": -1}, "retries=-1"),
        ({"deadline": float("nan")}, "deadline=nan"),
        ({"require": ["numpy>>2"]}, "no requirement"),
    ],
)
def test_what_cannot_be_a_job_is_refused_before_anything_is_sent(
    running_cluster: Any, folder: Path, more: dict[str, Any], said: str
) -> None:
    arguments = {"parts": 1, "process_id": "c-bad", **more}

    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            with pytest.raises(BadInput, match=said):
                await client.submit(folder, moved=lambda count: pytest.fail("it was sent"), **arguments)

    run(main())


def test_a_used_process_id_is_refused_and_says_how_to_free_it(running_cluster: Any, folder: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            await client.submit(folder, 3, process_id="c-used")
            await client.wait("c-used", 30)
            with pytest.raises(JobExists, match=r"3 parts that is done.*discomputify clear c-used$"):
                await client.submit(folder, 1, process_id="c-used")

    run(main(), 60)


def test_a_file_named_as_the_inputs_folder_is_refused(running_cluster: Any, folder: Path) -> None:
    (folder / "INPUT_PATH").write_text("no folder", encoding="utf-8")

    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            for refused in (client.submit(folder, 1, process_id="c-file"), client.plan(folder)):
                with pytest.raises(BadInput, match="has a file 'INPUT_PATH' where the folder"):
                    await refused

    run(main())


def test_a_folder_without_a_program_is_refused(running_cluster: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            for place in (tmp_path, tmp_path / "missing"):
                with pytest.raises(BadInput, match=str(place.name)):
                    await client.submit(place, 1)

    run(main())


def test_waiting_has_a_deadline_and_stopping_ends_the_job(running_cluster: Any, folder: Path, tmp_path: Path) -> None:
    (folder / "main.py").write_text(WAITS.format(go=str(tmp_path / "go")), encoding="utf-8")

    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            await client.submit(folder, 1, process_id="c-stop")
            pieces = client.logs("c-stop", 1, follow=True)
            while (first := await anext_or_retry(pieces)) is None:
                pieces = client.logs("c-stop", 1, follow=True)
            assert first.split() == [b"begun"]
            began = clock.now()
            status = await client.wait("c-stop", 0.2)
            assert not status.ended
            assert 0.2 <= clock.now() - began < 5
            with pytest.raises(BadInput, match="stop it first"):
                await client.clear("c-stop")
            with pytest.raises(BadInput, match="nothing to fetch yet"):
                await client.fetch("c-stop", tmp_path / "out", part=1)
            stopped = await client.stop("c-stop")
            assert (stopped.state, stopped.parts.stopped) == (JobState.STOPPED, 1)
            assert await client.stop("c-stop") == stopped

    async def anext_or_retry(pieces: Any) -> bytes | None:
        try:
            piece: bytes = await pieces.__anext__()
            return piece
        except BadInput:  # not tried yet
            await asyncio.sleep(0.01)
            return None

    run(main(), 60)


def test_a_fetch_that_follows_ends_with_the_job(running_cluster: Any, folder: Path, tmp_path: Path) -> None:
    (folder / "main.py").write_text(
        "import sys\nopen('OUTPUT_PATH/n', 'w').close()\nsys.exit(3 if sys.argv[1] == '2' else 0)", encoding="utf-8"
    )

    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            await client.submit(folder, 3, process_id="c-follow", retries=0)
            fetched = await client.fetch("c-follow", tmp_path / "out", follow=True)
            assert (fetched.parts, fetched.files) == (2, 2)
            status = await client.status("c-follow")
            assert (status.state, status.parts.failed) == (JobState.FAILED, 1)
            assert sorted(each.name for each in (tmp_path / "out/c-follow").iterdir() if each.name[0] != ".") == [
                "c-follow_1_3",
                "c-follow_3_3",
                "logs",
            ]
            assert (tmp_path / "out/c-follow/logs/2.err").exists()

    run(main(), 60)


def test_streams_have_names(running_cluster: Any) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            with pytest.raises(BadInput, match="'out' and 'err'"):
                await client.logs("job", 1, stream="both").__anext__()

    run(main())


def test_a_cluster_that_is_not_there_is_told_soon(
    running_cluster: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact, "FIRST_CONTACT", 0.5)
    values = json.loads(running_cluster.conf.read_text(encoding="utf-8"))
    conf = tmp_path / "discomputify_conf.json"
    conf.write_text(json.dumps({**values, "MASTER_PORT": 1}), encoding="utf-8")

    async def main() -> None:
        async with Client.from_conf(conf) as client:
            with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
                await client.submit(folder, 1)

    run(main(), 20)


def test_a_log_is_followed_although_the_store_is_away_when_its_part_ends(
    running_cluster: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact, "FIRST_CONTACT", 0.3)
    monkeypatch.setattr(away, "MOMENT", 0.01)
    (folder / "main.py").write_text("print('said')", encoding="utf-8")
    values = json.loads(running_cluster.conf.read_text(encoding="utf-8"))
    conf = tmp_path / "discomputify_conf.json"
    places = [Address("127.0.0.1", port) for port in free_ports(2)]
    ways = {
        f"{name}_{key}": value
        for name, place in zip(("FTP", "QUERY"), places, strict=True)
        for key, value in (("NODE", place.host), ("PORT", place.port))
    }
    conf.write_text(json.dumps({**values, **ways}), encoding="utf-8")
    targets = [Address(values["FTP_NODE"], values[key]) for key in ("FTP_PORT", "QUERY_PORT")]

    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            await client.submit(folder, 1, process_id="c-log")
            assert (await client.wait("c-log", 30)).state is JobState.DONE
        async with Client.from_conf(conf) as client:
            noticed = asyncio.Event()
            client.on_away = lambda _: noticed.set()

            async def followed() -> bytes:
                return b"".join([piece async for piece in client.logs("c-log", 1, follow=True)])

            following = asyncio.ensure_future(followed())
            await noticed.wait()
            assert not following.done()
            with Relay(targets[0], places[0]), Relay(targets[1], places[1]):
                assert (await following).split() == [b"said"]

    run(main(), 30)


def free_ports(count: int) -> list[int]:
    """Ports at which nobody listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_a_client_that_was_closed_can_be_closed_again(running_cluster: Any) -> None:
    async def main() -> None:
        client = Client.from_conf(running_cluster.conf)
        await client.info()
        await client.close()
        await client.close()

    run(main())


def test_python_of_the_node_is_told(running_cluster: Any) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            (brief,) = await client.nodes()
            (whole,) = await client.nodes(packages=True)
            assert brief.facts is not None
            assert whole.facts is not None
            assert whole.facts.interpreter == sys.executable
            assert "attrs" in whole.facts.packages
            assert not brief.facts.packages

    run(main())


def test_who_waits_for_a_job_brings_what_the_store_lost_of_it(
    running_cluster: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(returning, "GAP", 0.05)
    go = tmp_path / "go"
    (folder / "main.py").write_text(WAITS.format(go=str(go)), encoding="utf-8")
    (folder / "data").write_bytes(bytes(range(256)) * 50)
    store = Path(running_cluster.loaded.conf.ftp_base_path)

    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            await client.submit(folder, 1, process_id="c-lost")
            [held] = [path for path in store.rglob("*") if path.is_file() and path.stat().st_size == 256 * 50]
            held.unlink()
            manifest = await client.store.manifest(
                ProcessId("c-lost"), check_digest((await client.status("c-lost")).tree)
            )
            entry = next(entry for entry in manifest.files if entry.path == "data")
            with pytest.raises(BlobMissing):
                await client.store.get(ProcessId("c-lost"), [Blob(Digest(entry.digest), entry.size, tmp_path / "out")])
            waiting = asyncio.ensure_future(client.wait("c-lost"))
            await until(held.exists)
            go.touch()
            assert (await waiting).state is JobState.DONE

    run(main())
