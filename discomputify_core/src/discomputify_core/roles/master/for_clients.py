"""What clients ask the master: submit, status, watch, outputs, logs, stop, clear, why, memory, nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from discomputify_core import __version__
from discomputify_core.cluster import report, why
from discomputify_core.cluster.state import Job
from discomputify_core.edge import clock, weights
from discomputify_core.errors import BadInput, ChannelClosed
from discomputify_core.interfaces.calls import Asked, Operation, Operations, Reply
from discomputify_core.model import events as ev
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.files import check_digest
from discomputify_core.model.ids import NodeName
from discomputify_core.model.job import AttemptReport, JobSpec, JobStatus
from discomputify_core.model.message import (
    AboutJob,
    ClearAsked,
    DrainAsked,
    JobsAsked,
    Log,
    LogAsked,
    LogPiece,
    MasterInfo,
    MemoryAsked,
    Nodes,
    NodesAsked,
    OutputsAsked,
    Sentence,
    Statuses,
    Watch,
)
from discomputify_core.model.node import NodeStatus
from discomputify_core.roles.master import ending
from discomputify_core.roles.master.ending import MAX_WHO

if TYPE_CHECKING:
    from discomputify_core.roles.master.master import MasterNode

#: Longest time that one ``job.watch`` is held, seconds; the client asks again.
MAX_WATCH = 20.0
#: Most outputs in one answer.
MAX_OUTPUTS = 2000
#: Seconds that a node has to hand over a piece of a log.
LOG_TIMEOUT = 10.0
#: Of one part: most attempts told at once, and how many of them with the end of their stderr.
MAX_ATTEMPTS, MAX_TAILS = 200, 20
#: Most characters of a sentence about one job.
MAX_SENTENCE = 4000
#: Most warnings of a job told, and most characters of each text that is told in lists.
MAX_WARNINGS, MAX_TEXT = 50, 500


def client_operations(master: MasterNode) -> Operations:
    """Operation name -> handler."""
    desk = _Desk(master)
    return {
        "job.submit": Operation(desk.submit, changes=True),
        "job.to_resubmit": Operation(desk.to_resubmit),
        "job.resubmit": Operation(desk.resubmit, changes=True),
        "job.status": Operation(desk.status),
        "job.list": Operation(desk.list_jobs),
        "job.watch": Operation(desk.watch),
        "job.outputs": Operation(desk.outputs),
        "job.failed": Operation(desk.failed),
        "job.attempts": Operation(desk.attempts),
        "job.log": Operation(desk.log),
        "job.stop": Operation(desk.stop, changes=True),
        "job.clear": Operation(desk.clear, changes=True),
        "job.why": Operation(desk.why),
        "job.memory": Operation(desk.memory),
        "nodes": Operation(desk.nodes),
        "nodes.drain": Operation(desk.drain, changes=True),
        "master.info": Operation(desk.info),
    }


class _Desk:
    def __init__(self, master: MasterNode) -> None:
        self._master = master

    async def submit(self, asked: Asked) -> Reply:
        spec = weights.check_job(from_plain(asked.data, JobSpec))
        check_digest(spec.tree)
        if self._master.cluster.check_submit(spec):
            self._master.check_room()
            self._master.flush(ev.JobSubmitted(spec, clock.wall()))
        await self._master.settled()
        return self._status(self._master.cluster.job(spec.process_id))

    async def to_resubmit(self, asked: Asked) -> Reply:
        """What a job that may be submitted again was submitted with."""
        spec = self._job(asked).spec
        self._master.cluster.check_resubmit(attrs.evolve(spec, key=""))
        return Reply(to_plain(spec))

    async def resubmit(self, asked: Asked) -> Reply:
        spec = weights.check_job(from_plain(asked.data, JobSpec))
        check_digest(spec.tree)
        if self._master.cluster.check_resubmit(spec):
            self._master.check_room()
            self._master.flush(ev.JobResubmitted(spec, clock.wall()))
        await self._master.settled()
        return self._status(self._master.cluster.job(spec.process_id))

    def _job(self, asked: Asked) -> Job:
        return self._master.cluster.job(from_plain(asked.data, AboutJob).process_id)

    def _status(self, job: Job) -> Reply:
        status = report.job_status(self._master.cluster.state, job)
        warnings = tuple(each[:MAX_TEXT] for each in (*self._damage(job), *status.warnings)[:MAX_WARNINGS])
        return Reply(to_plain(attrs.evolve(status, warnings=warnings, reason=status.reason[:MAX_SENTENCE])))

    def _damage(self, job: Job) -> tuple[str, ...]:
        """What the job may have lost because the journal was damaged."""
        found = self._master.damaged.get(job.id)
        return () if found is None else (f"parts of what is known of this job may be lost: {found}",)

    def _halted(self) -> tuple[str, ...]:
        """What keeps everything from going on."""
        fault = self._master.journal_fault
        return (fault[:MAX_TEXT],) if fault else ()

    async def _lasting(self, reply: Reply) -> Reply:
        """*reply*, once what it tells is written down: a master that begins again must not tell it otherwise."""
        await self._master.written()
        return reply

    async def status(self, asked: Asked) -> Reply:
        return self._status(self._job(asked))

    async def list_jobs(self, asked: Asked) -> Reply:
        wanted = from_plain(asked.data or {}, JobsAsked)
        state = self._master.cluster.state
        jobs = [job for job in state.jobs.values() if job.order > wanted.after]
        page = next(weights.batches(_brief(report.job_status(state, job)) for job in jobs), ())
        more = jobs[len(page) - 1].order if len(page) < len(jobs) else 0
        return Reply(to_plain(Statuses(tuple(page), more)))

    async def watch(self, asked: Asked) -> Reply:
        watch = from_plain(asked.data, Watch)
        cluster = self._master.cluster

        def changed() -> bool:
            job = cluster.job(watch.process_id)
            return job.version > watch.seen or job.ended

        await self._master.watchers.until(watch.process_id, changed, min(watch.timeout, MAX_WATCH))
        return await self._lasting(self._status(cluster.job(watch.process_id)))

    async def outputs(self, asked: Asked) -> Reply:
        wanted = from_plain(asked.data, OutputsAsked)
        job = self._master.cluster.job(wanted.process_id)
        found = report.outputs(job, wanted.after, min(max(wanted.limit, 1), MAX_OUTPUTS))
        return await self._lasting(Reply(to_plain(found)))

    async def failed(self, asked: Asked) -> Reply:
        wanted = from_plain(asked.data, OutputsAsked)
        job = self._master.cluster.job(wanted.process_id)
        found = report.failed(job, wanted.after, min(max(wanted.limit, 1), MAX_OUTPUTS))
        return await self._lasting(Reply(to_plain(found)))

    async def attempts(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, AboutJob)
        found = report.attempts(self._master.cluster.job(about.process_id), about.part)[-MAX_ATTEMPTS:]
        older = [attrs.evolve(each, stderr_tail="", reason=each.reason[:MAX_TEXT]) for each in found[:-MAX_TAILS]]
        return Reply(to_plain((*older, *found[-MAX_TAILS:])))

    async def log(self, asked: Asked) -> Reply:
        wanted = from_plain(asked.data, LogAsked)
        job = self._master.cluster.job(wanted.process_id)
        attempt = _chosen(report.attempts(job, wanted.part), wanted, job)
        if attempt.end not in ("placed", "running"):
            return Reply(to_plain(Log(attempt.attempt, attempt.number, attempt.manifest, ended=True)))
        node = job.live[attempt.attempt].node
        desk = self._master.desks.get(node)
        if desk is None:
            return Reply(to_plain(Log(attempt.attempt, attempt.number, next=wanted.offset)))
        question = to_plain(LogPiece(attempt.attempt, wanted.stream, wanted.offset, wanted.limit))
        try:
            piece = await desk.peer.call("node.log", question, timeout=LOG_TIMEOUT)
        except ChannelClosed:
            return Reply(to_plain(Log(attempt.attempt, attempt.number, next=wanted.offset)))
        done = Log(attempt.attempt, attempt.number, next=wanted.offset + len(piece.body))
        return Reply(to_plain(done), piece.body)

    async def stop(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, AboutJob)
        ending.stop(self._master, about.process_id, about.by)
        await self._master.settled()
        return self._status(self._master.cluster.job(about.process_id))

    async def clear(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, ClearAsked)
        await ending.forget(self._master, about.process_id, keep_files=about.keep_files)
        return Reply()

    async def why(self, asked: Asked) -> Reply:
        about = from_plain(asked.data, AboutJob)
        cluster = self._master.cluster
        job = cluster.job(about.process_id)
        if about.part:
            report.attempts(job, about.part)  # refuses a part that does not exist
            first, *details = why.why_part(cluster.state, job, about.part, cluster.waits)
            told = (*self._halted(), *(each[:MAX_TEXT] for each in details[-MAX_ATTEMPTS:]))
            return Reply(to_plain(Sentence(first[:MAX_SENTENCE], told)))
        text = why.why_job(cluster.state, job, cluster.waits) or _running(job)
        warned = (*self._halted(), *self._damage(job), *report.warnings(job))
        warnings = tuple(each[:MAX_TEXT] for each in warned[:MAX_WARNINGS])
        return Reply(to_plain(Sentence(f"{job.id} is {job.state.value}: {text[:MAX_SENTENCE]}", warnings)))

    async def memory(self, asked: Asked) -> Reply:
        wanted = from_plain(asked.data, MemoryAsked)
        job = self._master.cluster.job(wanted.process_id)
        return Reply(to_plain(await self._master.memory.look(job, wanted.name)))

    async def nodes(self, asked: Asked) -> Reply:
        wanted = from_plain(asked.data or {}, NodesAsked)
        state = self._master.cluster.state
        slots = sum(node.facts.slots for node in state.nodes.values() if node.live)
        start = max(wanted.after, 0)
        rest = [self._with_fault(each) for each in report.node_statuses(state)[start:]]
        page = next(weights.batches(each if wanted.packages else _without_packages(each) for each in rest), ())
        more = start + len(page) if len(page) < len(rest) else 0
        return Reply(to_plain(Nodes(tuple(page), slots, more)))

    def _with_fault(self, status: NodeStatus) -> NodeStatus:
        fault = self._master.journal_fault
        return attrs.evolve(status, reason=fault[:MAX_TEXT]) if fault and not status.reason else status

    async def drain(self, asked: Asked) -> Reply:
        wanted = from_plain(asked.data, DrainAsked)
        self._master.cluster.check_drain(wanted.node)
        self._master.flush(ev.NodeDrainAsked(NodeName(wanted.node), wanted.undo, wanted.by[:MAX_WHO]))
        await self._master.settled()
        found = next(each for each in report.node_statuses(self._master.cluster.state) if each.name == wanted.node)
        return Reply(to_plain(_without_packages(found)))

    async def info(self, asked: Asked) -> Reply:
        cluster = self._master.cluster
        return Reply(
            to_plain(
                MasterInfo(
                    version=__version__,
                    scheduler=cluster.policy.name,
                    plugins=self._master.plugins,
                    jobs=len(cluster.state.jobs),
                    nodes=len(cluster.state.open_nodes()),
                    store=self._master.store_fault,
                    journal=self._master.journal_fault,
                )
            )
        )


def _brief(status: JobStatus) -> JobStatus:
    return attrs.evolve(
        status, failures=(), warnings=(), nodes={}, reason=status.reason[:MAX_TEXT], owner=status.owner[:MAX_WHO]
    )


def _without_packages(status: NodeStatus) -> NodeStatus:
    return status if status.facts is None else attrs.evolve(status, facts=attrs.evolve(status.facts, packages={}))


def _running(job: Job) -> str:
    counts = job.parts.counts()
    if job.ended:
        return f"all {counts.total} parts are done"
    return f"{counts.running + counts.placed} of {counts.total} parts are under way, {counts.done} are done"


def _chosen(attempts: list[AttemptReport], wanted: LogAsked, job: Job) -> AttemptReport:
    if not attempts:
        raise BadInput(f"Part {wanted.part} of '{job.id}' has not been tried yet, so there is no log.")
    if not wanted.number:
        return attempts[-1]
    for attempt in attempts:
        if attempt.number == wanted.number:
            return attempt
    tried = ", ".join(str(attempt.number) for attempt in attempts)
    raise BadInput(f"Part {wanted.part} of '{job.id}' has no attempt {wanted.number}; there are: {tried}.")
