"""How what old clients (CYPHER/1) wrote becomes a tree of a job."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Any

import attrs
import pytest

from discomputify_core.errors import BadInput, FileChanged, NoSuchTree
from discomputify_core.interfaces.files import UPLOADED
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.old_clients import MISSED
from discomputify_ftp import old_parts, pins
from discomputify_ftp.disk import copy_new
from discomputify_testkit.running import run

FILES = {"qwe/main.py": b"print()", "qwe/sub/data": os.urandom(900_000), "qwe/copy": b"print()", "flat": b""}


async def write_all(r: Any, job: str = "job") -> None:
    for path, data in FILES.items():
        if data:
            await r.write(f"{job}/{path}", data, chunk=300_000)
        else:
            await r.ask("WRITE", f"{job}/{path}", ["", 0])


def test_what_was_written_becomes_a_tree(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            await write_all(r)
            digest = await r.store.gather(r.job)
            assert await r.store.find(r.job, UPLOADED) == digest
            tree = await r.store.manifest(r.job, digest)
            assert {entry.path: entry.size for entry in tree.entries} == {p: len(data) for p, data in FILES.items()}
            assert not any(entry.executable for entry in tree.entries)
            for number, entry in enumerate(tree.files):
                copy = attrs.evolve(r.blob(str(number), b""), digest=entry.digest, size=entry.size)
                await r.store.get(r.job, [copy])
                assert copy.path.read_bytes() == FILES[entry.path]
            assert len((await r.ask("READ", "job")).data) == 4, "what was written stays"
            assert await r.store.gather(r.job) == digest
            await r.restart()
            assert await r.store.gather(r.job) == digest
            assert r.incoming() == []

    run(main())


def test_gathering_again_takes_what_is_there_now(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "LASTS", -1.0)

    async def main() -> None:
        async with rig() as r:
            await r.write("job/main.py", b"one")
            await r.write("job/other", b"other")
            first = await r.store.gather(r.job)
            await r.write("job/main.py", b"two")
            await r.ask("DELETE", "job/other")
            second = await r.store.gather(r.job)
            assert first != second
            assert [(entry.path, entry.size) for entry in (await r.store.manifest(r.job, second)).entries] == [
                ("main.py", 3)
            ]
            assert (await r.store.status()).blobs == 2
            with pytest.raises(NoSuchTree):
                await r.store.manifest(r.job, first)

    run(main())


def test_nothing_was_written(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            await r.write("other/main.py", b"1")
            await r.write("file", b"1")
            for job in ("job", "file"):
                with pytest.raises(NoSuchTree, match=job):
                    await r.store.gather(ProcessId(job))
            with pytest.raises(BadInput):
                await r.caller.call("store.gather", {"process_id": "../other"})

    run(main())


def test_an_incomplete_file_is_named(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            await write_all(r)
            await r.ask("WRITE", "job/qwe/big", ["00" * 3, 0], {"FILESIZE": 5, "UPLOADED": 3})
            await r.restart()
            with pytest.raises(BadInput, match=r"'job/qwe/big' has 3 of 5 bytes\. Upload it again"):
                await r.store.gather(r.job)
            with pytest.raises(NoSuchTree):
                await r.store.find(r.job, UPLOADED)
            await r.ask("WRITE", "job/qwe/big", ["00" * 2, 1], {"FILESIZE": 5, "UPLOADED": 5})
            assert len((await r.store.manifest(r.job, await r.store.gather(r.job))).entries) == 5

    run(main())


WHOLE = {"FILESIZE": 1, "UPLOADED": 1}


def test_a_file_that_was_lost_in_a_restart_is_named_until_it_comes_or_goes(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            await write_all(r)
            await r.ask("WRITE", "job/there", ["00", 0], WHOLE)
            # Done before the restart, and only its answer was lost.
            await r.ask(MISSED, "job/there", ["WRITE", ["00", 0]], WHOLE)
            await r.store.gather(r.job)
            for path, chunk in (("job/lost", "00"), ("job/there", "01")):
                await r.ask(MISSED, path, ["WRITE", [chunk, 0]], WHOLE)
                with pytest.raises(BadInput, match=f"'{path}' did not arrive"):
                    await r.store.gather(r.job)
                assert (await r.ask("READ", path)).data == ([path] if path == "job/there" else "NONE")
                await r.ask("WRITE", path, [chunk, 0], WHOLE)
                await r.store.gather(r.job)
            for operation, path in (("DELETE", "job/lost"), ("DELETE", "job")):
                await r.ask(MISSED, "job/lost", ["WRITE", ["02", 0]], WHOLE)
                assert (await r.ask(operation, path)).data == "DONE"
                await write_all(r)
                await r.store.gather(r.job)

    run(main())


@pytest.mark.parametrize(
    "data", [None, [], ["DELETE", {}], ["WRITE", 1], ["WRITE", ["zz", 0]], ["WRITE", ["00", 0], 1]]
)
@pytest.mark.parametrize("path", ["job/qwe/main.py", "../x", "", "job/qwe"])
def test_what_else_was_missed_changes_nothing(rig: Any, data: Any, path: str) -> None:
    async def main() -> None:
        async with rig() as r:
            await write_all(r)
            assert (await r.ask(MISSED, path, data)).data == "NONE"
            await r.store.gather(r.job)

    run(main())


def test_a_file_that_the_disk_did_not_take_is_named(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with rig() as r:
            await write_all(r)
            with monkeypatch.context() as patched:
                patched.setattr(old_parts, "write_new", full)
                assert (await r.ask("WRITE", "job/lost", ["00", 0], WHOLE)).data == "NONE"
            with pytest.raises(BadInput, match="'job/lost' did not arrive"):
                await r.store.gather(r.job)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run(main())


def test_a_file_that_changes_meanwhile_is_named(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with rig() as r:
            await r.ask("WRITE", "job/log", ["00", 0])
            real = copy_new

            def changed(source: Any, path: Any, mode: int) -> Any:
                with source.open("ab") as file:
                    file.write(b"more")
                return real(source, path, mode)

            def deleted(source: Any, path: Any, mode: int) -> Any:
                source.unlink()
                return real(source, path, mode)

            for happens in (changed, deleted):
                monkeypatch.setattr("discomputify_ftp.blobs.copy_new", happens)
                with pytest.raises(FileChanged, match="'job/log'"):
                    await r.store.gather(r.job)
                assert r.incoming() == []

    run(main())


def test_clearing_takes_what_was_written_too(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "LASTS", -1.0)

    async def main() -> None:
        async with rig() as r:
            await write_all(r)
            await r.ask("WRITE", "job/part", ["00", 0], {"FILESIZE": 2, "UPLOADED": 1})
            await r.write("jobs/main.py", b"1")
            await r.store.clear(r.job)
            await write_all(r)
            await r.store.gather(r.job)
            await r.show({"OUTPUT_PATH/a": b"a"}, "job_1_1", "job")
            await r.store.clear(r.job)
            await r.store.clear(r.job)
            assert (await r.ask("READ", "/")).data == ["jobs/main.py"]
            assert (await r.store.status()).blobs == 0
            with pytest.raises(NoSuchTree):
                await r.store.gather(r.job)

    run(main())


def test_the_store_answers_others_while_it_gathers(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            for number in range(20):
                await r.ask("WRITE", f"job/{number}", [os.urandom(20_000).hex(), 0])
            gathering = asyncio.ensure_future(r.store.gather(r.job))
            await r.keep(r.blob("one", b"1"), job="other")
            await gathering
            assert len((await r.store.manifest(r.job, await gathering)).entries) == 20

    run(main())
