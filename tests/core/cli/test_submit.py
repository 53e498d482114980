"""``discomputify submit`` against a real cluster, and on this machine alone."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.cli.watching import until_terminated

Cli = Callable[..., Any]


@pytest.fixture
def submit(cli: Cli, running_cluster: Any) -> Cli:
    """Runs ``discomputify submit`` on the cluster."""
    return lambda *args: cli("--conf", str(running_cluster.conf), "submit", *args)


def program(folder: Path, text: str) -> str:
    place = folder / "program"
    (place / "INPUT_PATH").mkdir(parents=True, exist_ok=True)
    (place / "main.py").write_text(text, encoding="utf-8")
    return str(place)


WRITES = "import sys; open('OUTPUT_PATH/n', 'w').write(' '.join(sys.argv[1:]))"


def test_a_job_runs_and_its_outputs_are_here(submit: Cli, folder: Path) -> None:
    answer = submit(program(folder, WRITES), "-n", "3", "--process-id", "s-run", "--", "--flag", "value")
    assert answer.code == 0, answer
    assert "s-run: done, 3 of 3 parts done" in answer.out
    texts = [(folder / f"s-run/s-run_{part}_3/n").read_text() for part in (1, 2, 3)]
    assert texts == [f"{part} 3 s-run --flag value" for part in (1, 2, 3)]
    assert "s-run: 3 parts" in answer.err
    assert "\x1b" not in answer.err


def test_json_is_the_status_and_the_upload(submit: Cli, folder: Path) -> None:
    place = program(folder, WRITES)
    first = submit(place, "-n", "1", "--process-id", "s-json1", "--json", "--out", "out")
    assert (first.code, first.err) == (0, "")
    found = first.json()
    assert found["state"] == "done"
    assert found["parts"]["done"] == 1
    assert set(found["upload"]) == {"files", "bytes", "blobs_sent", "bytes_sent"}
    assert (folder / "out/s-json1/s-json1_1_1/n").exists()
    second = submit(place, "-n", "1", "--process-id", "s-json2", "--json", "--out", "out").json()
    assert (second["upload"]["blobs_sent"], second["upload"]["bytes_sent"]) == (0, 0)


def test_a_plan_does_nothing(submit: Cli, folder: Path) -> None:
    place = program(folder, "# only planned\n" + WRITES)
    (Path(place) / ".git").mkdir()
    (Path(place) / ".git/config").touch()
    answer = submit(place, "--plan")
    assert answer.code == 0
    assert "main.py" in answer.out.partition("known:")[0]
    assert ".git" in answer.out.partition("ignored:")[2]
    found = submit(place, "--plan", "--json").json()
    assert "main.py" in [each["path"] for each in found["new"]]
    assert found["new_bytes"] == (Path(place) / "main.py").stat().st_size
    assert [each.name for each in folder.iterdir()] == ["program"]


def test_a_failed_job_says_which_part_and_why(submit: Cli, folder: Path) -> None:
    text = WRITES + "\nif sys.argv[1] == '2': raise ValueError('no second part')"
    answer = submit(program(folder, text), "-n", "2", "--process-id", "s-fail")
    assert answer.code == 1
    assert "s-fail: failed" in answer.out
    assert "part 2 failed after 3 attempts" in answer.out
    assert "ValueError: no second part" in answer.out
    assert "Traceback" in answer.out  # the program's own, from its stderr
    assert (folder / "s-fail/s-fail_1_2/n").exists()
    assert not (folder / "s-fail/s-fail_2_2").exists()
    assert b"no second part" in (folder / "s-fail/logs/2.err").read_bytes()


def test_a_detached_job_is_watched_and_fetched_later(submit: Cli, cli: Cli, running_cluster: Any, folder: Path) -> None:
    answer = submit(program(folder, WRITES), "-n", "2", "--process-id", "s-detach", "--detach")
    assert answer.code == 0
    assert "discomputify wait s-detach" in answer.out
    conf = ("--conf", str(running_cluster.conf))
    assert cli(*conf, "wait", "s-detach").code == 0
    assert cli(*conf, "fetch", "s-detach").code == 0
    assert (folder / "s-detach/s-detach_2_2/n").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--parts", "0"], "--parts 0"),
        (["--parts", "-3"], "--parts -3"),
        (["--parts", "10000001"], "10,000,000"),
        (["--process-id", "a/b"], "PROCESS_ID"),
        (["--process-id", ".."], "PROCESS_ID"),
        (["--process-id", "a b"], "PROCESS_ID"),
        (["--process-id", "x" * 129], "128"),
        (["--cpus", "0"], "--cpus"),
        (["--cpus", "9" * 30], "more CPUs"),
        (["--memory", "many"], "not a size"),
        (["--memory", "9" * 40], "more than any machine"),
        (["--need", "gpu"], "NAME=COUNT"),
        (["--env", "NAME"], "NAME=VALUE"),
        (["--inputs", "some"], "allowed are 'all', 'lazy'"),
        (["--local=-1"], "--local"),
        (["--local", "--detach"], "--detach needs a cluster"),
        (["--", "\udcff"], "not valid text"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_wrong_usage(submit: Cli, folder: Path, args: list[str], said: str) -> None:
    answer = submit(program(folder, WRITES), *args)
    assert answer.code == 2
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert answer.out == ""


@pytest.mark.parametrize("found", ["missing", "empty", "without"])
def test_a_folder_that_is_no_program(submit: Cli, folder: Path, found: str) -> None:
    if found != "missing":
        (folder / found).mkdir()
    if found == "without":
        (folder / found / "other.py").touch()
    answer = submit(found)
    assert answer.code == 2
    assert found in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_a_used_process_id(submit: Cli, folder: Path) -> None:
    place = program(folder, WRITES)
    assert submit(place, "-n", "1", "--process-id", "s-used").code == 0
    answer = submit(place, "-n", "1", "--process-id", "s-used")
    assert answer.code == 2
    assert "discomputify clear s-used" in answer.err


def test_outputs_are_not_mixed_with_something_else(submit: Cli, folder: Path) -> None:
    (folder / "s-mixed").mkdir()
    (folder / "s-mixed/mine.txt").touch()
    answer = submit(program(folder, WRITES), "-n", "1", "--process-id", "s-mixed")
    assert answer.code == 2
    assert "another process id" in answer.err


def test_without_a_conf_it_runs_here_and_leaves_nothing(
    cli: Cli, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    answer = cli("submit", program(folder, WRITES), "-n", "2", "--process-id", "s-here")
    assert answer.code == 0, answer
    assert answer.err.startswith("no conf found: running on this machine only\n")
    assert (folder / "s-here/s-here_2_2/n").exists()
    assert list(temporary.iterdir()) == []
    answer = cli("submit", program(folder, WRITES), "--detach")
    assert (answer.code, "--detach needs a cluster" in answer.err) == (2, True)


def test_a_full_disk_here_does_not_claim_that_an_embedded_job_goes_on(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from discomputify_core.client.client import Client
    from discomputify_core.errors import DiskError

    async def full(*about: Any, **more: Any) -> None:
        raise DiskError("the disk is full: /here", path="/here")

    monkeypatch.setattr(Client, "fetch", full)
    answer = cli("submit", program(folder, WRITES), "--local", "1", "-n", "1")
    assert answer.code == 2
    assert "error: the disk is full: /here" in answer.err
    assert "goes on" not in answer.err


@pytest.mark.skipif(sys.platform == "win32", reason="a signal ends the whole process there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_work_in_order_and_a_second_one_does_not_disturb_that(number: int) -> None:
    ended: list[str] = []

    async def work() -> int:
        other = asyncio.ensure_future(asyncio.get_running_loop().create_future())
        try:
            os.kill(os.getpid(), number)
            await asyncio.get_running_loop().create_future()
        finally:
            os.kill(os.getpid(), number)
            for _ in range(5):
                await asyncio.sleep(0)
            ended.append("cancelled" if other.cancelled() else "in order")
        return 0

    with pytest.raises((asyncio.CancelledError, KeyboardInterrupt)):
        asyncio.run(until_terminated(work()))
    assert ended == ["in order"]


@pytest.mark.parametrize("option", ["--after", "--after-any", "--inputs-from"])
def test_this_machine_alone_knows_no_other_jobs(cli: Cli, folder: Path, option: str) -> None:
    answer = cli("submit", program(folder, WRITES), "--local", "1", option, "other")
    assert answer.code == 2
    assert f"{option} needs a cluster" in answer.err
