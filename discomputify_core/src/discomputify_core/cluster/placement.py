"""One placement pass: what is ready and where there is room goes to the policy; its answer is checked.

Core never trusts a policy: a placement that does not fit is refused here and the parts stay ready.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping

import attrs

from discomputify_core.cluster import capacity
from discomputify_core.cluster.parts import NOWHERE
from discomputify_core.cluster.state import Job, Node, State
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model.ids import NodeName
from discomputify_core.model.job import Request
from discomputify_core.model.view import ClusterView, Decision, NodeView, Placement, Ready, how_many_fit


@attrs.frozen
class Offer:
    """A range given to the policy, and the job and group of parts behind it."""

    ready: Ready
    job: Job
    group: frozenset[NodeName]


@attrs.define
class Pass:
    """The outcome of a placement pass."""

    #: (job, group of parts, node, count), checked.
    placed: list[tuple[Job, frozenset[NodeName], Node, int]] = attrs.field(factory=list)
    #: Why ranges wait, in the policy's words, by job.
    waits: dict[str, str] = attrs.field(factory=dict)
    #: What was wrong with the policy's answer, one sentence each.
    faults: list[str] = attrs.field(factory=list)

    @property
    def count(self) -> int:
        """How many parts were placed."""
        return sum(count for *_, count in self.placed)


def offers(state: State, jobs: list[Job]) -> list[Offer]:
    """The ready ranges of *jobs*, with the nodes that each may not use."""
    live = [node for node in state.nodes.values() if node.open]
    found: list[Offer] = []
    for job in jobs:
        barred = capacity.barred(job, live)
        for group, count in job.parts.ready_groups():
            ready = Ready(
                key=len(found),
                process_id=job.id,
                owner=job.spec.owner,
                priority=job.spec.priority,
                request=asked(job),
                count=count,
                part_bytes=job.spec.part_bytes,
                avoid=barred | group if group and _elsewhere(state, job, barred | group) else barred,
            )
            found.append(Offer(ready, job, group))
    return found


def _limit_name(job: Job) -> str:
    """The resource that limits how many parts of *job* run on a node; it hides one of that name that users have."""
    return f"part of {job.id}"


def asked(job: Job) -> Request:
    """What a part of *job* asks for, its limit on a node included."""
    request = job.spec.request
    return attrs.evolve(request, needs={**request.needs, _limit_name(job): 1}) if job.spec.per_node else request


def _limits(jobs: Collection[Job]) -> dict[str, tuple[int, Counter[NodeName]]]:
    """For every limited job: its resource, how much of it each node has, and how much is in use by node."""
    return {_limit_name(job): (job.spec.per_node, job.parts_on_nodes()) for job in jobs if job.spec.per_node}


def _full(jobs: Collection[Job], limits: Mapping[str, tuple[int, Counter[NodeName]]]) -> set[NodeName]:
    """Nodes that can take no part of any of *jobs*: all of these are limited, and have as many there as they may.

    However many CPUs such nodes have free, they cost a pass nothing.
    """
    if not limits or len(limits) < len(jobs):
        return set()
    full = ({node for node, count in used.items() if count >= most} for most, used in limits.values())
    return set.intersection(*full)


def _elsewhere(state: State, job: Job, avoid: frozenset[NodeName]) -> bool:
    """Whether a node exists that has not failed the parts and could run them, be it busy now.

    Where parts need each other, room that is in use by others of them does not come free before these have run, too.
    """
    if job.spec.together:
        return any(name not in avoid for name in capacity.rooms_at_best(state, job))
    return any(node.name not in avoid and node.could_run(job.spec) for node in state.nodes.values() if node.open)


def view_of(state: State, now: float, jobs: Collection[Job] = (), closed: Collection[NodeName] = ()) -> ClusterView:
    """The live nodes with room, as a policy sees them when it is to place parts of *jobs*; *closed* are left out."""
    live = state.open_nodes()
    limits = _limits(jobs)
    full = _full(jobs, limits)
    return ClusterView(
        nodes=tuple(
            NodeView(
                name=node.name,
                facts=node.facts,
                load=node.load,
                free_cpus=node.free_cpus,
                free_memory=node.free_memory,
                free_resources={
                    **node.free_resources,
                    **{name: most - used[node.name] for name, (most, used) in limits.items()},
                },
                running=len(node.attempts),
                held=node.held,
            )
            for node in live
            if node.free_cpus > 0 and node.name not in full and node.name not in closed
        ),
        live=len(live),
        now=now,
    )


def place(state: State, jobs: list[Job], policy: Scheduler, now: float, closed: frozenset[NodeName] = NOWHERE) -> Pass:
    """Ask *policy* where parts of *jobs* go, nodes in *closed* left out, and check what it says; changes nothing."""
    view = view_of(state, now, jobs, closed)
    if not view.nodes:
        return Pass()
    found = offers(state, jobs)
    return ask(state, found, view, policy, closed) if found else Pass()


def ask(
    state: State,
    found: list[Offer],
    view: ClusterView,
    policy: Scheduler,
    closed: frozenset[NodeName] = NOWHERE,
) -> Pass:
    """What *policy* says to *found*, checked; *closed* are nodes that *view* leaves out."""
    result = Pass()
    try:
        decision = policy.place(tuple(offer.ready for offer in found), view)
    except Exception as error:  # whatever a policy raises is the policy's fault and must not stop the master
        result.faults.append(f"The policy '{policy.name}' raised {type(error).__name__}: {error}")
        return result
    _check(state, found, view, closed, decision, policy.name, result)
    return result


def _check(
    state: State,
    found: list[Offer],
    view: ClusterView,
    closed: frozenset[NodeName],
    decision: object,
    policy: str,
    result: Pass,
) -> None:
    if not isinstance(decision, Decision):
        result.faults.append(f"The policy '{policy}' answered {type(decision).__name__}, not a Decision.")
        return
    for key, why in decision.waits.items():
        if isinstance(key, int) and 0 <= key < len(found):
            result.waits[found[key].job.id] = str(why)
    left = {offer.ready.key: offer.ready.count for offer in found}
    free = {node.name: node.free_resources for node in view.nodes}
    room: dict[NodeName, tuple[int, int, dict[str, int]]] = {}
    for placement in decision.placements:
        fault = _fault(state, found, placement, left, free, room)
        if not fault and placement.node in closed:
            fault = f"chose the node '{placement.node}', which was not offered."
        if fault:
            result.faults.append(f"The policy '{policy}' {fault}")
            continue
        offer = found[placement.key]
        left[placement.key] -= placement.count
        result.placed.append((offer.job, offer.group, state.nodes[placement.node], placement.count))


def _fault(
    state: State,
    found: list[Offer],
    placement: Placement,
    left: dict[int, int],
    free: Mapping[NodeName, Mapping[str, int]],
    room: dict[NodeName, tuple[int, int, dict[str, int]]],
) -> str:
    """What is wrong with *placement*, or "" after taking its room."""
    if not isinstance(placement, Placement) or placement.key not in left:
        return f"placed something that was not offered ({placement!r})."
    node = state.nodes.get(placement.node)
    ready = found[placement.key].ready
    if node is None or not node.takes_parts:
        return f"chose the node {placement.node!r}, which is not live."
    if type(placement.count) is not int or placement.count < 1 or math.isnan(placement.count):
        return f"placed {placement.count!r} parts."
    if placement.count > left[placement.key]:
        return f"placed more parts of '{ready.process_id}' than are ready."
    if node.name in ready.avoid:
        return f"chose the node '{node.name}', which '{ready.process_id}' is to avoid."
    has = free.get(node.name, node.free_resources)
    cpus, memory, resources = room.get(node.name) or (node.free_cpus, node.free_memory, dict(has))
    if how_many_fit(ready.request, cpus, memory, resources) < placement.count:
        return f"placed {placement.count} parts of '{ready.process_id}' on '{node.name}', which has no room for them."
    for name, count in ready.request.needs.items():
        resources[name] -= count * placement.count
    room[node.name] = (
        cpus - ready.request.cpus * placement.count,
        memory - ready.request.memory * placement.count,
        resources,
    )
    return ""


__all__ = ["NOWHERE", "Offer", "Pass", "ask", "asked", "offers", "place", "view_of"]
