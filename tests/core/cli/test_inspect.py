"""Commands that look: nodes and why."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture
def command(cli: Cli, running_cluster: Any) -> Cli:
    """Runs a command on the cluster."""
    return lambda *args: cli("--conf", str(running_cluster.conf), *args)


def test_nodes(command: Cli) -> None:
    (node,) = command("nodes", "--json").json()
    assert (node["name"], node["state"], node["slots"]) == ("local", "live", 2)
    assert set(node["load"]) == {"CPU_LOAD", "MEM_LOAD", "MEM_USED", "paused"}
    assert node["facts"]["packages"] == {}
    (whole,) = command("nodes", "-v", "--json").json()
    assert "attrs" in whole["facts"]["packages"]
    answer = command("nodes", "-v")
    assert "local" in answer.out
    assert "attrs " in answer.out
    assert "2 slots" in answer.out


def test_why(command: Cli, folder: Path) -> None:
    place = folder / "program"
    place.mkdir()
    (place / "main.py").write_text("import sys; sys.exit(int(sys.argv[1]) - 1)", encoding="utf-8")
    assert command("submit", str(place), "-n", "2", "--process-id", "i-why.1", "--json").code == 1
    assert "part 2 failed after 3 attempts" in command("why", "i-why.1").out
    part = command("why", "i-why.1.2", "--json").json()
    assert part["text"].startswith("part 2 failed")
    assert len(part["details"]) == 3
    assert "part 1 is done on local, attempt 1" in command("why", "i-why.1.1").out
    assert command("why", "i-why.1.9").code == 2


def test_why_names_what_no_node_has(command: Cli, folder: Path) -> None:
    place = folder / "program"
    place.mkdir()
    (place / "main.py").touch()
    assert command("submit", str(place), "-n", "1", "--process-id", "i-gpu", "--need", "gpu=1", "--detach").code == 0
    answer = command("why", "i-gpu")
    while "confirm" in answer.out:  # the master asks the store first
        answer = command("why", "i-gpu")
    assert "a part needs 1 gpu, local has none" in answer.out
    assert command("stop", "i-gpu").code == 0
