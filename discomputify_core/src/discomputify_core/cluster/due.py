"""What is due because time has passed: events that the cluster makes by itself. Pure; changes nothing.

A tick of the clock decides nothing: what follows from it is an event like any other, so that it can be written down.
Here: which ones, and the leases of nodes. Not here: what they change (the handlers' business).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from discomputify_core.cluster import limits, seconds, setting_aside
from discomputify_core.cluster.state import Node, State
from discomputify_core.cluster.turn import Settings
from discomputify_core.model import events as ev

#: Nodes that were heard of the last time within so many seconds of each other went at once.
AT_ONCE = 5.0


def due(state: State, settings: Settings, now: float, wall: float) -> tuple[ev.Event, ...]:
    """The events that are due at *now* (*wall*: the same as Unix time)."""
    return tuple(event for make in MAKERS for event in make(state, settings, now, wall))


def fenced(state: State, settings: Settings, now: float, wall: float) -> Iterable[ev.Event]:
    """Nodes that have been away for too long."""
    for node in state.nodes.values():
        if node.member and now >= fence_at(node, settings):
            yield ev.NodeFenced(node.name, node.facts.session, _why_fenced(node, now), wall)


def fence_at(node: Node, settings: Settings) -> float:
    """When *node* is fenced unless it is heard of before."""
    if node.live:
        return node.seen_at + settings.lease
    return node.cut_at + (settings.lease if node.away else settings.cut)


def _why_fenced(node: Node, now: float) -> str:
    if node.live:
        return f"silent for {now - node.seen_at:.0f} s"
    if node.state == "away":
        return f"{node.reason}, {now - node.cut_at:.0f} s ago"
    return node.reason


def all_gone(state: State, settings: Settings, now: float) -> list[Node]:
    """All nodes, if one is about to be fenced and none is heard of any more since about the same time; else none.

    That looks like the master's own network. It says nothing where there is only one, or where they were spared before.
    """
    members = [node for node in state.nodes.values() if node.member]
    if len(members) < 2 or any(node.away for node in members):
        return []
    if not any(now >= fence_at(node, settings) for node in members):
        return []
    heard = [node.seen_at if node.live else node.cut_at for node in members]
    quiet = all(not node.live or now - node.seen_at > AT_ONCE for node in members)
    return members if quiet and max(heard) - min(heard) <= AT_ONCE else []


MAKERS: tuple[Callable[[State, Settings, float, float], Iterable[ev.Event]], ...] = (
    setting_aside.due,
    seconds.due,
    fenced,
    limits.overdue,
    limits.outlived,
)
