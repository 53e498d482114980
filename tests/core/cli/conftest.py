"""A command line for tests: run in this process, in an empty folder, without the user's own conf."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from discomputify_core.cli.main import main


@attrs.frozen
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """stdout as JSON."""
        return json.loads(self.out)


Cli = Callable[..., Answer]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: empty, and no conf anywhere else."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in (
        "HOME",
        "USERPROFILE",
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "XDG_STATE_HOME",
        "LOCALAPPDATA",
        "APPDATA",
    ):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    for name in ("DISCOMPUTIFY_CONF", "DISCOMPUTIFY_TRACEBACK", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return here


@pytest.fixture
def cli(folder: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs ``discomputify ARGS…`` in the empty folder."""

    def run(*args: str) -> Answer:
        capsys.readouterr()
        code = main(args)
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return run
