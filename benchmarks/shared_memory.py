"""Shared memory beside Redis (redis-py, loopback) and multiprocessing.Manager, in the same run.

    python benchmarks/shared_memory.py [--count N] [--megabytes N] [--rounds N] [--repeat N] [--json]

What is measured is the same for all: processes set, get and increment values of 100 bytes, hand over an array, and
meet. discomputify runs as a real cluster: a process each for store, shared memory, master and nodes; a program speaks
through its node, encrypted from there on. Redis needs the program redis-server and `pip install redis`; without
them its lines are left out with a note.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _bench import machine
from _cluster import Processes, free_ports

PROGRAM = """
import json, os, sys, time
import numpy as np
import psutil
from discomputify_core import program

what, count = sys.argv[4], int(sys.argv[5])
memory = program.memory()
part = program.part()
value = b"v" * 100


def timed(action):
    memory.barrier("before")
    begin = time.time()
    for number in range(count):
        action(number)
    return begin, time.time()


found = {}
if what == "values":
    found["set"] = timed(lambda n: memory.set(f"{part}-{n % 100}", value))
    found["get"] = timed(lambda n: memory[f"{part}-{n % 100}"])
    found["increment"] = timed(lambda n: memory.increment("count"))
elif what == "meet":
    array = np.ones(1000)
    found["barrier"] = timed(lambda n: memory.barrier("b"))
    found["reduce"] = timed(lambda n: memory.reduce("r", array))
elif what == "array":
    giver = part == 1
    array = np.random.default_rng(1).random(count * 125_000) if giver else None
    before = psutil.Process().memory_full_info()
    memory.barrier("ready")
    begin = time.time()
    if giver:
        memory["array"] = array
    given = time.time()
    if not giver:
        array = memory.get("array", wait=60)
        total = float(array[::512].sum())  # touches every page
    end = time.time()
    after = psutil.Process().memory_full_info()
    found = {"giver": giver, "begin": begin, "given": given, "end": end,
             "uss": after.uss - before.uss, "pss": after.pss - before.pss, "rss": after.rss - before.rss}
    memory.barrier("over")
with program.open("result.json", "w") as out:
    json.dump(found, out)
"""

Spans = dict[str, tuple[float, float]]


def span(of_parts: list[Spans], name: str) -> float:
    """Seconds from when the first began until the last had ended."""
    return max(each[name][1] for each in of_parts) - min(each[name][0] for each in of_parts)


# --- peers: each gives a process its way to shared values ------------------------------------------------------------


class Peer:
    """What a worker process needs of a peer; made in the worker."""

    def set(self, name: str, value: bytes) -> None:
        """Set a value."""
        raise NotImplementedError

    def get(self, name: str) -> Any:
        """Read a value."""
        raise NotImplementedError

    def increment(self) -> None:
        """Add 1 to the counter that all share."""
        raise NotImplementedError

    def meet(self, number: int, parts: int) -> None:
        """Wait until all *parts* have come for the *number*-th time."""
        raise NotImplementedError

    def add_up(self, number: int, part: int, parts: int, array: Any) -> Any:
        """The sum of everybody's array."""
        self.set(f"sum-{number}-{part}", array.tobytes())
        self.meet(1_000_000 + number, parts)
        return sum(np.frombuffer(self.get(f"sum-{number}-{each}")) for each in range(1, parts + 1))


class Redis(Peer):
    """redis-py over loopback."""

    def __init__(self, port: int) -> None:
        import redis

        self.line = redis.Redis(port=port)

    def set(self, name: str, value: bytes) -> None:
        """See Peer."""
        self.line.set(name, value)

    def get(self, name: str) -> Any:
        """See Peer."""
        return self.line.get(name)

    def increment(self) -> None:
        """See Peer."""
        self.line.incr("count")

    def meet(self, number: int, parts: int) -> None:
        """See Peer: the last to come lets the others go."""
        if self.line.incr(f"came-{number}") == parts:
            self.line.rpush(f"go-{number}", *([1] * parts))
        self.line.blpop([f"go-{number}"], timeout=60)


def emptied(port: int) -> int:
    """The port of a Redis server that holds nothing any more."""
    Redis(port).line.flushall()
    return port


