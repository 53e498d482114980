"""Jobs whose parts start together (gangs) among others: who is placed before whom, and who is held back.

A gang *forms* while none of its parts is live: all its ready parts are placed in one step, or none. Once some are live,
the others *join* these, one by one, before other jobs of their priority. Others may pass a gang that has no room yet,
but not for ever: after GANG_PATIENCE the nodes that it could use are closed to all behind it, until it starts.
Only parts that join are never held back, since those that they join hold room and wait for them. Not here: how parts
are placed together (together.py), and how this is told (why_together.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import attrs

from discomputify_core.cluster import capacity, together
from discomputify_core.cluster.parts import NOWHERE
from discomputify_core.cluster.placement import Offer
from discomputify_core.cluster.state import Job, State
from discomputify_core.model.ids import NodeName

#: Seconds from when its parts are ready that a gang lets other jobs pass which come behind it.
GANG_PATIENCE = 10.0


@attrs.frozen
class Step:
    """What is placed next."""

    jobs: list[Job]
    #: Nodes that these may not use.
    closed: frozenset[NodeName] = NOWHERE
    #: For a gang that forms: how its parts can be offered, the better way first.
    ways: Sequence[list[Offer]] = ()


def forming(state: State, job: Job) -> bool:
    """Whether the ready parts of *job* are placed all at once, or none. A single one needs no care."""
    return job.spec.together and not job.live and state.ready(job) > 1


def joining(job: Job) -> bool:
    """Whether ready parts of *job*, if there are any, are missed by others that were placed."""
    return job.spec.together and bool(job.live)


def room_for(state: State, found: Sequence[Offer], closed: frozenset[NodeName] = NOWHERE) -> int:
    """How many of the parts that are offered would find room now."""
    return capacity.seated(together.ranges(found), capacity.rooms(state, found[0].job, closed))


def room_at_best(state: State, found: Sequence[Offer]) -> int:
    """How many of the parts that are offered would find room if no other job ran."""
    return capacity.seated(together.ranges(found), capacity.rooms_at_best(state, found[0].job))


def steps(state: State, now: float) -> Iterator[Step]:
    """What is to be placed, step by step. Each step has to be carried out before the next one is asked for.

    Notes in *state* who is held back, and when to look again.
    """
    state.held_back, state.look_again = {}, math.inf
    if state.gangs:
        yield from _Order(state, now).steps()
    else:
        yield Step(list(state.hungry.values()))


class _Order:
    """One pass over all jobs with ready parts."""

    def __init__(self, state: State, now: float) -> None:
        self._state = state
        self._now = now
        #: Nodes whose room is kept, and for which gang.
        self._kept: dict[NodeName, Job] = {}
        #: Jobs that can be placed in one step.
        self._run: list[Job] = []
        #: More CPUs than these are not free, however they are spread.
        self._cpus = sum(node.free_cpus for node in state.nodes.values() if node.open)

    def steps(self) -> Iterator[Step]:
        for job in sorted(self._state.hungry.values(), key=_turn):
            if forming(self._state, job):
                yield from self._form(job)
            elif not joining(job):
                self._run.append(job)
            else:
                yield from self._join(job)
        yield from self._flush()

    def _form(self, job: Job) -> Iterator[Step]:
        ways = self._ways(job)
        if ways and self._run:  # those before it take their room first
            yield from self._flush()
            ways = self._ways(job)
        if ways:
            yield Step([job], frozenset(self._kept), ways)
        else:
            # What fits and is not placed waits for something else than room: that is the policy's affair.
            self._note_held(job)
            yield from self._keep_room(job)

    def _ways(self, job: Job) -> list[list[Offer]]:
        """How all ready parts of *job* can be offered now; nothing if they do not fit."""
        count, closed = self._state.ready(job), frozenset(self._kept)
        if count * job.spec.request.cpus > self._cpus:
            return []
        ways = together.ways(self._state, job)
        return ways if room_for(self._state, ways[0], closed) == count else []

    def _join(self, job: Job) -> Iterator[Step]:
        if self._kept:
            yield from self._flush()
            yield Step([job])
        else:
            self._run.append(job)
            if self._late(job):
                yield from self._flush()
        yield from self._keep_room(job)

    def _late(self, job: Job) -> bool:
        due = self._state.gangs[job.id] + GANG_PATIENCE
        if self._now < due:
            self._state.look_again = min(self._state.look_again, due)
        return self._now >= due

    def _keep_room(self, job: Job) -> Iterator[Step]:
        """Close the nodes that *job* could use to all that come behind it, if it has waited for long enough."""
        state = self._state
        if not state.ready(job) or not self._late(job):
            return
        room = capacity.rooms_at_best(state, job)
        if room.keys() <= self._kept.keys():
            return
        way = together.ways(state, job)[0]
        if capacity.seated(together.ranges(way), room) < state.ready(job):
            return  # no patience would help
        yield from self._flush()
        for name in room:
            self._kept.setdefault(name, job)

    def _flush(self) -> Iterator[Step]:
        jobs, self._run = self._run, []
        if not jobs:
            return
        yield Step(jobs, frozenset(self._kept))
        if self._kept:
            for job in jobs:
                if not joining(job):
                    self._note_held(job)

    def _note_held(self, job: Job) -> None:
        if not self._state.ready(job):
            return
        for name, gang in self._kept.items():
            if name not in job.refused and self._state.nodes[name].could_run(job.spec):
                self._state.held_back[job.id] = gang.id
                return


def _turn(job: Job) -> tuple[int, bool, int]:
    return (-job.spec.priority, not joining(job), job.order)
