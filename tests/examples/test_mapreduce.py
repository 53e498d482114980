"""The mapreduce example: two jobs, one after the other on a cluster of three nodes, count what one process counts."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from discomputify_core import Client, LocalCluster


def script(examples: Path, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", str(examples / "mapreduce" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def mapreduce(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """The program directory with its inputs."""
    folder = tmp_path_factory.mktemp("mapreduce") / "mapreduce"
    folder.mkdir()
    for path in (examples / "mapreduce").glob("*.py"):
        (folder / path.name).write_bytes(path.read_bytes())
    assert script(examples, "prepare.py", "--into", folder / "INPUT_PATH").returncode == 0
    return folder


def test_two_jobs_count_what_one_process_counts(examples: Path, mapreduce: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with LocalCluster(1, nodes=3) as conf, Client(conf) as client:
            first = await client.submit(mapreduce, 6, process_id="words", args=["map", "4"])
            second = await client.submit(
                mapreduce,
                4,
                process_id="totals",
                inputs_from=first,
                inputs="INPUT_PATH/words/*/{part}.json",
                args=["reduce"],
            )
            assert second.upload.blobs_sent == 0
            ended = await client.wait("totals", 60)
            assert ended.parts.done == 4, ended.reason
            assert len((await client.status("words")).nodes) > 1
            await client.fetch("totals", tmp_path)

    asyncio.run(asyncio.wait_for(main(), 90))
    found = answer(script(examples, "merge.py", tmp_path / "totals", "--json"))
    assert found == answer(script(examples, "merge.py", "--serial", mapreduce / "INPUT_PATH", "--json"))
    assert next(iter(found)) == "the"


def test_counts_are_right_for_a_text_that_can_be_counted_by_hand(examples: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("It's 2 words; it's the_same. The END", encoding="utf-8")
    (tmp_path / "texts.txt").write_text("a.txt\n", encoding="utf-8")
    counts = answer(script(examples, "merge.py", "--serial", tmp_path, "--json"))
    assert counts == {"it's": 2, "the": 2, "end": 1, "same": 1, "words": 1}
    shown = script(examples, "merge.py", "--serial", tmp_path).stdout
    assert "7  words, 5 different ones" in shown


def test_merge_names_a_missing_part(examples: Path, tmp_path: Path) -> None:
    (tmp_path / "totals_1_2").mkdir()
    (tmp_path / "totals_1_2" / "counts.json").write_text(json.dumps(Counter("a")), encoding="utf-8")
    done = script(examples, "merge.py", tmp_path)
    assert done.returncode == 1
    assert "parts [2]" in done.stderr


def test_prepare_replaces_its_own_texts_and_spares_other_folders(examples: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    refused = script(examples, "prepare.py", "--into", tmp_path)
    assert refused.returncode == 1
    assert (tmp_path / "precious.txt").read_text(encoding="utf-8") == "mine"
    for _ in range(2):
        assert script(examples, "prepare.py", "--into", tmp_path / "again").returncode == 0


def test_a_part_that_is_not_told_which_job_it_is_says_so(examples: Path) -> None:
    done = script(examples, "main.py", "1", "1", "x")
    assert done.returncode == 1
    assert "-- map REDUCERS" in done.stderr
