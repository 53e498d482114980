"""Jobs that a new job is to follow: as callers name them, and what is refused before anything is uploaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from discomputify_core.client import BlockingClient
from discomputify_core.client.client import Client
from discomputify_core.client.predecessors import ids_of
from discomputify_core.errors import BadInput, NoSuchJob
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobState, JobStatus, PartCounts
from discomputify_testkit.running import run

WRITES = "import sys; open('OUTPUT_PATH/n', 'w').write(sys.argv[1])"
SUMS = """
import pathlib
found = sorted(pathlib.Path("INPUT_PATH").rglob("n"))
pathlib.Path("OUTPUT_PATH/sum").write_text(str([path.as_posix() for path in found]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "program"
    place.mkdir()
    (place / "main.py").write_text(WRITES, encoding="utf-8")
    return place


def test_jobs_are_named_by_ids_and_by_what_stands_for_them() -> None:
    status = JobStatus(ProcessId("b"), JobState.DONE, PartCounts(), 0.0)
    assert ids_of("a", "after") == ("a",)
    assert ids_of(status, "after") == ("b",)
    assert ids_of(["a", status, "a"], "after") == ("a", "b")
    assert ids_of((each for each in ("a", "c")), "after") == ("a", "c")
    assert ids_of((), "after") == ()


@pytest.mark.parametrize("wrong", [7, [None], [7], ["a/b"], [""], "a b"])
def test_what_stands_for_no_job_is_refused(wrong: Any) -> None:
    with pytest.raises(BadInput, match=r"after=|PROCESS_ID"):
        ids_of(wrong, "after")


def test_a_job_follows_others_that_are_given_as_handles(running_cluster: Any, folder: Path, tmp_path: Path) -> None:
    sums = tmp_path / "sums"
    sums.mkdir()
    (sums / "main.py").write_text(SUMS, encoding="utf-8")
    with BlockingClient(running_cluster.conf) as client:
        first = client.submit(folder, 2, process_id="p-first")
        second = client.submit(sums, 1, process_id="p-second", inputs_from=first, after_any=[first.status])
        assert second.status.after == second.status.inputs_from == second.status.after_any == ("p-first",)
        assert client.wait(second.process_id, 30).state is JobState.DONE
        assert client.status("p-first").dependants == ("p-second",)
        client.fetch("p-second", tmp_path)
        found = (tmp_path / "p-second/p-second_1_1/sum").read_text(encoding="utf-8")
        assert found == str([f"INPUT_PATH/p-first/p-first_{part}_2/n" for part in (1, 2)])


def test_nothing_is_uploaded_for_a_job_that_cannot_follow(
    running_cluster: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("something was uploaded")

    monkeypatch.setattr(Client, "_upload", never)
    with BlockingClient(running_cluster.conf) as client:
        with pytest.raises(NoSuchJob, match=r"^--after-any nobody: .*no job 'nobody'"):
            client.submit(folder, 1, process_id="p-x", after_any=["nobody"])
        with pytest.raises(NoSuchJob, match=r"^--inputs-from nobody"):
            client.submit(folder, 1, process_id="p-x", inputs_from=["nobody"])
        with pytest.raises(BadInput, match="'p-x' cannot wait for itself"):
            client.submit(folder, 1, process_id="p-x", after="p-x")
        (folder / "INPUT_PATH" / "nobody").mkdir(parents=True)
        with pytest.raises(BadInput, match="'INPUT_PATH/nobody' itself"):
            client.submit(folder, 1, process_id="p-x", inputs_from=["nobody"])


def test_what_was_uploaded_goes_if_a_job_before_it_is_cleared_meanwhile(
    running_cluster: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            await client.submit(folder, 1, process_id="p-gone")
            await client.wait("p-gone", 30)
            upload, clear, cleared = client._upload, client.store.clear, list[str]()

            async def upload_and_clear(*args: Any) -> Any:
                found = await upload(*args)
                await client.clear("p-gone")
                return found

            async def noted(process_id: ProcessId) -> None:
                cleared.append(process_id)
                await clear(process_id)

            monkeypatch.setattr(client, "_upload", upload_and_clear)
            monkeypatch.setattr(client.store, "clear", noted)
            with pytest.raises(NoSuchJob, match=r"^--after p-gone"):
                await client.submit(folder, 1, process_id="p-late", after="p-gone")
            assert cleared == ["p-late"]

    run(main())
