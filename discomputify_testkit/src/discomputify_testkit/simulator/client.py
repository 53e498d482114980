"""The simulated client: submits jobs until that is acknowledged, watches them, submits again, stops and clears.

Not here: what it may rely on (checks.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from discomputify_core.model import events as ev
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobSpec, JobState

if TYPE_CHECKING:
    from discomputify_testkit.simulator.simulation import Simulation

#: Seconds until something is asked again; from a job's end until it is cleared.
AGAIN, CLEAR = 1.0, 5.0


class SimClient:
    """All clients of a simulation."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._agenda = world.agenda
        self._plans = {plan.spec.process_id: plan for plan in world.scenario.jobs}
        #: Jobs that were acknowledged, and the keys of their newest submissions; and of all submissions.
        self.acknowledged: dict[ProcessId, str] = {}
        self._known: dict[tuple[ProcessId, str], None] = {}
        self._again: dict[ProcessId, None] = {}
        self.cleared: dict[ProcessId, None] = {}
        #: Jobs that have not ended for good, as far as is durable.
        self.open = dict.fromkeys(self._plans)

    def start(self) -> None:
        """Note what is to be asked, and when."""
        for process_id, plan in self._plans.items():
            self._agenda.at(plan.at, self._submit, process_id)
            if plan.stop is not None:
                self._agenda.at(plan.stop, self._stop, process_id)

    def look(self, process_id: ProcessId) -> None:
        """What a job is like has changed, and is durable."""
        plan, job = self._plans[process_id], self._world.master.cluster.state.jobs.get(process_id)
        if process_id not in self.open or job is None or not job.ended:
            return
        if plan.again and job.state is not JobState.DONE and process_id not in self._again:
            self._again[process_id] = None
            self._submit_again(process_id)
        elif job.spec.key == self.acknowledged.get(process_id) and (
            process_id not in self._again or job.spec.key != plan.spec.key
        ):
            del self.open[process_id]
            if plan.clear:
                self._agenda.after(CLEAR, self._clear, process_id)

    def look_at_all(self) -> None:
        """Another master is there."""
        for process_id in list(self.open):
            self.look(process_id)

    def _submit(self, process_id: ProcessId) -> None:
        self._try(process_id, self._plans[process_id].spec, False, self._submit)

    def _submit_again(self, process_id: ProcessId) -> None:
        self._try(process_id, attrs.evolve(self._plans[process_id].spec, key="again"), True, self._submit_again)

    def _try(self, process_id: ProcessId, spec: JobSpec, again: bool, do: Callable[[ProcessId], None]) -> None:
        """Submit unless that was acknowledged, and look once more in a while; give up where it is refused."""
        if (process_id, spec.key) in self._known:
            return
        before = (*spec.after, *spec.after_any, *spec.inputs_from)
        if self._world.master.up and all(each in self.acknowledged or each not in self.open for each in before):
            acknowledge = functools.partial(self._acknowledge, process_id, spec.key)
            if not self._world.master.submit(spec, again, acknowledge) and self._pointless(process_id, before, again):
                self.open.pop(process_id, None)
                return
        self._agenda.after(AGAIN, do, process_id)

    def _pointless(self, process_id: ProcessId, before: Sequence[ProcessId], again: bool) -> bool:
        """Whether a refusal will stay: what it is to follow is forgotten, or it is going on already."""
        jobs = self._world.master.cluster.state.jobs
        return again or any(each not in jobs and each not in self._waited_for() for each in before)

    def _waited_for(self) -> list[ProcessId]:
        """Jobs that will still be submitted."""
        return [each for each in self.open if each not in self.acknowledged]

    def _acknowledge(self, process_id: ProcessId, key: str) -> None:
        if (process_id, key) in self._known:
            return
        self._known[process_id, key] = None
        self.acknowledged[process_id] = key
        self._world.note("%s was acknowledged", process_id)
        self.look(process_id)

    def _stop(self, process_id: ProcessId) -> None:
        if process_id not in self.acknowledged or not self._world.master.up:
            self._agenda.after(AGAIN, self._stop, process_id)
        else:
            self._world.master.take(ev.JobStopAsked(process_id, "ada", self._agenda.wall))

    def _clear(self, process_id: ProcessId) -> None:
        if self._world.master.up:
            self.cleared[process_id] = None
            self._world.master.clear(process_id)
