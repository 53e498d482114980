"""Parts that start together are placed: all ready parts of a job in one answer of the policy, or none of them.

Policies know nothing of this: such a job is offered alone, and an answer that leaves parts over is not taken. Not
here: whether it is a job's turn (gangs.py).
"""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Sequence

import attrs

from discomputify_core.cluster import capacity
from discomputify_core.cluster.placement import Offer, Pass, ask, offers, view_of
from discomputify_core.cluster.state import Job, Node, State
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.model.ids import NodeName


def ways(state: State, job: Job) -> list[list[Offer]]:
    """How the ready parts of *job* can be offered all at once, the better way first.

    They do not go where they failed before, unless the nodes could never hold all of them so.
    """
    by_group = offers(state, [job])
    as_one = _as_one(state, by_group)
    if all(offer.ready.avoid == as_one[0].ready.avoid for offer in by_group):
        return [as_one]
    count, room = state.ready(job), capacity.rooms_at_best(state, job)
    return [by_group, as_one] if capacity.seated(ranges(by_group), room) == count else [as_one]


def ranges(found: Sequence[Offer]) -> list[capacity.Range]:
    """The parts that are offered, and what they avoid."""
    return [(offer.ready.count, offer.ready.avoid) for offer in found]


def _as_one(state: State, by_group: Sequence[Offer]) -> list[Offer]:
    """The parts of all groups as one range, wherever they failed."""
    first = by_group[0]
    live = [node for node in state.nodes.values() if node.open]
    count = sum(offer.ready.count for offer in by_group)
    return [attrs.evolve(first, ready=attrs.evolve(first.ready, count=count, avoid=capacity.barred(first.job, live)))]


def place_together(
    state: State, tries: Sequence[list[Offer]], policy: Scheduler, now: float, closed: frozenset[NodeName]
) -> Pass:
    """Ask *policy* where the ready parts of one job go: all of them, or none; changes nothing.

    Args:
        tries: the ways in which they can be offered; the first that works counts.
        closed: nodes that are left out.

    An answer that is not taken must not count for the policy either. So a copy of it is asked first.
    """
    job = tries[0][0].job
    view, count = view_of(state, now, (job,), closed), state.ready(job)
    result = Pass()
    for found in tries:
        try:
            trial = copy.deepcopy(policy)
        except Exception as error:  # whatever a policy raises is the policy's fault and must not stop the master
            fault = (
                f"The policy '{policy.name}' cannot be copied, which jobs with parts that start together need: {error}"
            )
            return Pass(faults=[fault])
        result = ask(state, found, view, trial, closed)
        if result.count == count:
            result = ask(state, found, view, policy, closed)
            if result.count == count:
                return _by_group(job, result) if len(found) == 1 else result
            result.faults.append(f"The policy '{policy.name}' does not answer as its copy does.")
        if result.waits or result.faults:
            break
    return Pass(waits=result.waits, faults=result.faults)


def _by_group(job: Job, result: Pass) -> Pass:
    """*result*, in which the ready parts of *job* were one range, with parts kept from nodes where they failed."""
    left = dict(sorted(job.parts.ready_groups(), key=lambda each: -len(each[0])))
    nodes: dict[NodeName, Node] = {node.name: node for _, _, node, _ in result.placed}
    rooms: Counter[NodeName] = Counter()
    for _, _, node, count in result.placed:
        rooms[node.name] += count
    placed = []
    for where_failed in (False, True):
        for group, name in itertools.product(left, nodes):
            count = min(left[group], rooms[name])
            if count and (where_failed or name not in group):
                left[group] -= count
                rooms[name] -= count
                placed.append((job, group, nodes[name], count))
    return Pass(placed, result.waits, result.faults)