class Managed(Peer):
    """A dict, a lock and a barrier of multiprocessing.Manager."""

    def __init__(self, shared: tuple[Any, Any, Any]) -> None:
        self.values, self.lock, self.barrier = shared

    def set(self, name: str, value: bytes) -> None:
        """See Peer."""
        self.values[name] = value

    def get(self, name: str) -> Any:
        """See Peer."""
        return self.values[name]

    def increment(self) -> None:
        """See Peer."""
        with self.lock:
            self.values["count"] = self.values.get("count", 0) + 1

    def meet(self, number: int, parts: int) -> None:
        """See Peer."""
        self.barrier.wait(60)


def worker(make: Callable[[Any], Peer], how: Any, what: str, part: int, parts: int, count: int, out: Any) -> None:
    """One process of a peer."""
    peer = make(how)
    value = b"v" * 100
    found: dict[str, Any] = {}

    def timed(name: str, at: int, action: Callable[[int], object]) -> None:
        peer.meet(2_000_000 + at, parts)
        begin = time.time()
        for number in range(count):
            action(number)
        found[name] = (begin, time.time())

    if what == "values":
        timed("set", 1, lambda n: peer.set(f"{part}-{n % 100}", value))
        timed("get", 2, lambda n: peer.get(f"{part}-{n % 100}"))
        timed("increment", 3, lambda n: peer.increment())
    elif what == "meet":
        array = np.ones(1000)
        timed("barrier", 1, lambda n: peer.meet(n, parts))
        timed("reduce", 2, lambda n: peer.add_up(n, part, parts, array))
    else:
        giver = part == 1
        array = np.random.default_rng(1).random(count * 125_000 if giver else 0)
        before = psutil.Process().memory_full_info()
        peer.meet(1, parts)
        begin = time.time()
        if giver:
            peer.set("array", array.tobytes())
        given = time.time()
        peer.meet(2, parts)
        if not giver:
            array = np.frombuffer(peer.get("array"))
            float(array[::512].sum())
        end = time.time()
        after = psutil.Process().memory_full_info()
        found = {"giver": giver, "begin": begin, "given": given, "end": end}
        found.update({name: getattr(after, name) - getattr(before, name) for name in ("uss", "pss", "rss")})
    out.put((part, found))


def workers(make: Callable[[Any], Peer], how: Any, what: str, parts: int, count: int) -> list[Any]:
    """What *parts* processes of a peer found, in their order."""
    context = multiprocessing.get_context("spawn")
    out = context.SimpleQueue()
    running = [
        context.Process(target=worker, args=(make, how, what, part, parts, count, out)) for part in range(1, parts + 1)
    ]
    for each in running:
        each.start()
    found = dict(out.get() for _ in running)
    for each in running:
        each.join(60)
    return [found[part] for part in range(1, parts + 1)]


@contextmanager
def redis_server(folder: Path) -> Iterator[tuple[int, int] | None]:
    """Port and process of a Redis server of our own; None, with a note, where there is none."""
    try:
        import redis
    except ImportError:
        print("redis-py is not installed: no lines of Redis (pip install redis)")
        yield None
        return
    program = shutil.which("redis-server")
    if program is None:
        print("redis-server is not installed: no lines of Redis")
        yield None
        return
    (port,) = free_ports(1)
    line = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen([*line, "--dir", str(folder)], stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port)
        for _ in range(200):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait(15)


# --- what is measured ------------------------------------------------------------------------------------------------


#: (what, parts, count) -> what each process found.
Run = Callable[[str, int, int], list[Any]]


def memory_of(processes: list[int]) -> int:
    """Bytes that *processes* have in memory, each its share of what they share."""
    return sum(psutil.Process(each).memory_full_info().pss for each in processes)


