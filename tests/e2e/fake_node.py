"""A computing node that runs nothing: it reports every part as done as soon as it is told of it. A script.

fake_node.py CONF NAME SLOTS: for measuring what the master does with many parts, without the cost of processes.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from discomputify_core.edge import clock
from discomputify_core.edge.calls import Peer
from discomputify_core.edge.connect import Connection, hello
from discomputify_core.edge.opening import need_conf
from discomputify_core.interfaces.calls import Asked, Operation, Reply
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.ids import NodeName
from discomputify_core.model.job import End, Outcome
from discomputify_core.model.message import Beat, Join, Report, Work
from discomputify_core.model.node import NodeFacts, NodeLoad

#: What every part has in the store: nothing. Nobody may fetch it.
MANIFEST = "blake3:" + "00" * 32


async def main(conf: Path, name: str, slots: int) -> None:
    connection = Connection(need_conf(conf, ("transport", "store")), hello("computing_node", name))
    facts = NodeFacts(NodeName(name), slots, memory=2**40, cache_limit=2**50, session=clock.token())
    ended: asyncio.Queue[Outcome] = asyncio.Queue()

    async def work(asked: Asked) -> Reply:
        for start in from_plain(asked.data, Work).start:
            ended.put_nowait(Outcome(start.attempt, End.DONE, manifest=MANIFEST, started_at=1.0, ended_at=1.0))
        return Reply()

    async def join(peer: Peer) -> None:
        await peer.call("node.join", to_plain(Join(facts)), timeout=10.0)

    async def beats() -> None:
        while True:
            await asyncio.sleep(1.0)
            await link.call("node.beat", to_plain(Beat(NodeLoad())), timeout=30.0)

    link = connection.master(operations={"node.work": Operation(work)}, greet=join)
    await link.connect(10.0)
    print("ready: ", flush=True)
    beating = asyncio.create_task(beats())
    while not beating.done():
        batch = [await ended.get()]
        while not ended.empty() and len(batch) < 256:
            batch.append(ended.get_nowait())
        started = tuple(outcome.attempt for outcome in batch)
        await link.call("node.report", to_plain(Report(started=started, ended=tuple(batch))), timeout=60.0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
