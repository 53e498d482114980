"""What happens to computing nodes: joined, heard of, cut off, fenced, left. One function per event."""

from __future__ import annotations

import attrs

from discomputify_core.cluster import names
from discomputify_core.cluster.lifecycle import Cause
from discomputify_core.cluster.on_attempts import again, end, release
from discomputify_core.cluster.state import Node
from discomputify_core.cluster.turn import Turn
from discomputify_core.model import events as ev
from discomputify_core.model.commands import StopAttempt
from discomputify_core.model.job import End, Outcome
from discomputify_core.model.node import NodeFacts

#: A gap between two ticks above this is the master's own stall, not the nodes' silence, seconds.
STALL = 5.0


def on_node_joined(turn: Turn, event: ev.NodeJoined) -> None:
    """A node connected: new, back after a cut, or restarted."""
    facts = event.facts
    node = turn.state.nodes.get(facts.name)
    if node is None:
        node = Node(facts, event.address, order_of(turn, facts, event.address), "live", turn.now, event.wall)
        node.fill()
        turn.state.nodes[facts.name] = node
    elif node.facts.session != facts.session or node.state in ("lost", "left"):
        lose_attempts(turn, node, "its node was restarted", event.wall)
        node.facts, node.load = facts, attrs.evolve(node.load)
        node.held.clear()
        node.fill()
    else:
        reattach(turn, node, event)
    node.state, node.reason, node.address, node.stopping = "live", "", event.address, False
    node.seen_at, node.seen_wall, node.cut_at = turn.now, event.wall, 0.0
    for name in (facts.name, names.second(facts.name)):
        turn.state.refused.pop(name, None)
    turn.nodes_changed()


def reattach(turn: Turn, node: Node, event: ev.NodeJoined) -> None:
    """A node came back with what still runs there; what it does not know of never reached it."""
    there = set(event.attempts)
    for attempt in list(node.attempts.values()):
        if attempt.id not in there:
            release(turn, attempt)
            again(turn, attempt, Cause.RETURNED, event.wall)
        elif attempt.stopping:
            turn.commands.append(StopAttempt(node.name, attempt.id, attempt.stopping))


def order_of(turn: Turn, facts: NodeFacts, address: str) -> int:
    """Expected nodes come first, in the conf's order; others by arrival."""
    expected = turn.state.expected
    host = address.rpartition(":")[0].strip("[]")
    for known in (facts.name, host):  # a name is surer than an address, which several nodes may share
        if known in expected:
            return expected.index(known)
    return len(expected) + turn.state.next_order()


def on_node_beat(turn: Turn, event: ev.NodeBeat) -> None:
    """A node is alive; its load."""
    node = turn.state.nodes.get(event.node)
    if node is None or not node.live:
        return
    node.seen_at, node.seen_wall, node.load = turn.now, event.wall, event.load
    node.held = dict(event.held)


def on_node_cut(turn: Turn, event: ev.NodeCut) -> None:
    """A node's connection closed; it has a moment to come back."""
    node = turn.state.nodes.get(event.node)
    if node is not None and node.live and node.facts.session == event.session:
        node.state, node.cut_at = "cut", turn.now
        node.reason = f"its connection closed: {event.reason}" if event.reason else "its connection closed"
        turn.nodes_changed()


def on_node_refused(turn: Turn, event: ev.NodeRefused) -> None:
    """A peer was refused as a node; remembered to be shown."""
    if len(turn.state.refused) > 1000:
        turn.state.refused.clear()
    turn.state.refused[event.name] = (event.address, event.reason, event.wall)


def on_node_left(turn: Turn, event: ev.NodeLeft) -> None:
    """A node stopped as planned; its parts cost nothing."""
    node = turn.state.nodes.get(event.node)
    if node is None or node.facts.session != event.session or node.state not in ("live", "cut"):
        return
    node.state, node.reason = "left", "stopped as planned"
    for attempt in list(node.attempts.values()):
        release(turn, attempt)
        again(turn, attempt, Cause.RETURNED, node.seen_wall)
    turn.nodes_changed()


def on_tick(turn: Turn, event: ev.Tick) -> None:
    """Look at leases, and whether a gang has waited long enough."""
    now = turn.now
    if now >= turn.state.look_again:
        turn.dirty = True
    gap = 0.0 if turn.last_tick is None else now - turn.last_tick
    turn.last_tick = now
    for node in list(turn.state.nodes.values()):
        if gap > STALL:
            node.seen_at = min(node.seen_at + gap, now)
        if node.state == "cut" and now - node.cut_at >= turn.settings.cut:
            fence(turn, node, node.reason, event.wall)
        elif node.live and now - node.seen_at >= turn.settings.lease:
            fence(turn, node, f"silent for {now - node.seen_at:.0f} s", event.wall)


def fence(turn: Turn, node: Node, why: str, wall: float) -> None:
    """Give a node up: its attempts are lost, its slots are gone."""
    node.state, node.reason = "lost", why
    lose_attempts(turn, node, f"its node was lost ({why})", wall)
    node.fill()
    turn.nodes_changed()


def lose_attempts(turn: Turn, node: Node, why: str, wall: float) -> None:
    """All attempts of *node* are lost."""
    for attempt in list(node.attempts.values()):
        outcome = Outcome(attempt.id, End.LOST, reason=why, started_at=attempt.started_wall, ended_at=wall)
        end(turn, attempt, outcome, wall)