class Bench:
    """The systems side by side. ``systems``: name -> (what, parts, count) -> what each process found."""

    def __init__(self, folder: Path, repeat: int) -> None:
        self.folder, self.repeat = folder, repeat
        self.tables: dict[str, dict[str, dict[str, float]]] = {}
        self.program = folder / "program"
        self.program.mkdir()
        (self.program / "main.py").write_text(PROGRAM, encoding="utf-8")

    def values(self, systems: dict[str, Run], parts: int, count: int) -> None:
        """Operations per second."""
        table = self.tables.setdefault(f"{count} values of 100 bytes, {parts} at once: operations per second", {})
        for name, run in systems.items():
            each: dict[str, list[float]] = {"set": [], "get": [], "increment": []}
            for _ in range(self.repeat):
                found = run("values", parts, count // parts)
                for operation, rates in each.items():
                    rates.append(count // parts * parts / span(found, operation))
            table[name] = {operation: statistics.median(rates) for operation, rates in each.items()}

    def meet(self, systems: dict[str, Run], parts: int, count: int) -> None:
        """Rounds per second."""
        table = self.tables.setdefault(f"{parts} parts meet: rounds per second", {})
        for name, run in systems.items():
            each: dict[str, list[float]] = {"barrier": [], "reduce": []}
            for _ in range(self.repeat):
                found = run("meet", parts, count)
                for operation, rates in each.items():
                    rates.append(count / span(found, operation))
            table[name] = {operation: statistics.median(rates) for operation, rates in each.items()}

    def array(self, systems: dict[str, Run], servers: dict[str, list[int]], megabytes: int, takers: int) -> None:
        """Hand-overs per second, and the memory that all processes together have more than before, in MB.

        Of shared pages every process counts its share (PSS), so that one copy that all map counts once.
        """
        title = f"a float64 array of {megabytes} MB from one to {takers}: per second; MB used more by all together"
        table = self.tables.setdefault(title, {})
        for name, run in systems.items():
            rates, more = [], []
            for _ in range(self.repeat):
                before = memory_of(servers[name])
                giver, *others = run("array", 1 + takers, megabytes)
                rates.append(1 / (max(each["end"] for each in others) - giver["begin"]))
                own = sum(each["pss"] for each in (giver, *others))
                more.append((own + max(0, memory_of(servers[name]) - before)) / 1e6)
            table[name] = {"hand-over": statistics.median(rates), "MB": statistics.median(more)}

    def show(self) -> str:
        """All tables; the last column compares the first measure with Redis, or the second system."""
        lines = [machine()]
        for title, table in self.tables.items():
            names = list(next(iter(table.values())))
            lines += ["", title, f"  {'':<36}" + "".join(f"{name:>20}" for name in names) + f"{'ratio to redis':>24}"]
            peer = next((row for system, row in table.items() if "redis" in system), None)
            for system, row in table.items():
                compared = [name for name in names if "MB" not in name]
                ratios = " ".join(f"{row[name] / peer[name]:.2f}x" for name in compared) if peer else ""
                lines.append(f"  {system:<36}" + "".join(f"{row[name]:>20,.1f}" for name in names) + f"{ratios:>24}")
        return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure shared memory beside Redis and multiprocessing.Manager.")
    parser.add_argument("--count", type=int, default=10_000, help="operations of each kind")
    parser.add_argument("--megabytes", type=int, default=100, help="size of the array")
    parser.add_argument("--rounds", type=int, default=200, help="rounds of barrier and reduce")
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the median is shown")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name)) as redis, multiprocessing.Manager() as manager:
        bench = Bench(Path(name), args.repeat)
        with Processes(Path(name) / "one", 1, 32) as one, Processes(Path(name) / "two", 2, 1) as two:
            systems: dict[str, Run] = {
                "discomputify": lambda what, parts, count: one.job(bench.program, parts, what, count)
            }
            servers = {"discomputify": one.pids, "discomputify, two nodes": two.pids}
            if redis is not None:
                port, pid = redis
                systems["redis-py"] = lambda what, parts, count: workers(Redis, emptied(port), what, parts, count)
                servers["redis-py"] = [pid]
            systems["multiprocessing.Manager"] = lambda what, parts, count: workers(
                Managed, shared(manager, parts), what, parts, count
            )
            servers["multiprocessing.Manager"] = [each.pid for each in multiprocessing.active_children() if each.pid]
            bench.values(systems, 1, args.count)
            bench.values(systems, 8, args.count)
            for parts in (2, 8, 32):
                bench.meet(systems, parts, args.rounds)
            bench.array(systems, servers, args.megabytes, 3)
            two_nodes: dict[str, Run] = {
                "discomputify, two nodes": lambda what, parts, count: two.job(bench.program, parts, what, count)
            }
            bench.array({**systems, **two_nodes}, servers, args.megabytes, 1)
        print(json.dumps(bench.tables, indent=1) if args.json else bench.show())


def shared(manager: SyncManager, parts: int) -> tuple[Any, Any, Any]:
    """What the processes of one run share by the manager."""
    return manager.dict(), manager.Lock(), manager.Barrier(parts)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
