"""The policy ``roundrobin``: nodes take turns, one part each, and the turn is remembered between passes.

Pure: equal passes in equal order give equal answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model.ids import NodeName
from discomputify_core.model.view import ClusterView, Decision, NodeView, Placement, Ready, Room

#: Nodes whose turns are remembered beyond the live ones; a full node is not in the view but not gone.
REMEMBERED = 1000


class RoundRobin(Scheduler):
    """A pass goes round the nodes, beginning with the one that has waited longest for a part.

    A node that was never served comes first; one that was full, or away, keeps the turn that it had.
    """

    name = "roundrobin"

    def __init__(self, options: object = None) -> None:
        super().__init__(options)
        #: When each node had its last part, as a number that only grows; oldest first.
        self._served: dict[NodeName, int] = {}
        self._turns = 0

    def place(self, ready: Sequence[Ready], view: ClusterView) -> Decision:
        """See :meth:`Scheduler.place`."""
        room = Room(sorted(view.nodes, key=self._turn_of))
        placements: list[Placement] = []
        position = 0
        for item in ready:
            if not room.cpus:
                break
            given: Counter[int] = Counter()
            for _ in range(item.count):
                index = _around(room, item, position)
                if index is None:
                    break
                room.take(item, index)
                given[index] += 1
                self._serve(room.nodes[index].name)
                position = index + 1
            placements += [Placement(item.key, room.nodes[index].name, count) for index, count in given.items()]
        self._forget(max(view.live, len(view.nodes)))
        return Decision(tuple(placements))

    def _turn_of(self, node: NodeView) -> int:
        return self._served.get(node.name, 0)

    def _serve(self, name: NodeName) -> None:
        self._turns += 1
        self._served.pop(name, None)
        self._served[name] = self._turns

    def _forget(self, live: int) -> None:
        while len(self._served) > live + REMEMBERED:
            del self._served[next(iter(self._served))]


def _around(room: Room, item: Ready, position: int) -> int | None:
    """The next node that can take a part of the range, from *position* on and then from the beginning."""
    index = room.find(item, position) if position < len(room.nodes) else None
    return room.find(item) if index is None else index
