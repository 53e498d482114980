"""The built-in policy ``fifo``: the first range on the first node with room, in the order of the nodes.

Pure, like every policy. Nodes are filled one after the other; who wants them spread takes another policy.
"""

from __future__ import annotations

from collections.abc import Sequence

from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model.view import ClusterView, Decision, Placement, Ready, Room


class Fifo(Scheduler):
    """First come, first served, on the first free slot."""

    name = "fifo"

    def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
        """See :meth:`Scheduler.place`. One step per block of parts that goes to one node."""
        room = Room(view.nodes)
        placements: list[Placement] = []
        for item in ready:
            if not room.cpus:
                break
            left = item.count
            while left and (index := room.find(item)) is not None:
                count = min(left, room.most(item, index))
                room.take(item, index, count)
                placements.append(Placement(item.key, room.nodes[index].name, count))
                left -= count
        return Decision(tuple(placements))
