"""What a simulation watches over: promises that users and nodes can see, beside the invariants of the cluster's state.

No part lost, none done twice, no slot overbooked where it is, every wait has a reason, and what was written down leads
to the same state and the same commands. Not here: cluster/invariants.py, which is called.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from discomputify_core.cluster import invariants
from discomputify_core.cluster.machine import Cluster
from discomputify_core.cluster.state import Job
from discomputify_core.cluster.why import why_job
from discomputify_core.errors import DiscomputifyError
from discomputify_core.model import events as ev
from discomputify_core.model.commands import Command, JobChanged, StartPart
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.job import PartState
from discomputify_core.model.records import decode
from discomputify_testkit.simulator.breach import Breach
from discomputify_testkit.simulator.journal import Journal, packed
from discomputify_testkit.simulator.node import SimNode, manifest_of

if TYPE_CHECKING:
    from discomputify_testkit.simulator.simulation import Simulation

T = TypeVar("T")

#: Events after which everything is looked at; where nodes and parts are more, so many.
EVENTS = 1000


class Checks:
    """The checks of one simulation."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        scenario = world.scenario
        self._every = max(EVENTS, len(scenario.nodes) + sum(plan.spec.parts for plan in scenario.jobs))
        self._since = 0
        self.events = 0
        self.full_checks = 0
        #: Whether to look who is at work, once all is written down.
        self.quiet_due = False
        #: A checksum of all that was written down: equal for equal histories.
        self.history = 0
        #: Knows what was written down, and nothing else.
        self._shadow = world.cluster()
        #: How many lines it knows, and how many are durable.
        self._shown = 0
        #: Attempts that began, and that committed their outputs.
        self._begun: dict[AttemptId, None] = {}
        self._committed: dict[AttemptId, None] = {}
        #: Of each job: how many outputs were looked at, and the generation and origin of each part's newest one.
        self._looked: dict[ProcessId, tuple[int, dict[int, tuple[int, int]]]] = {}
        #: The highest number that an attempt had of each part that was tried more than once.
        self._tries: dict[tuple[ProcessId, int], int] = {}

    # --- what nodes see -----------------------------------------------------------------------------

    def begins(self, node: SimNode, order: StartPart) -> None:
        """A node begins an attempt."""
        attempt = order.attempt
        self._must(attempt not in self._begun, f"the attempt {attempt} runs twice, the second time on {node.name}")
        self._begun[attempt] = None
        if node.busy > node.plan.slots:
            # What it listed as it joined and nobody waits for is being ended, and is not counted any more.
            known = self._world.master.cluster.state.attempts
            busy = sum(run.order.spec.request.cpus for each, run in node.runs.items() if each in known)
            slots = node.plan.slots
            self._must(busy <= slots, f"{node.name} has {slots} slots and uses {busy} CPUs with {attempt}")

    def commits(self, attempt: AttemptId) -> None:
        """The store has the outputs of an attempt."""
        self._committed[attempt] = None

    # --- after every turn ---------------------------------------------------------------------------

    def turn(
        self, cluster: Cluster, batch: Sequence[ev.Event], commands: tuple[Command, ...], line: bytes | None
    ) -> None:
        """The cluster has handled *batch*, wants *commands* and wrote down *line*."""
        self._world.trace(batch, commands)
        self.events += len(batch)
        self._since += len(batch)
        self.guarded(
            lambda: invariants.check_touched(cluster.state, cluster.touched, commands, cluster.record),
        )
        if cluster.faults:
            self._must(False, f"a policy did what it may not: {cluster.faults[0]}")
        self._replays(commands, line)
        for command in commands:
            if isinstance(command, StartPart):
                if command.number > 1:
                    self._tries[command.spec.process_id, command.part] = command.number
            elif isinstance(command, JobChanged):
                self._outputs(cluster, command.process_id)
        if self._since >= self._every:
            self._since = 0
            self.full(cluster)

    def _replays(self, commands: tuple[Command, ...], line: bytes | None) -> None:
        wanted = [command for command in commands if not isinstance(command, JobChanged)]
        replayed: list[Command] = []
        if line is not None:
            self._shown += 1
            self.history = zlib.crc32(line, self.history)

            def replay() -> None:
                found = self._shadow.replay(decode(line))
                replayed.extend(command for command in found if not isinstance(command, JobChanged))

            self.guarded(replay, "what was written down cannot be replayed: ")
        if wanted != replayed:
            self._must(False, f"replayed, the journal leads to other commands: {_difference(wanted, replayed)}")

    def _outputs(self, cluster: Cluster, process_id: ProcessId) -> None:
        job = cluster.state.jobs.get(process_id)
        if job is None:
            self._looked.pop(process_id, None)
            return
        looked, parts = self._looked.get(process_id, (0, {}))
        if len(job.outputs) == looked:
            return
        for at, (part, _, _, manifest) in job.outputs.positions(looked):
            attempt, of = job.attempt_at(at), (job.generation, job.outputs.origin(at))
            self._must(
                parts.get(part) != of, f"part {part} of {process_id} is done twice, the second time by {attempt}"
            )
            parts[part] = of
            self._must(attempt in self._committed, f"{attempt} counts as done and has committed nothing")
            self._must(manifest == manifest_of(attempt), f"the outputs of {attempt} are those of another attempt")
            self._world.figures.counts(attempt)
        self._looked[process_id] = (len(job.outputs), parts)

    # --- now and then -------------------------------------------------------------------------------

    def full(self, cluster: Cluster) -> None:
        """Look at everything."""
        self.full_checks += 1
        self.guarded(lambda: invariants.check(cluster.state))
        saved = packed(cluster.state)
        self._must(saved == packed(self._shadow.state), "replayed, the journal leads to another state")
        self.quiet_due = True

    def quiet(self, cluster: Cluster) -> None:
        """All that was decided is written down, and all that follows from it was begun: look who is at work."""
        if self.quiet_due:
            self.quiet_due = False
            for job in cluster.state.jobs.values():
                self._waits(cluster, job)
            self._world.master.journal.keep(packed(cluster.state))

    def _waits(self, cluster: Cluster, job: Job) -> None:
        """Whoever waits has somebody who will do something about it, and can say what for."""
        if job.ended:
            return
        waiting = job.parts.count(PartState.WAITING) or job.parts.count(PartState.READY)
        said = why_job(cluster.state, job, cluster.waits)
        self._must(said or not waiting, f"parts of {job.id} wait and nobody says what for")
        asking = self._world.master.asking
        key = job.spec.key
        self._must(job.checked or ("tree", job.id, key) in asking, f"{job.id} waits for the store and nobody asks it")
        gathered = job.admitted or not job.gathering or ("inputs", job.id, key) in asking
        self._must(gathered, f"{job.id} waits for its inputs and nobody gathers them")

    def restarted(self, cluster: Cluster, journal: Journal) -> None:
        """Another master begins, with what *journal* had."""
        state = cluster.state
        if journal.durable == self._shown:
            self._must(packed(state) == packed(self._shadow.state), "a master began with another state than was saved")
        self._shadow = journal.recover(self._world.cluster)
        self._shown = journal.durable
        self.guarded(lambda: invariants.check(state), "after a restart: ")
        client = self._world.client
        for process_id in client.acknowledged:
            known = process_id in state.jobs or process_id in client.cleared
            self._must(known, f"{process_id} was acknowledged and is forgotten")
        self._looked = {}
        for job in state.jobs.values():
            parts = {part: (job.generation, job.outputs.origin(at)) for at, (part, *_) in job.outputs.positions()}
            self._looked[job.id] = (len(job.outputs), parts)

    # --- at the end ---------------------------------------------------------------------------------

    def ended(self, cluster: Cluster) -> None:
        """All jobs have ended, and nothing is under way."""
        self.full(cluster)
        for job in cluster.state.jobs.values():
            counts = job.parts.counts()
            self._must(job.ended, f"{job.id} has not ended")
            self._must(counts.done + counts.failed + counts.stopped == counts.total, f"{job.id} lost a part")
            self._must(bool(job.reason) or not (counts.failed or counts.stopped), f"nobody says why {job.id} ended so")
            least = min(job.spec.attempts, job.spec.lost_attempts + 1)
            for part in job.parts.having(PartState.FAILED) if job.admitted else ():
                tries = self._tries.get((job.id, part), 1)
                self._must(tries >= least, f"part {part} of {job.id} was given up after {tries} tries")
        left = next(iter(cluster.state.attempts), None)
        self._must(left is None, f"all jobs have ended, and the cluster still waits for {left}")
        for node in self._world.nodes.values():
            for attempt in node.runs:
                self._must(False, f"all jobs have ended, and {node.name} still runs {attempt}")

    def _must(self, true: object, what: str) -> None:
        if not true:
            raise Breach(what, self._world.agenda.now, self._world.lines)

    def guarded(self, do: Callable[[], T], what: str = "") -> T:
        """Call *do*, which may not raise; *what* begins the sentence if it does."""
        try:
            return do()
        except (DiscomputifyError, KeyError, IndexError, ValueError) as error:
            text = str(error) if isinstance(error, DiscomputifyError) else f"{type(error).__name__}: {error}"
            raise Breach(f"{what}{text}", self._world.agenda.now, self._world.lines) from error


def _difference(wanted: Sequence[Command], replayed: Sequence[Command]) -> str:
    for at in range(max(len(wanted), len(replayed))):
        one, other = wanted[at : at + 1], replayed[at : at + 1]
        if one != other:
            return f"{one[0] if one else 'nothing'} and then {other[0] if other else 'nothing'}"
    return "in another order"
