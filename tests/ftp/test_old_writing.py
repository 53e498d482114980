"""What old clients (CYPHER/1) write: whole or not at all, whatever comes twice, late, wrong or never."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discomputify_core.errors import BadInput, DiskError
from discomputify_ftp import disk, layout
from discomputify_ftp.blobs import Blobs
from discomputify_ftp.old_files import OldFiles
from discomputify_ftp.old_requests import Chunk
from discomputify_testkit.running import run


def about(size: int, uploaded: int) -> dict[str, int]:
    return {"FILESIZE": size, "UPLOADED": uploaded}


@pytest.mark.parametrize("size", [1, 4, 5, 8, 1000])
def test_a_file_appears_when_it_is_complete(rig: Any, size: int) -> None:
    async def main() -> None:
        async with rig(chunk=7) as r:
            data = os.urandom(size)
            assert set(await r.write("job/qwe/main.py", data)) == {"DONE"}
            assert (await r.ask("READ", "job")).data == ["job/qwe/main.py"]
            assert await r.read("job/qwe/main.py") == data
            assert r.incoming() == []
            assert list((r.base / layout.OLD_INCOMING).rglob("*.*")) == []

    run(main())


def test_an_empty_file_can_be_written(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            assert (await r.ask("WRITE", "job/empty", ["", 0], about(0, 0))).data == "DONE"
            assert (await r.ask("READ", "job/empty", 0)).data == ""
            assert (await r.ask("READ", "job")).data == ["job/empty"]

    run(main())


def test_an_incomplete_file_is_not_there(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            assert (await r.ask("WRITE", "job/a/b", ["00", 0], about(2, 1))).data == "DONE"
            for path in ("job/a/b", "job/a", "job"):
                assert (await r.ask("READ", path)).data == "NONE"
                assert (await r.ask("LISTITEMS", path)).data is None
            assert (await r.ask("READ", "/")).data == []
            assert (await r.ask("LISTITEMS", "/")).data == []

    run(main())


def test_a_file_goes_on_after_a_restart(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            await r.write("job/old", b"old")
            assert (await r.ask("WRITE", "job/f", [b"abcd".hex(), 0], about(6, 4))).data == "DONE"
            await r.restart()
            assert (await r.ask("READ", "job")).data == ["job/old"]
            assert (await r.ask("WRITE", "job/f", [b"ef".hex(), 1], about(6, 6))).data == "DONE"
            assert await r.read("job/f") == b"abcdef"

    run(main())


def test_the_complete_file_stays_until_the_new_one_is_complete(rig: Any) -> None:
    async def main() -> None:
        async with rig(chunk=4) as r:
            await r.write("job/f", b"old file")
            await r.ask("WRITE", "job/f", [b"new ".hex(), 0], about(6, 4))
            assert await r.read("job/f") == b"old file"
            await r.restart()
            assert await r.read("job/f") == b"old file"
            await r.ask("WRITE", "job/f", [b"er".hex(), 1], about(6, 6))
            assert await r.read("job/f") == b"new er"

    run(main())


def test_chunks_that_come_again(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            one, two, three = ([data.hex(), index] for index, data in enumerate((b"abcd", b"efgh", b"ij")))
            for data, uploaded in ((one, 4), (one, 4), (two, 8), (two, 8), (three, 10), (three, 10), (two, 8)):
                assert (await r.ask("WRITE", "f", data, about(10, uploaded))).data == "DONE"
            assert await r.read("f") == b"abcdefghij"
            for metadata in (about(10, 8), about(11, 8)):
                answer = await r.ask("WRITE", "f", [b"xxxx".hex(), 1], metadata)
                assert answer.data == "NONE"
                assert "Upload the file again" in answer.metadata["ERROR"]
            assert await r.read("f") == b"abcdefghij"

    run(main())


def test_chunks_that_do_not_fit(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            assert (await r.ask("WRITE", "f", ["00", 1], about(9, 3))).data == "NONE"
            await r.ask("WRITE", "f", [b"abcd".hex(), 0], about(12, 4))
            await r.ask("WRITE", "f", [b"efgh".hex(), 1], about(12, 8))
            other = await r.ask("WRITE", "f", [b"xxxx".hex(), 1], about(12, 8))
            gap = await r.ask("WRITE", "f", [b"k".hex(), 3], about(12, 10))
            grown = await r.ask("WRITE", "f", [b"ijkl".hex(), 2], about(13, 12))
            assert [answer.data for answer in (other, gap, grown)] == ["NONE"] * 3
            assert "other bytes at 4" in other.metadata["ERROR"]
            assert "8 of 12 bytes" in gap.metadata["ERROR"]
            assert "changed" in grown.metadata["ERROR"]
            # Half of it is there: the rest is added.
            assert (await r.ask("WRITE", "f", [b"ghijkl".hex(), 2], about(12, 12))).data == "DONE"
            assert await r.read("f") == b"abcdefghijkl"

    run(main())


def test_the_first_chunk_begins_anew(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            await r.ask("WRITE", "f", [b"abcd".hex(), 0], about(12, 4))
            await r.ask("WRITE", "f", [b"efgh".hex(), 1], about(12, 8))
            assert set(await r.write("f", b"abcdXYZ")) == {"DONE"}
            assert await r.read("f") == b"abcdXYZ"

    run(main())


def test_chunks_without_a_place_are_added_and_seen_at_once(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            for index, seen in ((0, b"a"), (1, b"aa"), (7, b"aaa"), (0, b"a")):
                assert (await r.ask("WRITE", "log/f", [b"a".hex(), index])).data == "DONE"
                assert await r.read("log/f") == seen
            assert (await r.ask("WRITE", "log/g", [b"g".hex(), 1])).data == "DONE"
            await r.restart()
            assert (await r.ask("READ", "log")).data == ["log/f", "log/g"]

    run(main())


def test_files_and_folders_do_not_take_each_others_place(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            await r.write("a/b", b"1")
            for path in ("a", "a/b/c", "a/b/c/d", "", "/"):
                for metadata in (about(1, 1), {}):
                    for index in (0, 1):
                        answer = await r.ask("WRITE", path, ["00", index], metadata)
                        assert answer.data == "NONE"
                        assert answer.metadata["ERROR"]
            # Two that are incomplete: who is first has the place.
            await r.ask("WRITE", "x", ["00", 0], about(2, 1))
            await r.ask("WRITE", "x/y", ["00", 0], about(2, 1))
            assert (await r.ask("WRITE", "x/y", ["00", 1], about(2, 2))).data == "DONE"
            assert (await r.ask("WRITE", "x", ["00", 1], about(2, 2))).data == "NONE"
            assert (await r.ask("READ", "/")).data == ["a/b", "x/y"]

    run(main())


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/tmp/x", "a\x00", "a/nul", "C:/x", "a\\b", "a/ "])
def test_bad_paths_get_the_negative_answer(rig: Any, path: str) -> None:
    async def main() -> None:
        async with rig() as r:
            before = sorted(r.base.parent.rglob("*"))
            negative = {"READ": "NONE", "LISTITEMS": None, "DELETE": "DO NOT EXIST"}
            answers = {operation: await r.ask(operation, path) for operation in negative}
            assert {operation: answer.data for operation, answer in answers.items()} == negative
            answers["WRITE"] = await r.ask("WRITE", path, ["00", 0], about(1, 1))
            assert answers["WRITE"].data == "NONE"
            assert all("may not be used" in answer.metadata["ERROR"] for answer in answers.values())
            assert sorted(r.base.parent.rglob("*")) == before

    run(main())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.text(max_size=12), st.sampled_from(["..", "/", "./a", "a//b", "job", "nul"])), max_size=6))
def test_nothing_is_ever_written_outside_of_the_base(rig: Any, tmp_path: Path, parts: list[str]) -> None:
    path = "/".join(parts)

    async def main() -> None:
        async with rig() as r:
            for operation, data in (("WRITE", ["00", 0]), ("READ", {}), ("READ", 0), ("LISTITEMS", {})):
                answer = await r.ask(operation, path, data, about(1, 1))
                assert answer.data in ("DONE", "NONE", "00", None) or isinstance(answer.data, list)
            await r.ask("DELETE", path)
            assert (await r.ask("READ", "/")).data == []
            assert {each.name for each in tmp_path.iterdir()} == {"store", "local"}
            assert {each.name for each in r.base.iterdir()} <= {"lock", "old", "blobs", "jobs", "incoming", "damaged"}

    run(main())


@pytest.mark.skipif(os.name != "posix", reason="links and modes are of POSIX")
def test_links_are_never_followed(rig: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with rig() as r:
            await r.write("job/f", b"1")
            files = r.base / layout.OLD_FILES
            outside = tmp_path / "outside"
            outside.mkdir()
            (outside / "secret").write_bytes(b"secret")
            (files / "job" / "folder").symlink_to(outside)
            (files / "job" / "file").symlink_to(outside / "secret")
            (files / "top").symlink_to(outside)
            os.mkfifo(files / "job" / "pipe")
            assert (await r.ask("READ", "")).data == ["job/f"]
            assert (await r.ask("LISTITEMS", "job")).data == ["f"]
            assert (await r.ask("GET_FILE_NAMES", data={"PROCESS_ID": "top"})).data["FILES"] == []
            for path in ("job/folder/secret", "job/folder", "job/file", "top/secret", "top", "job/pipe"):
                assert (await r.ask("READ", path)).data == "NONE"
                assert (await r.ask("READ", path, 0)).data == "NONE"
                assert (await r.ask("LISTITEMS", path)).data is None
                assert (await r.ask("DELETE", path)).data == "DO NOT EXIST"
                for metadata in (about(1, 1), {}):
                    for index in (0, 1):
                        assert (await r.ask("WRITE", path, ["00", index], metadata)).data == "NONE"
            assert (await r.ask("DELETE", "job")).data == "DONE"
            assert [path.name for path in outside.iterdir()] == ["secret"]
            assert (outside / "secret").read_bytes() == b"secret"

    run(main())


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_nobody_else_may_read_what_is_written(rig: Any) -> None:
    async def main() -> None:
        mask = os.umask(0)
        try:
            async with rig() as r:
                await r.write("job/a/b/c", b"complete")
                await r.ask("WRITE", "job/d/e", ["00", 0])
                await r.ask("WRITE", "job/d/f", ["00", 0], about(2, 1))
                old = r.base / "old"
                for path in (old, *old.rglob("*")):
                    assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        finally:
            os.umask(mask)

    run(main())


def test_a_disk_that_is_full(rig: Any, small_disk: Path) -> None:
    async def main() -> None:
        async with rig(base=small_disk / "store") as r:
            await r.write("job/first", b"1" * 100_000, chunk=50_000)
            await r.ask("WRITE", "job/log", [b"1".hex(), 0])
            (small_disk / "filler").write_bytes(bytes(600_000))
            answers = await r.write("job/big", os.urandom(900_000), chunk=100_000)
            assert answers[0] == "DONE"
            assert answers[-1] == "NONE"
            big = [bytes(900_000).hex(), 0]
            for path, data, metadata in (
                ("job/log", [big[0], 1], {}),
                ("job/new", big, {}),
                ("job/first", big, about(900_000, 900_000)),
            ):
                answer = await r.ask("WRITE", path, data, metadata)
                assert answer.data == "NONE"
                assert "No space" in answer.metadata["ERROR"]
            assert (await r.ask("READ", "job")).data == ["job/first", "job/log"]
            assert await r.read("job/log") == b"1"
            assert await r.read("job/first") == b"1" * 100_000
            assert r.incoming() == []
            (small_disk / "filler").unlink()
            assert set(await r.write("job/big", b"2" * 300_000, chunk=100_000)) == {"DONE"}

    run(main())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_chunk_that_cannot_be_written_can_come_again(
    rig: Any, monkeypatch: pytest.MonkeyPatch, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with rig() as r:
            real = disk.write_all

            def half(descriptor: int, data: Any) -> None:
                real(descriptor, bytes(data)[: len(data) // 2])
                raise OSError(number, os.strerror(number))

            await r.ask("WRITE", "f", [b"abcd".hex(), 0], about(8, 4))
            await r.ask("WRITE", "log", [b"a".hex(), 0])
            requests = [("f", [b"efgh".hex(), 1], about(8, 8)), ("log", [b"bcd".hex(), 1], {})]
            with monkeypatch.context() as patch:
                patch.setattr(disk, "write_all", half)
                for request in requests:
                    answer = await r.ask("WRITE", *request)
                    assert answer.data == "NONE"
                    assert os.strerror(number) in answer.metadata["ERROR"]
            assert await r.read("log") == b"a"
            for request in requests:
                assert (await r.ask("WRITE", *request)).data == "DONE"
            assert await r.read("f") == b"abcdefgh"
            assert await r.read("log") == b"abcd"
        warned = [record for record in caplog.records if "WRITE was refused" in record.message]
        assert [record.levelname for record in warned].count("WARNING") == 1, "old clients go on: one line is enough"

    run(main())


def test_writers_at_once_do_not_mix(rig: Any) -> None:
    async def main() -> None:
        async with rig(chunk=1000) as r:
            texts = [bytes([65 + number]) * 4000 for number in range(6)]

            async def upload(data: bytes) -> None:
                for _ in range(4):
                    await r.write("job/f", data, chunk=1000)

            seen: set[bytes] = set()

            async def look() -> None:
                while len(seen) < 40 and not writing.done():
                    whole = await r.ask("READ", "job/f", 0)
                    if whole.data != "NONE":
                        assert whole.metadata["FILESIZE"] == 4000
                        assert len(set(bytes.fromhex(whole.data))) == 1

            writing = asyncio.gather(*(upload(data) for data in texts))
            await asyncio.gather(writing, look())
            await r.write("job/f", texts[0], chunk=1000)
            assert await r.read("job/f") == texts[0]

    run(main())


def test_other_files_are_written_meanwhile(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            data = {f"job/{number % 3}/{number}": os.urandom(50) for number in range(30)}
            await asyncio.gather(*(r.write(path, text) for path, text in data.items()))
            assert (await r.ask("READ", "job")).data == sorted(data)
            for path, text in data.items():
                assert await r.read(path) == text

    run(main())


chunks = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), max_size=25)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks)
def test_any_order_of_chunks_shows_a_whole_file_or_none(tmp_path: Path, order: list[tuple[int, int]]) -> None:
    """Chunks of two versions of a file, in any order and number."""
    versions = [b"".join(bytes([65 + n + 32 * which]) * 3 for n in range(6)) for which in (0, 1)]
    blobs = Blobs(tmp_path / "store")
    blobs.open()
    files = OldFiles(blobs)
    files.remove("f")
    for index, which in order:
        data = versions[which][3 * index : 3 * index + 3]
        try:
            files.write("f", Chunk(data, index == 0, 18, 3 * index))
        except BadInput:
            pass
        if files.tree.kind("f").value == "a file":
            text = files.tree.read("f", 0, 100)[0]
            assert len(text) == 18
            assert [bytes([byte]).lower() for byte in text] == [bytes([byte]).lower() for byte in versions[0]]


def test_errors_of_the_disk_name_the_place(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "store")
    blobs.open()
    (tmp_path / "store" / "old").write_bytes(b"in the way")
    for size in (None, 5):
        with pytest.raises(DiskError, match="old"):
            OldFiles(blobs).write("a/f", Chunk(b"a", True, size))
