"""UTILITY and its exceptions in a process that looks like a part: what old programs call, and what they catch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from DISCOMPUTIFY.BASE_PROGRAM import base_program
from DISCOMPUTIFY.BASE_PROGRAM.base_program import (
    UTILITY,
    CanNotGoUpInDirectory,
    CanNotOpenFileAtOutputPath,
    FileNotFound,
    FileNotFoundAtInputPath,
    UtilityClassNotInitialized,
)
from DISCOMPUTIFY.defaults import default_conf
from discomputify_core import errors
from discomputify_core.model.conf import Conf, Seconds
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobSpec
from discomputify_core.roles.node.part_conf import part_conf

ARGV = ["main.py", "2", "3", "job"]


@pytest.fixture(autouse=True)
def untold() -> Iterator[None]:
    """UTILITY as a new process finds it, before and after."""

    def forget() -> None:
        UTILITY.CONF = None
        for name in ("PART", "TOTAL_PARTS", "PROGRAM_NAME_PROCESS_ID"):
            if hasattr(UTILITY, name):
                delattr(UTILITY, name)

    forget()
    yield
    forget()


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The work folder of part 2 of 3, which this process is in."""
    for name in ("INPUT_PATH", "OUTPUT_PATH"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"DISCOMPUTIFY_{name}", str(tmp_path / name))
    (tmp_path / "INPUT_PATH" / "a.txt").write_text("an input", encoding="utf-8")
    known = {"WORK_PATH": str(tmp_path), "PART": "2", "TOTAL_PARTS": "3", "PROCESS_ID": "job", "INPUTS": "all"}
    for name, value in known.items():
        monkeypatch.setenv(f"DISCOMPUTIFY_{name}", value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_part_knows_itself_and_its_files(part: Path) -> None:
    assert not UTILITY.initialized()
    UTILITY.set_params(ARGV)
    assert UTILITY.initialized()
    assert (UTILITY.part(), UTILITY.total_parts()) == (2, 3)
    assert UTILITY.PROGRAM_NAME_PROCESS_ID == "job"
    with UTILITY.open_file("a.txt", "r") as file:
        assert file.read() == "an input"
    with UTILITY.open_file("deep/b.txt", "w") as file:
        file.write("one ")
    with UTILITY.open_file("deep/b.txt", "a") as file:
        file.write("two")
    with UTILITY().read_from_output("deep/b.txt") as file:
        assert file.read() == "one two"
    with UTILITY.open_file("c.bin", "wb") as file:
        file.write(b"\0")
    assert (part / "OUTPUT_PATH/c.bin").read_bytes() == b"\0"
    with UTILITY.open_file("a.txt", "rb") as file:
        assert file.read() == b"an input"


def test_further_arguments_of_the_program_are_its_own(part: Path) -> None:
    UTILITY.set_params([*ARGV, "--mine"])
    assert UTILITY.part() == 2


def test_reading_decides_before_writing_and_inputs_stay_as_they_are(part: Path) -> None:
    UTILITY.set_params(ARGV)
    with UTILITY.open_file("a.txt", "r+") as file:
        assert file.read() == "an input"
        with pytest.raises(OSError, match="not writable"):
            file.write("x")
    with pytest.raises(FileNotFoundAtInputPath):
        UTILITY.open_file("new.txt", "r+")


def test_use_before_initialisation(part: Path) -> None:
    for use in (
        UTILITY.part,
        UTILITY.total_parts,
        lambda: UTILITY.open_file("a.txt", "r"),
        lambda: UTILITY().read_from_output("a.txt"),
    ):
        with pytest.raises(UtilityClassNotInitialized, match=r"set_params\(sys.argv\)"):
            use()
    UTILITY.load_conf()
    assert UTILITY.initialized()
    UTILITY.open_file("a.txt", "r").close()
    with pytest.raises(UtilityClassNotInitialized):
        UTILITY.part()
    UTILITY.set_params(ARGV)
    assert UTILITY.part() == 2


@pytest.mark.parametrize(
    "argv", [[], ["main.py", "2", "3"], ["main.py", "x", "3", "job"], ["main.py", "1", "3", "job"]]
)
def test_parameters_that_are_not_those_of_this_part(part: Path, argv: list[str]) -> None:
    with pytest.raises(errors.ProgramError, match=r"UTILITY\.set_params"):
        UTILITY.set_params(argv)
    assert not UTILITY.initialized()


def test_outside_of_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DISCOMPUTIFY_"):
            monkeypatch.delenv(name)
    with pytest.raises(errors.NotInAPart, match="--local"):
        UTILITY.set_params(ARGV)


def test_paths_stay_inside(part: Path) -> None:
    UTILITY.set_params(ARGV)
    for mode in ("r", "w", "a"):
        for path in ("../a.txt", "deep/../../a.txt", str(part / "a.txt")):
            with pytest.raises(CanNotGoUpInDirectory):
                UTILITY.open_file(path, mode)
    with pytest.raises(CanNotGoUpInDirectory):
        UTILITY().read_from_output("../main.py")


def test_missing_files(part: Path) -> None:
    UTILITY.set_params(ARGV)
    with pytest.raises(FileNotFoundAtInputPath, match=r"no input 'b\.txt'"):
        UTILITY.open_file("b.txt", "r")
    with pytest.raises(CanNotOpenFileAtOutputPath, match=r"no output 'b\.txt'") as raised:
        UTILITY().read_from_output("b.txt")
    assert isinstance(raised.value, FileNotFound)
    assert type(raised.value).__name__ == "NoSuchOutput"  # as the reason of a failed part shows it
    (part / "OUTPUT_PATH/folder").mkdir()
    with pytest.raises(CanNotOpenFileAtOutputPath):
        UTILITY.open_file("folder", "w")


def test_the_conf_of_a_part(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    UTILITY.load_conf()
    assert default_conf() == UTILITY.CONF  # no file there
    (part / "discomputify_conf.json").write_bytes(
        part_conf(Conf(timeout=Seconds(7.0)), JobSpec(ProcessId("j"), "k", 1, ""))
    )
    monkeypatch.chdir(part / "INPUT_PATH")  # wherever the program has gone
    UTILITY.load_conf()
    assert {**default_conf(), "TIMEOUT": 7.0} == UTILITY.CONF
    for broken in ("{", "[]"):
        (part / "discomputify_conf.json").write_text(broken, encoding="utf-8")
        with pytest.raises(errors.ProgramError, match=r"discomputify_conf\.json"):
            UTILITY.load_conf()


def test_the_defaults_are_those_of_an_empty_conf() -> None:
    assert default_conf() == json.loads(part_conf(Conf(), JobSpec(ProcessId("j"), "k", 1, "")))


def test_the_exceptions_are_those_of_the_program_api() -> None:
    for name in ("FileNotFound", "CanNotGoUpInDirectory", "FileNotFoundAtInputPath", "CanNotOpenFileAtOutputPath"):
        assert getattr(base_program, name) is getattr(errors, name)
    assert issubclass(UtilityClassNotInitialized, errors.ProgramError)


def test_the_star_brings_what_it_always_brought_and_is_light() -> None:
    program = """
import sys
before = set(sys.modules)
from DISCOMPUTIFY.BASE_PROGRAM.base_program import *
print(json.dumps([time.time() > 0, os.sep, sys.argv[1:], sorted(set(sys.modules) - before)]))
UTILITY, FileNotFound, CanNotGoUpInDirectory, FileNotFoundAtInputPath
CanNotOpenFileAtOutputPath, UtilityClassNotInitialized
"""
    done = subprocess.run([sys.executable, "-c", program, "x"], capture_output=True, text=True, timeout=30, check=True)
    brought, separator, argv, modules = json.loads(done.stdout)
    assert (brought, separator, argv) == (True, os.sep, ["x"])
    heavy = {"asyncio", "attr", "attrs", "cattrs", "click", "msgpack", "pathlib", "psutil", "socket", "typing"}
    assert not heavy.intersection(modules)
