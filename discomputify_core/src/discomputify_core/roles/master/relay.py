"""What one computing node wants of another: nodes have no ways to each other but through their master."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from discomputify_core.edge import clock
from discomputify_core.errors import ChannelClosed, MemoryLost
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.ids import MAX_NAME, NodeName
from discomputify_core.model.message import ArrayKept, ArrayWanted
from discomputify_core.roles.master.desk import NodeDesk

if TYPE_CHECKING:
    from discomputify_core.roles.master.master import MasterNode

#: Seconds that a node has to bring an array into the store.
BRING = 120.0
#: Seconds between two looks whether a node that was cut off is back.
LOOK = 0.1


async def array(master: MasterNode, wanted: ArrayWanted) -> ArrayKept:
    """The array, brought into the store by the node that keeps it; or that node is told to drop it.

    Raises:
        MemoryLost: the node is not there any more, or does not keep the array.
        Unreachable: it did not bring the array in time.
    """
    if wanted.drop:
        await _drop(master, wanted)
        return ArrayKept()
    deadline = clock.now() + BRING
    while clock.now() < deadline:
        desk = await _desk(master, NodeName(wanted.node), deadline)
        if desk is None:
            break
        try:
            reply = await desk.peer.call("node.array", to_plain(wanted), timeout=deadline - clock.now())
        except ChannelClosed:
            await asyncio.sleep(LOOK)  # by then the master has noticed, too
        else:
            return from_plain(reply.data, ArrayKept)
    name = wanted.node[:MAX_NAME]
    raise MemoryLost(
        f"An array of the shared memory of '{wanted.process_id[:MAX_NAME]}' was kept by the computing node '{name}', "
        "which is not connected any more.",
        node=name,
    )


async def _drop(master: MasterNode, wanted: ArrayWanted) -> None:
    desk = master.desks.get(NodeName(wanted.node))
    if desk is not None:
        with contextlib.suppress(ChannelClosed):  # a node that goes takes its arrays along
            await desk.peer.call("node.array", to_plain(wanted), timeout=BRING)


async def _desk(master: MasterNode, name: NodeName, deadline: float) -> NodeDesk | None:
    """The desk of that node, which has its moment to come back if it was cut off; None if it is not there."""
    while clock.now() < deadline:
        desk, node = master.desks.get(name), master.cluster.state.nodes.get(name)
        if desk is not None or node is None or not node.member:
            return desk
        await asyncio.sleep(LOOK)
    return None
