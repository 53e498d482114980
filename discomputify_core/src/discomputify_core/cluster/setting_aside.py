"""Nodes that get no parts for a while: they failed several parts of different jobs, or somebody drains them."""

from __future__ import annotations

from collections.abc import Iterable

from discomputify_core.cluster.state import Job, Node, State
from discomputify_core.cluster.turn import Settings, Turn
from discomputify_core.model import events as ev
from discomputify_core.model.ids import ProcessId

#: So many failures in a row, of parts of so many jobs, and the node is set aside.
FAILURES = 3
JOBS = 2
#: Seconds until it is tried again: the first time, doubled every time after it, and at most.
FIRST = 60.0
MOST = 1800.0
#: Most jobs whose failures are counted on a node.
COUNTED = 20


def note_success(node: Node) -> None:
    """A part was done there: what failed before does not count any more."""
    node.failing.clear()
    node.times_aside = 0


def note_failure(turn: Turn, node: Node, job: Job) -> None:
    """A part of *job* failed there by itself."""
    node.failing[job.id] = node.failing.pop(job.id, 0) + 1
    while len(node.failing) > COUNTED:
        del node.failing[next(iter(node.failing))]
    if node.set_aside or sum(node.failing.values()) < FAILURES or len(node.failing) < JOBS:
        return
    blamed = {each: count for each, count in node.failing.items() if _to_blame(turn.state, node, each)}
    failures = sum(blamed.values())
    others = any(each.open and each is not node for each in turn.state.nodes.values())
    if failures < FAILURES or len(blamed) < JOBS or not others:
        return
    names = ", ".join(f"'{each}'" for each in list(blamed)[:3]) + (", …" if len(blamed) > 3 else "")
    seconds = min(FIRST * 2**node.times_aside, MOST)
    node.times_aside = min(node.times_aside + 1, 10)
    node.set_aside = f"{failures} attempts of different jobs ({names}) failed there in a row"
    node.again_at = turn.now + seconds
    turn.nodes_changed()


def _to_blame(state: State, node: Node, process_id: ProcessId) -> bool:
    """Whether that parts of a job failed may be the node's fault: they did not fail everywhere."""
    job = state.jobs.get(process_id)
    if job is None:
        return False
    elsewhere = job.outputs.count - job.outputs.by_node.get(node.name, 0)
    return elsewhere > 0 or all(name == node.name for name in job.failed_on)


def due(state: State, settings: Settings, now: float, wall: float) -> Iterable[ev.Event]:
    """Nodes that are to be tried again: enough time has passed, or no other is left."""
    aside = [node for node in state.nodes.values() if node.set_aside and node.member]
    if not aside:
        return
    left = any(node.open for node in state.nodes.values())
    for node in aside:
        if now >= node.again_at or not left:
            yield ev.NodeTriedAgain(node.name)


def on_node_tried_again(turn: Turn, event: ev.NodeTriedAgain) -> None:
    """A node that was set aside gets parts again."""
    node = turn.state.nodes.get(event.node)
    if node is not None and node.set_aside:
        node.set_aside = ""
        node.failing.clear()
        turn.nodes_changed()


def on_node_drain_asked(turn: Turn, event: ev.NodeDrainAsked) -> None:
    """A node is to take no more parts, or to take them again; what it runs goes on."""
    node = turn.state.nodes.get(event.node)
    if node is not None:
        node.drained = "" if event.undo else event.by or "a user"
        turn.nodes_changed()


def sentence(node: Node, now: float) -> str:
    """Why a connected node gets no parts, "" if it does."""
    if node.stopping:
        return "stops as planned"
    if node.drained:
        running = len(node.attempts)
        still = f"; {running} still {'runs' if running == 1 else 'run'}" if running else ""
        return (
            f"takes no more parts: drained by {node.drained}{still} (undo: discomputify nodes drain {node.name} --undo)"
        )
    if node.set_aside:
        return f"set aside: {node.set_aside}; it is tried again in {max(node.again_at - now, 0):.0f} s"
    if node.spared:
        return "not heard of, like all others; waiting for it to come back"
    return f"takes no new parts: {node.load.paused}" if node.load.paused else ""
