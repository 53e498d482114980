"""How long a master needs to go on where another one ended: a journal with many parts, read by a fresh process.

``python benchmarks/recovery.py [--parts N]``. The journal is written by the production cluster and writer: one job of N
parts that are all done, and one that is half done. Beside it: the start of a master that has no journal.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _cluster import Processes

from discomputify_core.cluster.machine import Cluster
from discomputify_core.interfaces.transport import Address
from discomputify_core.model import events as ev
from discomputify_core.model.commands import StartPart
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, JobSpec, Outcome
from discomputify_core.model.node import NodeFacts
from discomputify_core.plugins.fifo import Fifo
from discomputify_core.roles.master.journal import folder as folders
from discomputify_core.roles.master.journal import reading, snapshots
from discomputify_core.roles.master.journal.journal import Journal

DIGEST = "blake3:" + "cd" * 32
#: Parts whose starts and ends come in one report.
REPORT = 8


async def written(folder: Path, parts: int) -> None:
    """A journal of two jobs, written as fast as it goes."""
    journal, node = Journal(folder), NodeName("node")
    journal.open()
    cluster, now = Cluster(Fifo()), 0.0
    journal.start(lambda: cluster.state)

    async def do(*events: ev.Event) -> list[StartPart]:
        nonlocal now
        now += 0.01
        commands = cluster.handle(*events, now=now)
        if cluster.record is not None:
            journal.append(cluster.record)
        await journal.settled()
        return [command for command in commands if isinstance(command, StartPart)]

    await do(ev.NodeJoined(NodeFacts(node, 64, session="one")))
    for name, most in (("done", parts), ("half", parts // 2)):
        spec = JobSpec(ProcessId(name), "key", parts, DIGEST)
        await do(ev.JobSubmitted(spec, time.time()))
        under_way = await do(ev.TreeChecked(spec.process_id, "key"))
        ended = 0
        while under_way and ended < most:
            batch, under_way = under_way[:REPORT], under_way[REPORT:]
            await do(*(ev.AttemptStarted(node, start.attempt, time.time()) for start in batch))
            good = (Outcome(start.attempt, End.DONE, manifest=DIGEST, output_files=1) for start in batch)
            under_way += await do(*(ev.AttemptEnded(node, outcome, time.time()) for outcome in good))
            ended += len(batch)
    await journal.close()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--parts", type=int, default=100_000)
    options.add_argument("--repeat", type=int, default=5)
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        cluster = Processes(base / "cluster", nodes=0, MASTER_PATH=str(base / "journal"))
        address = Address(*cluster.master)
        empty = statistics.median(cluster.start_of_master() for _ in range(wanted.repeat))
        place = folders.place(str(base / "journal"), address)
        for left in place.iterdir():
            left.unlink()
        began = time.perf_counter()
        asyncio.run(written(place, wanted.parts))
        took = time.perf_counter() - began
        files = [*reading.segments(place)]
        kept = snapshots.paths(place)
        size = sum(segment.size for segment in files) + sum(path.stat().st_size for path in kept)
        full = [cluster.start_of_master() for _ in range(wanted.repeat)]
    print(f"journal of {wanted.parts:,} parts done and {wanted.parts // 2:,} of {wanted.parts:,} done:")
    print(f"  written in {took:.1f} s; {len(files)} segments, {len(kept)} snapshots, {size / 1e6:.1f} MB")
    print(f"  start of a master, no journal:   {empty:6.2f} s (median of {wanted.repeat})")
    print(f"  start of a master, this journal: {statistics.median(full):6.2f} s, at most {max(full):.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
