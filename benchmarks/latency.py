"""How long one small part takes, from asking for it to its output on the disk (W2, W2c).

    python benchmarks/latency.py [--repeat N] [--json]

On a warm cluster (store, master and a node as processes of their own, the program known to all): through the API of one
client that stays connected, and through the command line. And from nothing at all: `discomputify submit` with a cluster
of its own. Beside it: the same program as a bare process; a task in a process of joblib's, and of Dask's and Ray's warm
and from nothing, where these are installed.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _bench import DEADLINE, Row, command, machine, submit, table, timed
from _cluster import Processes

from discomputify_core import BlockingClient

PROGRAM = """\
import os
with open(os.environ["DISCOMPUTIFY_OUTPUT_PATH"] + "/out.txt", "w") as out:
    out.write("done")
"""
#: A first result from nothing, as a script of its own.
FROM_NOTHING = {
    "dask": """\
from distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.submit(int, 1).result()
""",
    "ray": """\
import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
ray.get(ray.remote(lambda: 1).remote())
ray.shutdown()
""",
}
WARM_UP = 2


def median(action: Callable[[int], object], repeat: int) -> float:
    """Seconds that *action* takes once it has been done :data:`WARM_UP` times."""
    taken = []
    for run in range(WARM_UP + repeat):
        begin = time.perf_counter()
        action(run)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken[WARM_UP:])


class Latency:
    """The measurements, in a temporary folder."""

    def __init__(self, folder: Path, repeat: int) -> None:
        self.folder, self.repeat = folder, repeat
        self.program = folder / "program"
        self.program.mkdir()
        (self.program / "main.py").write_text(PROGRAM, encoding="utf-8")

    def warm(self) -> list[Row]:
        """One part at a time on a cluster that is there."""
        with Processes(self.folder / "cluster", nodes=1, slots=2) as cluster:
            conf = cluster.conf("client")
            with BlockingClient(conf) as client:
                api = median(lambda run: self._by_api(client, f"api-{run}"), self.repeat)
            line = median(lambda run: self._by_command(conf, f"cli-{run}"), self.repeat)
        rows = [
            Row("bare: the same program as a process", timed(lambda _: self._bare(), self.repeat), 1),
            Row("discomputify, API", api, 1),
            Row("discomputify, command line", line, 1),
        ]
        return rows + [Row(f"{name}, warm", taken, 1) for name, taken in peers(self.folder, self.repeat).items()]

    def from_nothing(self) -> list[Row]:
        """The first result, nothing running before."""

        def ours(run: int) -> None:
            submit(self.program, self.folder / f"cold-{run}", f"cold-{run}", parts=1, slots=2)

        rows = [Row("discomputify submit, a cluster of its own", timed(ours, self.repeat), 1)]
        for name, source in FROM_NOTHING.items():
            if not installed(name):
                continue
            script = self.folder / f"{name}_from_nothing.py"
            script.write_text(source, encoding="utf-8")
            rows.append(Row(f"{name}, from nothing", timed(functools.partial(_python, script), self.repeat), 1))
        return rows

    def _by_api(self, client: BlockingClient, process_id: str) -> None:
        client.submit(self.program, parts=1, process_id=process_id)
        client.wait(process_id, timeout=DEADLINE)
        client.fetch(process_id, self.folder / "api")
        self._check(self.folder / "api", process_id)

    def _by_command(self, conf: Path, process_id: str) -> None:
        out = self.folder / "line"
        options = ["submit", str(self.program), "-n", "1", "--process-id", process_id, "--out", str(out), "--json"]
        subprocess.run([command(), "--conf", str(conf), *options], check=True, capture_output=True, timeout=DEADLINE)
        self._check(out, process_id)

    def _check(self, out: Path, process_id: str) -> None:
        found = (out / process_id / f"{process_id}_1_1" / "out.txt").read_text(encoding="utf-8")
        if found != "done":
            sys.exit(f"{process_id} brought {found!r}")

    def _bare(self) -> None:
        out = self.folder / "bare"
        out.mkdir(exist_ok=True)
        environment = {"DISCOMPUTIFY_OUTPUT_PATH": str(out)}
        subprocess.run([sys.executable, str(self.program / "main.py")], env=environment, check=True, timeout=60)


def installed(name: str) -> bool:
    """Whether a peer is there; says so if it is not."""
    package = {"dask": "distributed"}.get(name, name)
    if importlib.util.find_spec(package):
        return True
    print(f"{name} is not installed and left out", file=sys.stderr)
    return False


def peers(folder: Path, repeat: int) -> dict[str, float]:
    """Seconds of one task that writes a file, by warm peer."""
    path = str(folder / "peer.txt")
    taken: dict[str, float] = {}
    if installed("joblib"):
        joblib = importlib.import_module("joblib")
        pool = joblib.Parallel(n_jobs=2)
        with pool:
            taken["joblib"] = median(lambda _: pool([joblib.delayed(write)(path)]), repeat)
    if installed("dask"):
        distributed = importlib.import_module("distributed")
        options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
        with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
            taken["dask"] = median(lambda _: client.submit(write, path, pure=False).result(), repeat)
    if installed("ray"):
        ray = importlib.import_module("ray")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        remote = ray.remote(write)
        taken["ray"] = median(lambda _: ray.get(remote.remote(path)), repeat)
        ray.shutdown()
    return taken


def write(path: str) -> None:
    """What a peer's task does."""
    Path(path).write_text("done", encoding="utf-8")


def _python(script: Path, run: int) -> None:
    """Run *script*; the number of the *run* is of no interest."""
    subprocess.run([sys.executable, str(script)], check=True, capture_output=True, timeout=DEADLINE)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how long one small part takes.")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each; the median counts (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="discomputify-bench-"))
    try:
        latency = Latency(folder, args.repeat)
        warm, cold = latency.warm(), latency.from_nothing()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if args.json:
        rows = {"warm": warm, "from_nothing": cold}
        data = {name: [row.to_data() for row in each] for name, each in rows.items()}
        print(json.dumps({"machine": machine(), **data}, indent=1))
        return
    print(machine())
    print("\n" + table("one part on a warm cluster", "parts/s", warm))
    print("\n" + table("the first result, nothing running before", "parts/s", cold))


if __name__ == "__main__":
    main()
