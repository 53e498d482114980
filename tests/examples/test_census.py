"""The stdlib_census example: the counts of its parts, added up, are those of one process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RunByHand = Callable[[Path, Path, Path, str, int], None]


def script(examples: Path, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", str(examples / "stdlib_census" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """What prepare.py makes, of small files only, and one that is no Python."""
    folder = tmp_path_factory.mktemp("census") / "INPUT_PATH"
    done = script(examples, "prepare.py", "--largest", "2", "--into", folder)
    assert done.returncode == 0, done.stderr
    (folder / "wrong.py").write_bytes(b"def (:\n    '''never closed\n")
    with (folder / "files.txt").open("a", encoding="utf-8", newline="\n") as listing:
        listing.write("wrong.py\n")
    return folder


def test_parts_added_up_are_the_serial_counts(
    examples: Path, inputs: Path, run_by_hand: RunByHand, tmp_path: Path
) -> None:
    run_by_hand(examples / "stdlib_census", inputs, tmp_path, "census", 4)
    merged = answer(script(examples, "merge.py", tmp_path / "census", "--json"))
    assert merged == answer(script(examples, "census.py", inputs, "--json"))
    assert merged["files"] == len((inputs / "files.txt").read_text(encoding="utf-8").splitlines())
    assert "wrong.py" in merged["not_tokenised"]
    assert merged["keywords"]["def"] > 0


def test_counts_are_right_for_a_file_that_can_be_counted_by_hand(examples: Path, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"if x:\n    return  # why\n")
    (tmp_path / "files.txt").write_text("a.py\n", encoding="utf-8")
    counts = answer(script(examples, "census.py", tmp_path, "--json"))
    assert (counts["files"], counts["lines"], counts["bytes"]) == (1, 2, 24)
    assert counts["keywords"] == {"if": 1, "return": 1}
    assert counts["tokens"]["NAME"] == 3
    assert counts["tokens"]["COMMENT"] == 1


def test_prepare_replaces_its_own_copy_and_spares_other_folders(examples: Path, inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    refused = script(examples, "prepare.py", "--largest", "1", "--into", tmp_path)
    assert refused.returncode == 1
    assert str(tmp_path) in refused.stderr
    assert (tmp_path / "precious.txt").read_text(encoding="utf-8") == "mine"
    again = tmp_path / "again"
    for _ in range(2):
        assert script(examples, "prepare.py", "--largest", "1", "--into", again).returncode == 0


def test_merge_names_a_missing_part(examples: Path, tmp_path: Path) -> None:
    part = tmp_path / "census_1_2"
    part.mkdir()
    empty = {"files": 0, "bytes": 0, "lines": 0, "tokens": {}, "keywords": {}, "not_tokenised": []}
    (part / "counts.json").write_text(json.dumps(empty), encoding="utf-8")
    done = script(examples, "merge.py", tmp_path)
    assert done.returncode == 1
    assert "parts [2]" in done.stderr


def test_the_table_shows_the_same_numbers(examples: Path, inputs: Path) -> None:
    counts = answer(script(examples, "census.py", inputs, "--json"))
    table = script(examples, "census.py", inputs).stdout
    assert f"{counts['files']:,}  files" in table
    assert f"{sum(counts['tokens'].values()):,}  tokens" in table
