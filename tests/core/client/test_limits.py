"""Limits, requirements and submitting again, against a real cluster."""

from pathlib import Path
from typing import Any

import pytest

from discomputify_core.client.client import Client
from discomputify_core.errors import BadInput, JobFailed, NoSuchJob
from discomputify_core.model.job import JobState, Request
from discomputify_testkit.running import run

FAILS = """
import pathlib, sys
pathlib.Path("OUTPUT_PATH/n").write_text(sys.argv[1])
print("a last word", file=sys.stderr)
sys.exit(3 if sys.argv[1] == "2" else 0)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "program"
    place.mkdir()
    (place / "main.py").write_text(FAILS, encoding="utf-8")
    return place


def test_a_job_that_fails_raises_its_death_reports_where_asked(running_cluster: Any, folder: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            await client.submit(folder, 2, process_id="l-death", retries=1)
            assert (await client.wait("l-death")).state is JobState.FAILED
            with pytest.raises(JobFailed, match="a last word") as raised:
                await client.wait("l-death", check=True)
            fields = raised.value.fields
            assert (fields["process_id"], fields["state"], fields["parts"]["failed"]) == ("l-death", "failed", 1)
            assert [each["number"] for each in fields["failures"]] == [1, 2]
            last = fields["failures"][-1]
            assert (last["part"], last["node"], last["end"], last["code"]) == (2, "local", "exit", 3)
            assert 0 < last["started_at"] <= last["ended_at"]
            assert last["peak_memory"] > 0
            assert "a last word" in last["stderr_tail"]

    run(main(), 60)


def test_limits_end_parts_and_jobs(running_cluster: Any, folder: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            await client.submit(folder, 2, process_id="l-max", retries=5, max_failures=1, priority=3)
            assert (await client.wait("l-max")).failures[-1].number == 6
            (folder / "main.py").write_text("import time\ntime.sleep(600)", encoding="utf-8")
            await client.submit(folder, 1, process_id="l-time", retries=0, time_limit=0.2)
            assert "its time limit is 0.2 s" in (await client.wait("l-time")).reason
            await client.submit(folder, 1, process_id="l-dead", deadline=0.2)
            assert "deadline of 0.2 s" in (await client.wait("l-dead")).reason
            (folder / "main.py").write_text("held = b'x' * 400_000_000\nimport time\ntime.sleep(600)", encoding="utf-8")
            await client.submit(folder, 1, process_id="l-mem", retries=0, memory_limit=100_000_000, request=Request(1))
            assert "its limit is 95.4 MiB" in (await client.wait("l-mem")).reason

    run(main(), 90)


def test_only_nodes_that_have_what_is_required_get_parts(running_cluster: Any, folder: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            (folder / "requirements.txt").write_text("attrs>=20\n-r more.txt\n", encoding="utf-8")
            submitted = await client.submit(folder, 1, process_id="l-has")
            assert submitted.unchecked == ("-r more.txt",)
            assert (await client.wait("l-has")).state is JobState.DONE
            await client.submit(folder, 1, process_id="l-lacks", require=["nothing-of-this-name>=2"])
            async for status in client.changes("l-lacks"):
                if "nothing-of-this-name>=2" in status.reason:
                    break
            await client.stop("l-lacks")

    run(main(), 60)


def test_parts_that_are_not_done_run_again_with_another_program(
    running_cluster: Any, folder: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            with pytest.raises(NoSuchJob):
                await client.resubmit("l-again", folder)
            first = await client.submit(folder, 3, process_id="l-again", args=["x"], retries=0)
            with pytest.raises(BadInput, match="stop it first"):
                await client.resubmit("l-again", folder)
            await client.wait("l-again")
            await client.fetch("l-again", tmp_path / "out")
            assert (await client.resubmit("l-again")).upload.blobs_sent == 0
            assert (await client.wait("l-again")).parts.failed == 1
            (folder / "main.py").write_text(FAILS.replace("exit(3", "exit(sys.argv[4] != 'x'"), encoding="utf-8")
            again = await client.resubmit("l-again", folder)
            assert again.upload.blobs_sent == 1
            done = await client.wait("l-again", check=True)
            assert dict(done.trees) == {first.status.tree: 2, again.status.tree: 1}
            assert done.output_bytes > 0
            assert [each.number for each in await client.attempts("l-again", 2)] == [1, 2, 3]
            assert (await client.fetch("l-again", tmp_path / "out")).parts == 3
            with pytest.raises(BadInput, match="nothing to do"):
                await client.resubmit("l-again", folder)

    run(main(), 60)


def test_inputs_from_other_jobs_are_joined_again(running_cluster: Any, folder: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            (folder / "main.py").write_text("open('OUTPUT_PATH/n', 'w').close()", encoding="utf-8")
            await client.submit(folder, 1, process_id="l-before")
            (folder / "main.py").write_text(
                "import pathlib, sys\nsys.exit(len(list(pathlib.Path('INPUT_PATH/l-before').rglob('n'))))",
                encoding="utf-8",
            )
            await client.submit(folder, 1, process_id="l-behind", inputs_from="l-before", retries=0)
            assert (await client.wait("l-behind")).failures[-1].code == 1
            await client.resubmit("l-behind")
            again = await client.wait("l-behind")
            assert (again.failures[-1].number, again.failures[-1].code) == (2, 1)

    run(main(), 60)


def test_old_jobs_are_cleared_but_for_those_in_need(running_cluster: Any, folder: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            (folder / "main.py").touch()
            await client.submit(folder, 1, process_id="l-old")
            await client.wait("l-old")
            assert "l-old" not in (await client.clear_older(3600)).cleared
            (folder / "main.py").write_text("import time\ntime.sleep(600)", encoding="utf-8")
            await client.submit(folder, 1, process_id="l-needs", after="l-old")
            found = await client.clear_older(0)
            assert "l-old" in {*found.cleared, *found.kept}
            assert "l-needs" not in found.cleared
            await client.stop("l-needs")
            with pytest.raises(BadInput, match="number from 0 on"):
                await client.clear_older(-1)

    run(main(), 60)


def test_a_drained_node_gets_no_parts(running_cluster: Any, folder: Path) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            with pytest.raises(BadInput, match="no computing node 'nobody'"):
                await client.drain("nobody")
            assert (await client.drain("local")).drained
            try:
                await client.submit(folder, 1, process_id="l-drained")
                async for status in client.changes("l-drained"):
                    if "drain" in status.reason:
                        break
            finally:
                assert not (await client.drain("local", undo=True)).drained
            await client.wait("l-drained")

    run(main(), 60)


@pytest.mark.parametrize("limit", ["retries", "lost_retries", "priority", "memory_limit", "max_failures", "time_limit"])
def test_numbers_that_nothing_can_hold_are_refused_before_anything_is_sent(
    running_cluster: Any, folder: Path, limit: str
) -> None:
    async def main() -> None:
        async with Client.from_conf(running_cluster.conf) as client:
            more: dict[str, Any] = {limit: 10**30}
            with pytest.raises(BadInput, match=limit):
                await client.submit(folder, 1, process_id="l-large", **more)
            with pytest.raises(NoSuchJob):
                await client.status("l-large")

    run(main())
