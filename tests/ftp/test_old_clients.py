"""What old clients (CYPHER/1) read, list, delete and ask, and how their clients take the answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import attrs
import pytest

from discomputify_core.errors import BadInput, Refused
from discomputify_core.interfaces.files import SHOWN
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.old_clients import OLD_REQUEST
from discomputify_ftp import layout, old_views, pins
from discomputify_testkit.running import run

OUTPUTS = {"OUTPUT_PATH/a.txt": b"0123456789", "OUTPUT_PATH/sub/b": b"", "OUTPUT_PATH.txt": b"x"}


def test_only_old_clients_ask_and_only_what_there_is(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            with pytest.raises(Refused, match="Only old clients"):
                await r.caller.call(OLD_REQUEST, {"path": "/", "operation": "READ"})
            for operation in ("EXEC", "", "read", "NONE", "x" * 1000):
                with pytest.raises(BadInput, match="no operation") as caught:
                    await r.ask(operation)
                assert len(str(caught.value)) < 300

    run(main())


@pytest.mark.parametrize("shown", [False, True])
def test_reading(rig: Any, shown: bool) -> None:
    async def main() -> None:
        async with rig(chunk=4) as r:
            if shown:
                await r.show(OUTPUTS, "job_1_3", "job")
            else:
                for path, data in OUTPUTS.items():
                    assert (await r.ask("WRITE", f"job_1_3/{path}", [data.hex(), 0])).data == "DONE"
            paths = sorted(f"job_1_3/{path}" for path in OUTPUTS)
            assert (await r.ask("READ", "job_1_3")).data == paths
            assert (await r.ask("READ", "./job_1_3//")).data == paths
            assert (await r.ask("READ", "job_1_3/OUTPUT_PATH", 0)).data == paths[1:]
            assert (await r.ask("READ", "job_1_3/OUTPUT_PATH/sub", True)).data == paths[2:]
            file = "job_1_3/OUTPUT_PATH/a.txt"
            others: list[Any] = [{}, None, "x", True, 1.0]
            for other in others:
                assert (await r.ask("READ", file, other)).data == [file]
            for offset, chunk in (
                (0, b"0123"),
                (4, b"4567"),
                (8, b"89"),
                (9, b"9"),
                (10, b""),
                (12, b""),
                (2**62, b""),
            ):
                answer = await r.ask("READ", file, offset)
                assert answer.data == chunk.hex()
                assert answer.metadata == {"FILESIZE": 10, "DOWNLOADED": min(offset + len(chunk), 10)}
            assert (await r.ask("READ", "job_1_3/OUTPUT_PATH/sub/b", 0)).data == ""
            negative = await r.ask("READ", file, -1)
            assert negative.data == "NONE"
            assert "negative" in negative.metadata["ERROR"]
            for path in ("job_1_3/x", "job_1_3/OUTPUT_PATH/a.txt/x", "job_1_3/OUTPUT", "job_2_3", "job"):
                assert (await r.ask("READ", path)).data == "NONE"
                assert (await r.ask("READ", path, 0)).data == "NONE"

    run(main())


@pytest.mark.parametrize("shown", [False, True])
def test_listing(rig: Any, shown: bool) -> None:
    async def main() -> None:
        async with rig() as r:
            if shown:
                await r.show(OUTPUTS, "job_1_3", "job")
            else:
                for path, data in OUTPUTS.items():
                    await r.ask("WRITE", f"job_1_3/{path}", [data.hex(), 0])
            assert (await r.ask("LISTITEMS", "job_1_3")).data == ["OUTPUT_PATH", "OUTPUT_PATH.txt"]
            assert (await r.ask("LISTITEMS", "job_1_3/OUTPUT_PATH")).data == ["a.txt", "sub"]
            for path in ("", "/", "."):
                assert (await r.ask("LISTITEMS", path)).data == ["job_1_3"]
            for path in ("job_1_3/OUTPUT_PATH/a.txt", "job", "job_1_3/x"):
                answer = await r.ask("LISTITEMS", path)
                assert answer.data is None
                assert path in answer.metadata["ERROR"]

    run(main())


def test_the_whole_namespace(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            assert (await r.ask("READ", "/")).data == []
            await r.write("job/main.py", b"1")
            await r.write("top", b"1")
            await r.write("my_job_2_2/hidden", b"1")
            await r.show({"OUTPUT_PATH/a": b"a"}, "my_job_2_2", "my_job")
            await r.keep(r.blob("one", b"1"), job="other", tree=SHOWN + "my_job_1_2")
            await r.keep(r.blob("one", b"1"), job="other", tree=SHOWN + "x/../y_1_2")
            for path in ("", "/", ".", "./"):
                assert (await r.ask("READ", path)).data == ["job/main.py", "my_job_2_2/OUTPUT_PATH/a", "top"]
                assert (await r.ask("LISTITEMS", path)).data == ["job", "my_job_2_2", "top"]
                assert (await r.ask("DELETE", path)).data == "DO NOT EXIST"
            await r.restart()
            assert (await r.ask("LISTITEMS", "/")).data == ["job", "my_job_2_2", "top"]

    run(main())


def test_an_empty_folder_of_outputs_is_a_folder(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            tree = Manifest([Entry("OUTPUT_PATH/empty", folder=True)])
            await r.store.commit("job", SHOWN + "job_1_1", tree)
            assert (await r.ask("READ", "job_1_1/OUTPUT_PATH/empty")).data == []
            assert (await r.ask("READ", "job_1_1")).data == []
            assert (await r.ask("LISTITEMS", "job_1_1/OUTPUT_PATH")).data == ["empty"]
            assert (await r.ask("LISTITEMS", "job_1_1/OUTPUT_PATH/empty")).data == []
            await r.store.commit("job", SHOWN + "job_1_1", Manifest([]))
            assert (await r.ask("LISTITEMS", "job_1_1")).data == []

    run(main())


def test_outputs_cannot_be_written_to(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            await r.show(OUTPUTS, "job_1_3", "job")
            for path in ("job_1_3", "job_1_3/x", "job_1_3/OUTPUT_PATH/a.txt"):
                answer = await r.ask("WRITE", path, ["00", 0])
                assert answer.data == "NONE"
                assert "outputs of a job" in answer.metadata["ERROR"]
            part = await r.ask("DELETE", "job_1_3/OUTPUT_PATH/a.txt")
            assert part.data == "DO NOT EXIST"
            assert "all at once" in part.metadata["ERROR"]
            assert await r.read("job_1_3/OUTPUT_PATH/a.txt") == b"0123456789"
            assert (await r.ask("WRITE", "job_2_3/x", ["00", 0])).data == "DONE"

    run(main())


def test_deleting_what_was_written(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            for path in ("job/a/1", "job/a/2", "job/b", "jobs/x", "top"):
                await r.write(path, b"1")
            for path, left in (
                ("job/a/1", ["job/a/2", "job/b", "jobs/x", "top"]),
                ("job/a", ["job/b", "jobs/x", "top"]),
                ("top", ["job/b", "jobs/x"]),
                ("job/", ["jobs/x"]),
            ):
                assert (await r.ask("DELETE", path)).data == "DONE"
                assert (await r.ask("READ", "/")).data == left
                answer = await r.ask("DELETE", path)
                assert answer.data == "DO NOT EXIST"
                assert "There is no" in answer.metadata["ERROR"]
            assert r.incoming() == []

    run(main())


def test_deleting_takes_what_is_incomplete_too(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            for path in ("job/a/1", "job/a/2", "job/b"):
                await r.ask("WRITE", path, ["00", 0], {"FILESIZE": 2, "UPLOADED": 1})
            assert (await r.ask("DELETE", "job/a")).data == "DONE"
            assert (await r.ask("DELETE", "job/a")).data == "DO NOT EXIST"
            assert (await r.ask("WRITE", "job/a/1", ["00", 1], {"FILESIZE": 2, "UPLOADED": 2})).data == "NONE"
            assert (await r.ask("WRITE", "job/b", ["00", 1], {"FILESIZE": 2, "UPLOADED": 2})).data == "DONE"

    run(main())


def test_deleting_outputs_takes_that_tree_and_what_only_it_needs(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "LASTS", -1.0)

    async def main() -> None:
        async with rig() as r:
            await r.show({"OUTPUT_PATH/a": b"shared", "OUTPUT_PATH/b": b"own"}, "job_1_2", "job")
            await r.show({"OUTPUT_PATH/a": b"shared"}, "job_2_2", "job")
            program = await r.keep(r.blob("program", b"own too"), tree="program")
            assert (await r.store.status()).blobs == 6
            assert (await r.ask("DELETE", "job_1_2")).data == "DONE"
            assert (await r.ask("DELETE", "job_1_2")).data == "DO NOT EXIST"
            assert (await r.store.status()).blobs == 4
            assert await r.read("job_2_2/OUTPUT_PATH/a") == b"shared"
            await r.restart()
            assert (await r.ask("LISTITEMS", "/")).data == ["job_2_2"]
            assert (await r.store.manifest("job", program)).size == 7
            await r.store.clear("job")
            assert (await r.ask("LISTITEMS", "/")).data == []
            assert (await r.ask("DELETE", "job_2_2")).data == "DO NOT EXIST"

    run(main())


def test_deleting_the_only_tree_of_a_job(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            await r.show(OUTPUTS, "job_1_1", "job")
            assert (await r.ask("DELETE", "job_1_1")).data == "DONE"
            await r.show(OUTPUTS, "job_1_1", "job")
            assert (await r.ask("LISTITEMS", "job_1_1")).data == ["OUTPUT_PATH", "OUTPUT_PATH.txt"]

    run(main())


def test_the_files_of_a_process(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            for path in ("main.py", "qwe/main.py", "INPUT_PATH/a", "OUTPUT_PATH/b", "sub/INPUT_PATH/a"):
                await r.write(f"my_job/{path}", b"1")
            query = {"PROCESS_ID": "my_job", "OTHER": [1]}
            assert (await r.ask("GET_FILE_NAMES", data=query)).data == {**query, "FILES": ["main.py", "qwe", "sub"]}
            assert (await r.ask("GET_FILE_NAMES", data={"PROCESS_ID": "x"})).data == {"PROCESS_ID": "x", "FILES": []}

    run(main())


def test_the_folders_of_a_process(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            for part in (10, 9, 2):
                await r.show(OUTPUTS, f"my_job_{part}_12", "my_job")
            await r.show(OUTPUTS, "my_1_12", "my")
            for path in ("my_job/x", "my_job_notes/x", "my_job_3_12/x", "my_job_2_12/x", "my_job_file"):
                await r.write(path, b"1")
            query = {"PROCESS_ID": "my_job"}
            names = ["my_job_2_12", "my_job_9_12", "my_job_10_12", "my_job_3_12", "my_job_notes"]
            assert (await r.ask("GET_DIR_NAMES", data=query)).data == {**query, "DIRECTORIES": names}
            assert (await r.ask("GET_DIR_NAMES", data={"PROCESS_ID": "y"})).data["DIRECTORIES"] == []

    run(main())


@pytest.mark.parametrize("operation", ["GET_FILE_NAMES", "GET_DIR_NAMES"])
@pytest.mark.parametrize("data", [None, [], "job", 1, {"PROCESS_ID": 1}, {}, {"PROCESS_ID": "../x"}])
def test_queries_about_no_process(rig: Any, operation: str, data: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            answer = await r.ask(operation, data=[] if data is None else data)
            key = "FILES" if operation == "GET_FILE_NAMES" else "DIRECTORIES"
            assert answer.data == ({**data, key: []} if isinstance(data, dict) else "NONE")
            assert "PROCESS_ID" in answer.metadata["ERROR"]

    run(main())


def test_a_damaged_output_is_not_sent(rig: Any) -> None:
    async def main() -> None:
        async with rig() as r:
            await r.show({"OUTPUT_PATH/a": b"0123456789"}, "job_1_1", "job")
            for blob in (r.base / "blobs").rglob("*/*/*"):
                if blob.is_file() and blob.stat().st_size == 10:
                    blob.unlink()
            answer = await r.ask("READ", "job_1_1/OUTPUT_PATH/a", 0)
            assert answer.data == "NONE"
            assert "does not hold" in answer.metadata["ERROR"]

    run(main())


def test_few_manifests_are_kept_in_memory(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_views, "KEPT_ENTRIES", 4)

    async def main() -> None:
        async with rig(chunk=1) as r:
            for part in (1, 2, 3):
                await r.show({"OUTPUT_PATH/a": b"%d!" % part, "OUTPUT_PATH/b": b""}, f"job_{part}_3", "job")
            for part in (1, 2, 3, 1):
                assert await r.read(f"job_{part}_3/OUTPUT_PATH/a") == b"%d!" % part
            await r.show({"OUTPUT_PATH/a": b"new"}, "job_1_3", "job")
            assert await r.read("job_1_3/OUTPUT_PATH/a") == b"new"

    run(main())


def test_what_is_incomplete_for_long_goes(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with rig() as r:
            for path in ("job/old", "job/young", "other/old"):
                await r.ask("WRITE", path, ["00", 0], {"FILESIZE": 2, "UPLOADED": 1})
            await r.write("job/complete", b"1")
            growing = r.base / "old" / "incoming"
            for path in ("job/old", "other/old"):
                os.utime(r.base / layout.old_part(path), (0, 0))
            os.utime(r.base / "old" / "files" / "job" / "complete", (0, 0))
            await r.node.tidy()
            assert len(list(growing.iterdir())) == 1
            assert caplog.text.count("removed") == 2
            assert "'job/old' has 1 of 2 bytes" in caplog.text
            last = {"FILESIZE": 2, "UPLOADED": 2}
            assert (await r.ask("WRITE", "job/old", ["00", 1], last)).data == "NONE"
            assert (await r.ask("WRITE", "job/young", ["00", 1], last)).data == "DONE"
            assert (await r.ask("READ", "/")).data == ["job/complete", "job/young"]

    run(main())


@attrs.define
class OldFtpClient:
    """Does what the published file client does with its answers, request by request; *recv* as in its conf."""

    rig: Any
    send: int
    recv: int

    async def upload(self, folder: Path, server_path: str) -> None:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                index = 0
                while piece := file.read(self.send):  # so an empty file is never sent
                    about = {"FILESIZE": path.stat().st_size, "UPLOADED": file.tell()}
                    target = f"{server_path}/./{path.relative_to(folder.parent)}"
                    await self.rig.ask("WRITE", target, [piece.hex(), index], about)
                    index += 1

    async def fetch(self, path: str, target: Path) -> None:
        left = (await self.rig.ask("READ", path)).data
        if not isinstance(left, list):
            return
        for each in left:
            (target / each).parent.mkdir(parents=True, exist_ok=True)
            (target / each).write_bytes(b"")
        position = 0
        while left:
            answer = (await self.rig.ask("READ", left[0], position)).data
            with (target / left[0]).open("ab") as file:
                file.write(bytes.fromhex(answer))
            position += self.recv
            if answer == "":
                left.pop(0)
                position = 0


def test_the_published_client_uploads_and_downloads(rig: Any) -> None:
    async def main() -> None:
        async with rig(chunk=1000) as r:
            program = r.local / "qwe"
            (program / "sub").mkdir(parents=True)
            files = {"main.py": os.urandom(2500), "sub/exact": os.urandom(3000), "sub/small": b"1", "empty": b""}
            for path, data in files.items():
                (program / path).write_bytes(data)
            client = OldFtpClient(r, send=700, recv=1000)
            await client.upload(program, "17000")
            del files["empty"]
            assert (await r.ask("READ", "17000")).data == [f"17000/qwe/{path}" for path in sorted(files)]
            await client.fetch("17000", r.local)
            for path, data in files.items():
                assert (r.local / "17000" / "qwe" / path).read_bytes() == data

            await r.show({f"OUTPUT_PATH/{path}": data for path, data in files.items()}, "17000_1_1", "17000")
            folders = (await r.ask("GET_DIR_NAMES", data={"PROCESS_ID": "17000"})).data["DIRECTORIES"]
            for folder in folders:
                await client.fetch(folder, r.local / "out")
            for path, data in files.items():
                assert (r.local / "out" / "17000_1_1" / "OUTPUT_PATH" / path).read_bytes() == data

            for path in ("17000", "17000_1_1"):
                assert (await r.ask("DELETE", path)).data == "DONE"
            await client.fetch("17000", r.local / "nothing")
            assert not (r.local / "nothing").exists()

    run(main())
