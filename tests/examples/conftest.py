"""Running the examples' parts as plain processes, without a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

#: (example, inputs, out, process id, number of parts) -> None; outputs lie as `discomputify fetch` would lay them.
RunByHand = Callable[[Path, Path, Path, str, int], None]


@pytest.fixture(scope="session")
def examples() -> Path:
    return EXAMPLES


@pytest.fixture(scope="session")
def run_by_hand() -> RunByHand:
    """Run every part of an example, one process each, with the environment that a computing node would give it."""

    def run_all(example: Path, inputs: Path, out: Path, process_id: str, total: int) -> None:
        for part in range(1, total + 1):
            outputs = out / process_id / f"{process_id}_{part}_{total}"
            outputs.mkdir(parents=True)
            facts = {
                "PART": part,
                "TOTAL_PARTS": total,
                "PROCESS_ID": process_id,
                "ATTEMPT": 1,
                "INPUT_PATH": inputs,
                "OUTPUT_PATH": outputs,
                "WORK_PATH": example,
                "INPUTS": "all",
                # Nobody listens there: what a program says of its progress is lost, and it goes on.
                "AGENT": "tcp:127.0.0.1:1",
                "TOKEN": "none",
            }
            environment = os.environ | {f"DISCOMPUTIFY_{name}": str(value) for name, value in facts.items()}
            command = [sys.executable, "-B", "main.py", str(part), str(total), process_id]
            subprocess.run(command, cwd=example, env=environment, check=True, timeout=60)

    return run_all
