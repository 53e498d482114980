"""What all benchmarks share: submitting through the command line, timing, tables, facts of the machine.

Not here: what is measured, which each script beside this file says for itself.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

#: Seconds that one run may take.
DEADLINE = 600.0
MIB = 1024 * 1024


@dataclass(frozen=True)
class Row:
    """One line of a table: what ran, how long it took (seconds, the median), how much it moved or did."""

    name: str
    seconds: float
    amount: float

    @property
    def rate(self) -> float:
        """How much per second; not a number where the time, after a subtraction, is lost in noise."""
        return self.amount / self.seconds if self.seconds > 0 else math.nan

    def to_data(self) -> dict[str, str | float | None]:
        """The row as JSON can hold it."""
        rate = None if math.isnan(self.rate) else self.rate
        return {"name": self.name, "seconds": self.seconds, "per_second": rate}


def command() -> str:
    """The command line of the environment of this Python; ends this process where there is none."""
    found = shutil.which("discomputify", path=str(Path(sys.executable).parent))
    if found is None:
        sys.exit(f"There is no command 'discomputify' beside {sys.executable}: install the distributions there first.")
    return found


def submit(program: Path, out: Path, process_id: str, *, parts: int, slots: int) -> dict[str, Any]:
    """Run *program* on a fresh embedded cluster through the command line; the status object that it printed.

    Ends this process with what the command said if the job failed.
    """
    options = ["--local", str(slots), "-n", str(parts), "--process-id", process_id, "--out", str(out), "--json"]
    done = subprocess.run(
        [command(), "submit", str(program), *options], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    if done.returncode != 0:
        sys.exit(f"submit ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    status: dict[str, Any] = json.loads(done.stdout)
    return status


def timed(action: Callable[[int], object], repeat: int) -> float:
    """Seconds that *action* takes: the median of *repeat* runs. It gets the number of the run, from 0."""
    taken = []
    for run in range(repeat):
        begin = time.perf_counter()
        action(run)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def table(title: str, unit: str, rows: Sequence[Row]) -> str:
    """*rows* as text; the last column compares each with the first row. "nan" means: too short to measure."""
    first = rows[0].rate
    lines = [title, f"  {'':<44}{'seconds':>10}{unit:>14}{'ratio':>9}"]
    lines += [f"  {row.name:<44}{row.seconds:>10.3f}{row.rate:>14,.1f}{row.rate / first:>8.2f}x" for row in rows]
    return "\n".join(lines)


def machine() -> str:
    """Versions and machine, in one paragraph: numbers mean nothing without them."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    ours = sorted(
        f"{found.metadata['Name']} {found.version}"
        for found in metadata.distributions()
        if (found.metadata["Name"] or "").startswith("discomputify-")
    )
    return (
        f"{platform.platform()}, {platform.machine()}, {usable} CPUs, "
        f"{platform.python_implementation()} {platform.python_version()}\n{', '.join(dict.fromkeys(ours))}"
    )
