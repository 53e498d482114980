"""Rules about computing nodes' names: who may join."""

from __future__ import annotations

from discomputify_core.cluster.state import Node
from discomputify_core.errors import NameTaken
from discomputify_core.model.node import NodeFacts

#: A node that was silent for longer may be replaced by another of its name: it missed two beats.
QUIET = 5.0


def second(name: str) -> str:
    """How a refused node is shown whose name a live one has."""
    return f"{name} (second)"


def check_name(node: Node | None, facts: NodeFacts, address: str, now: float, cut: float) -> None:
    """Whether *facts* may join while *node* has its name.

    The same start of the same node may always come back; a restarted one replaces its dead predecessor.

    Raises:
        NameTaken: a live node has the name; both peers are named.
    """
    if node is None or node.facts.session == facts.session:
        return
    if node.live and now - node.seen_at < QUIET:
        raise NameTaken(
            f"A computing node named '{facts.name}' is live at {node.address} ({node.facts.owner}); "
            f"the one at {address} ({facts.owner}) was refused. Give one of them another name with --name "
            f"or COMP_NODE, or stop the other.",
            name=facts.name,
            live=node.address,
            refused=address,
        )
