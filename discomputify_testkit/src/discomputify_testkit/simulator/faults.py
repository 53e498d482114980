"""What each kind of fault does. Not here: which ones happen when (scenario.py, histories.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from discomputify_core.model import events as ev
from discomputify_core.model.ids import NodeName
from discomputify_testkit.simulator.link import LATENCY, TO_MASTER, TO_NODE
from discomputify_testkit.simulator.node import SimNode
from discomputify_testkit.simulator.scenario import Fault

if TYPE_CHECKING:
    from discomputify_testkit.simulator.simulation import Simulation


def play(world: Simulation, fault: Fault) -> None:
    """Let *fault* happen."""
    world.note("FAULT %s", fault)
    world.figures.faults[fault.kind] += 1
    if fault.kind in OF_CLUSTER:
        OF_CLUSTER[fault.kind](world, fault)
    else:
        OF_NODE[fault.kind](world, fault, world.nodes[NodeName(fault.node)])


def _kill(world: Simulation, fault: Fault, node: SimNode) -> None:
    link = node.link
    if node.up:
        node.die()
        if link is not None:
            world.agenda.after(LATENCY, world.master.closed, link, "it died")
    world.agenda.after(fault.seconds, node.start)


def _power(world: Simulation, fault: Fault, node: SimNode) -> None:
    if node.up:
        node.die()
    world.agenda.after(fault.seconds, node.start)


def _leave(world: Simulation, fault: Fault, node: SimNode) -> None:
    node.leave()
    world.agenda.after(max(fault.seconds, 2.0), node.start)


def _cut(world: Simulation, fault: Fault, node: SimNode) -> None:
    link = node.link
    node.no_dial(fault.seconds)
    if link is not None:
        link.open = False
        world.agenda.after(LATENCY, world.master.closed, link, "it broke")
        world.agenda.after(LATENCY, node.closed, link)


def _half(world: Simulation, fault: Fault, node: SimNode) -> None:
    node.no_dial(fault.seconds)
    if node.link is not None:
        node.closed(node.link)


def _hold(world: Simulation, fault: Fault, node: SimNode, *ways: int) -> None:
    for way in ways:
        node.held[way] = max(node.held[way], world.agenda.now + fault.seconds)


def _silence(world: Simulation, fault: Fault, node: SimNode) -> None:
    _hold(world, fault, node, TO_MASTER, TO_NODE)


def _mute(world: Simulation, fault: Fault, node: SimNode) -> None:
    _hold(world, fault, node, TO_MASTER)


def _deaf(world: Simulation, fault: Fault, node: SimNode) -> None:
    _hold(world, fault, node, TO_NODE)


def _for_a_while(world: Simulation, fault: Fault, node: SimNode) -> None:
    node.until[fault.kind] = world.agenda.now + fault.seconds
    if fault.kind == "slow":
        node.times = max(fault.more, 1.0)


def _drain(world: Simulation, fault: Fault, node: SimNode) -> None:
    _ask_to_drain(world, node.name, False)
    world.agenda.after(fault.seconds, _ask_to_drain, world, node.name, True)


def _ask_to_drain(world: Simulation, name: NodeName, undo: bool) -> None:
    master = world.master
    if master.up and name in master.cluster.state.nodes:
        master.take(ev.NodeDrainAsked(name, undo, "ada"))
    elif undo:
        world.agenda.after(1.0, _ask_to_drain, world, name, undo)


def _all(world: Simulation, fault: Fault) -> None:
    for node in world.nodes.values():
        _silence(world, fault, node)


def _master(world: Simulation, fault: Fault) -> None:
    world.master.die(fault.more)
    world.agenda.after(fault.seconds, _master_again, world)


def _master_again(world: Simulation) -> None:
    world.master.start()
    world.client.look_at_all()


def _disk(world: Simulation, fault: Fault) -> None:
    journal = world.master.journal
    journal.full_until = max(journal.full_until, world.agenda.now + fault.seconds)


def _store(world: Simulation, fault: Fault) -> None:
    world.store_stalls = max(world.store_stalls, world.agenda.now + fault.seconds)


def _table(world: Simulation, fault: Fault) -> None:
    lost = world.table
    world.table = f"table {int(lost.split()[1]) + 1}"
    if world.master.up:
        world.master.take(ev.MemoryTableLost(lost, "its role was started again", world.agenda.wall))


OF_NODE: Mapping[str, Callable[[Simulation, Fault, SimNode], None]] = {
    "kill": _kill,
    "power": _power,
    "leave": _leave,
    "cut": _cut,
    "half": _half,
    "silence": _silence,
    "mute": _mute,
    "deaf": _deaf,
    "repeat": _for_a_while,
    "swap": _for_a_while,
    "slow": _for_a_while,
    "paused": _for_a_while,
    "broken": _for_a_while,
    "drain": _drain,
}
OF_CLUSTER: Mapping[str, Callable[[Simulation, Fault], None]] = {
    "all": _all,
    "master": _master,
    "disk": _disk,
    "store": _store,
    "table": _table,
}
