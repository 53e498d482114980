"""What happens to computing nodes: joined, heard of, cut off, fenced, left. One function per event."""

from __future__ import annotations

from discomputify_core.cluster import adopting, due, names, starting_again
from discomputify_core.cluster.lifecycle import Cause
from discomputify_core.cluster.on_attempts import again, end, release
from discomputify_core.cluster.state import Attempt, Node, State
from discomputify_core.cluster.turn import Turn
from discomputify_core.model import events as ev
from discomputify_core.model.commands import StopAttempt
from discomputify_core.model.job import End, Outcome
from discomputify_core.model.node import NodeLoad

#: A gap between two ticks above this is the master's own stall, not the nodes' silence, seconds.
STALL = 5.0


def on_node_joined(turn: Turn, event: ev.NodeJoined) -> None:
    """A node connected: new, back after a cut, or restarted."""
    facts = event.facts
    node = turn.state.nodes.get(facts.name)
    if node is None:
        arrival = turn.state.next_order()
        node = turn.state.nodes[facts.name] = Node(facts, event.address, 0, arrival, "live")
        node.order = order_of(turn.state, node)
        node.fill()
    elif node.facts.session != facts.session:
        lose_attempts(turn, node, "its node was restarted", event.wall)
        adopting.forget_all(turn, node)
        node.facts, node.load = facts, NodeLoad()
        node.held.clear()
        node.failing.clear()
        node.fill()
    elif not node.member:
        node.facts = facts
        node.fill()
    else:
        reattach(turn, node, event)
    node.state, node.reason, node.address, node.stopping = "live", "", event.address, False
    node.seen_at, node.seen_wall, node.joined_wall, node.spared = turn.now, event.wall, event.wall, False
    adopting.adopt(turn, node, event)
    for name in (facts.name, names.second(facts.name)):
        turn.state.refused.pop(name, None)
    turn.nodes_changed()


def reattach(turn: Turn, node: Node, event: ev.NodeJoined) -> None:
    """A node came back with what still runs there; what it does not know of never reached it."""
    there = set(event.attempts)
    for attempt in list(node.attempts.values()):
        if attempt.id not in there:
            give_back(turn, attempt, event.wall)
        elif attempt.stopping:
            turn.commands.append(StopAttempt(node.name, attempt.id, attempt.stopping))


def give_back(turn: Turn, attempt: Attempt, wall: float) -> None:
    """An attempt is over without having cost anything."""
    job = turn.state.jobs.get(attempt.process_id)
    waited_for = job is not None and attempt.id in job.live
    release(turn, attempt)
    if waited_for:
        again(turn, attempt, Cause.RETURNED, wall)


def order_of(state: State, node: Node) -> int:
    """Expected nodes come first, in the conf's order; others by arrival."""
    host = node.address.rpartition(":")[0].strip("[]")
    for known in (node.name, host):  # a name is surer than an address, which several nodes may share
        if known in state.expected:
            return state.expected.index(known)
    return len(state.expected) + node.arrival


def on_node_beat(turn: Turn, event: ev.NodeBeat) -> None:
    """A node is alive; its load."""
    node = turn.state.nodes.get(event.node)
    if node is None or not node.live:
        return
    took = node.takes_parts
    node.seen_at, node.seen_wall, node.load, node.spared = turn.now, event.wall, event.load, False
    node.held = dict(event.held)
    if node.takes_parts != took:
        turn.nodes_changed()


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
    if node is None or node.facts.session != event.session or not node.member:
        return
    node.state, node.reason = "left", "stopped as planned"
    for attempt in list(node.attempts.values()):
        give_back(turn, attempt, event.wall)
    turn.nodes_changed()


def on_tick(turn: Turn, event: ev.Tick) -> None:
    """Time passed: set the clocks of leases right, and look whether a gang has waited long enough.

    Nothing that is written down changes here; what is due then comes as events.
    """
    now = turn.now
    if now >= turn.state.look_again:
        turn.dirty = True
    gap = 0.0 if turn.last_tick is None else now - turn.last_tick
    turn.last_tick = now
    if gap > STALL:
        for node in turn.state.nodes.values():
            node.seen_at, node.cut_at = min(node.seen_at + gap, now), min(node.cut_at + gap, now)
    for node in due.all_gone(turn.state, turn.settings, now):
        node.spared = True
        node.seen_at = node.cut_at = now
        turn.nodes_changed()


def on_node_fenced(turn: Turn, event: ev.NodeFenced) -> None:
    """Give a node up: its attempts are lost, its slots are gone. It may come back with those that go on there."""
    node = turn.state.nodes.get(event.node)
    if node is None or node.facts.session != event.session or not node.member:
        return
    node.state, node.reason = "lost", event.reason
    there = list(node.attempts.values())
    lose_attempts(turn, node, f"its node was lost ({event.reason})", event.wall)
    for attempt in there:
        adopting.remember(turn, node, attempt)
    node.fill()
    turn.nodes_changed()


def on_master_started(turn: Turn, event: ev.MasterStarted) -> None:
    """A master begins with what an earlier one wrote down: all nodes have time to come back."""
    for node in turn.state.nodes.values():
        if node.member:
            node.state, node.reason = "away", "it has not come back since the master was started again"
            node.seen_at = node.cut_at = turn.now
    turn.nodes_changed()
    starting_again.begin(turn)


def lose_attempts(turn: Turn, node: Node, why: str, wall: float) -> None:
    """All attempts of *node* are lost."""
    for attempt in list(node.attempts.values()):
        outcome = Outcome(attempt.id, End.LOST, reason=why, started_at=attempt.started_wall, ended_at=wall)
        end(turn, attempt, outcome, wall)
