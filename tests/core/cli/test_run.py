"""``discomputify run``: roles of this machine as processes."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from discomputify_core.cli import run as module
from discomputify_core.roles.starting import Role
from discomputify_testkit.running import run

Cli = Callable[..., Any]
DEADLINE = 40.0


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts ``discomputify run ARGS…``; ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def begun(folder: Path, *args: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "discomputify_core.cli.main", "run", *args],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begun
    for process in started:
        process.kill()
        process.communicate(timeout=DEADLINE)


def conf(folder: Path, **values: Any) -> None:
    key = "k" * 8 + "0123456789abcdefghijklmn"
    place = folder / "discomputify_conf.json"
    place.touch(0o600)
    place.write_text(
        json.dumps(
            {
                "ENCRYPTION_KEY": key,
                "DECRYPTION_KEY": key,
                "WORK_PATH": str(folder / "work"),
                "CACHE_PATH": str(folder / "cache"),
                **values,
            }
        ),
        encoding="utf-8",
    )


@pytest.mark.parametrize("role", ["nonsense", "master-node", ""])
def test_a_role_that_there_is_not(cli: Cli, folder: Path, role: str) -> None:
    conf(folder)
    answer = cli("run", role)
    assert answer.code == 2
    assert f"There is no role {role!r}" in answer.err
    assert "master_node, computing_node, all" in answer.err


def test_a_machine_without_a_role(cli: Cli, folder: Path) -> None:
    conf(folder, MASTER_NODE="198.51.100.1", FTP_NODE="198.51.100.2", COMPUTING_NODES=["198.51.100.3"])
    answer = cli("run", "all")
    assert answer.code == 2
    assert "gives this machine no role" in answer.err


def test_a_conf_is_needed(cli: Cli, folder: Path) -> None:
    assert cli("run", "master_node").code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_without_a_master_says_so_and_ends_in_order(
    start: Callable[..., "subprocess.Popen[str]"], folder: Path, number: int
) -> None:
    conf(folder, MASTER_PORT=1)
    process = start(folder, "computing_node", "--name", "lonely")
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any("no master at 127.0.0.1:1 yet" in line for line in lines)
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err


def test_roles_are_closed_last_first_and_each_of_them(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[str] = []

    class Fake(Role):
        def __init__(self, name: str) -> None:
            self.name = name

        async def start(self) -> tuple[Any, ...]:
            return ()

        async def close(self) -> None:
            closed.append(self.name)
            if self.name == "second":
                raise ZeroDivisionError("its own trouble")

    run(module._close_all([Fake("first"), Fake("second"), Fake("third")]))
    assert closed == ["third", "second", "first"]
    assert "its own trouble" in caplog.text
