"""A program whose parts say that they are there and wait: tests decide what happens meanwhile."""

from __future__ import annotations

from pathlib import Path

from .cluster_kit import Cluster, Process, program, until

#: Says which attempt of which part it is, and its process, in the folder THERE; goes on once "go" is there, and leaves
#: PART.ATTEMPT as its output.
HELD = """
import os, time
there, me, attempt = (os.environ[name] for name in ("THERE", "DISCOMPUTIFY_PART", "DISCOMPUTIFY_ATTEMPT"))
with open(os.path.join(there, f"part-{me}-{attempt}.new"), "w") as file:
    file.write(str(os.getpid()))
os.rename(file.name, os.path.join(there, f"part-{me}-{attempt}"))
print("part", me, "began", flush=True)
end = time.monotonic() + 100
while not os.path.exists(os.path.join(there, "go")) and time.monotonic() < end:
    time.sleep(0.02)
print("part", me, "ended", flush=True)
with open("OUTPUT_PATH/done", "w") as file:
    file.write(f"{me}.{attempt}")
"""


def hold(cluster: Cluster, there: Path, parts: int, name: str, *options: object, begun: int = 0) -> Process:
    """``submit --json`` of a job of *parts* parts; back when *begun* of them (0: all) have begun and wait."""
    folder = program(there / f"program-{name}", HELD)
    how = ("-n", parts, "--process-id", name, "--env", f"THERE={there}", "--json", *options)
    submit = cluster.spawn("submit", folder, *how)
    until(lambda: len(attempts(there)) == (begun or parts), what=f"parts of {name} have begun")
    return submit


def attempts(there: Path) -> list[str]:
    """All attempts that have begun: ``PART-ATTEMPT``."""
    return sorted(path.name.removeprefix("part-") for path in there.glob("part-*") if path.suffix != ".new")


def go_on(there: Path) -> None:
    """Let all that wait go on, and those that come."""
    (there / "go").touch()


def outputs(cluster: Cluster, name: str, parts: int) -> list[str]:
    """What each part left: PART.ATTEMPT, in the order of parts."""
    home = cluster.here / name
    return [(home / f"{name}_{part}_{parts}" / "done").read_text(encoding="utf-8") for part in range(1, parts + 1)]
