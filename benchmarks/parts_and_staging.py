"""Parts per second and staging bytes per second on the embedded cluster, beside what the machine does without it.

    python benchmarks/parts_and_staging.py [--parts N] [--mib N] [--slots N] [--repeat N] [--json]

Every number of discomputify is what a user waits for: `discomputify submit` as a process of its own. The time of a job
with one part and no files, which is mostly the start of the cluster, is shown and subtracted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from _bench import MIB, Row, machine, submit, table, timed

TRIVIAL = """\
import os
with open(os.environ["DISCOMPUTIFY_OUTPUT_PATH"] + "/out.txt", "w") as out:
    out.write("done")
"""
WRITES_OUTPUT = """\
import os, sys
block = os.urandom(1024 * 1024)
with open(os.environ["DISCOMPUTIFY_OUTPUT_PATH"] + "/big.bin", "wb") as out:
    for _ in range({mib}):
        out.write(block)
"""


class Bench:
    """The measurements, in a temporary folder. Sizes are attributes; results are rows of tables."""

    def __init__(self, folder: Path, parts: int, mib: int, slots: int, repeat: int) -> None:
        self.folder, self.parts, self.mib, self.slots, self.repeat = folder, parts, mib, slots, repeat

    def program(self, name: str, main: str) -> Path:
        """A program directory that holds *main* as main.py."""
        folder = self.folder / name
        (folder / "INPUT_PATH").mkdir(parents=True)
        (folder / "main.py").write_text(main, encoding="utf-8")
        return folder

    def job(self, program: Path, parts: int = 1) -> float:
        """Seconds from the command to its end, outputs fetched."""

        def once(run: int) -> None:
            out = self.folder / f"{program.name}-out-{run}"
            status = submit(program, out, f"{program.name}-{run}", parts=parts, slots=self.slots)
            if status["parts"]["done"] != parts:
                sys.exit(f"{program.name}: {status['parts']['done']} of {parts} parts are done: {status}")
            shutil.rmtree(out)

        return timed(once, self.repeat)

    def run_parts(self, startup: float) -> list[Row]:
        """Trivial parts: through discomputify, and as bare processes and pool tasks."""
        program = self.program("trivial", TRIVIAL)
        outputs = [self.folder / "bare" / str(part) for part in range(self.parts)]
        for each in outputs:
            each.mkdir(parents=True)
        ours = self.job(program, self.parts)
        bare = timed(lambda _: _bare_processes(program, outputs, self.slots), self.repeat)
        pool = timed(lambda _: _pool_tasks(outputs, self.slots), self.repeat)
        net = ours - startup
        return [
            Row("discomputify, start of the cluster subtracted", net, self.parts),
            Row("discomputify, everything", ours, self.parts),
            Row("bare: a thread pool starts the same program", bare, self.parts),
            Row("ProcessPoolExecutor: tasks, no processes", pool, self.parts),
        ]

    def stage(self, startup: float) -> list[Row]:
        """One big file in, one out, and copied by the operating system."""
        reads = self.program("reads", TRIVIAL)
        big = reads / "INPUT_PATH" / "big.bin"
        big.write_bytes(os.urandom(self.mib * MIB))
        inward = self.job(reads) - startup
        writes = self.program("writes", WRITES_OUTPUT.format(mib=self.mib))
        by_hand = timed(lambda _: _bare_processes(writes, [self.folder], 1), self.repeat)
        outward = self.job(writes) - startup - by_hand
        copy = timed(lambda run: shutil.copyfile(big, self.folder / f"copy-{run}"), self.repeat)
        return [
            Row("discomputify, in: client, store, node", inward, self.mib),
            Row("discomputify, out: node, store, client", outward, self.mib),
            Row("copied by the operating system", copy, self.mib),
        ]


def _bare_processes(program: Path, outputs: list[Path], slots: int) -> None:
    def start(output: Path) -> None:
        environment = os.environ | {"DISCOMPUTIFY_OUTPUT_PATH": str(output)}
        subprocess.run([sys.executable, program / "main.py"], env=environment, check=True, timeout=60)

    with ThreadPoolExecutor(slots) as pool:
        list(pool.map(start, outputs))


def _pool_tasks(outputs: list[Path], slots: int) -> None:
    with ProcessPoolExecutor(slots) as pool:
        list(pool.map(_task, outputs))


def _task(output: Path) -> None:
    (output / "out.txt").write_text("done", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure parts per second and staging on the embedded cluster.")
    parser.add_argument("--parts", type=int, default=200, help="parts of the job that counts parts (default 200)")
    parser.add_argument("--mib", type=int, default=256, help="size of the staged file in MiB (default 256)")
    parser.add_argument("--slots", type=int, default=2, help="parts that run at once (default 2)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts (default 3)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="discomputify-bench-") as folder:
        bench = Bench(Path(folder), args.parts, args.mib, args.slots, args.repeat)
        startup = bench.job(bench.program("startup", TRIVIAL))
        parts, staging = bench.run_parts(startup), bench.stage(startup)
    if args.json:
        rows = {"parts_per_second": parts, "staging_mib_per_second": staging}
        data = {name: [row.to_data() for row in each] for name, each in rows.items()}
        print(json.dumps({"machine": machine(), "startup_seconds": startup, **data}, indent=1))
        return
    print(machine())
    print(f"\nA job with one part and no files, start of the cluster included: {startup:.3f} s\n")
    print(table(f"{args.parts} trivial parts, {args.slots} slots", "parts/s", parts))
    print()
    print(table(f"one file of {args.mib} MiB", "MiB/s", staging))


if __name__ == "__main__":
    main()
