"""How the cluster looks from outside: jobs, nodes, outputs, attempts. Reads the state, changes nothing."""

from __future__ import annotations

from itertools import islice

from discomputify_core.cluster.state import Job, Node, State
from discomputify_core.cluster.why import node_sentence, why_job
from discomputify_core.errors import BadInput
from discomputify_core.model.job import DEPENDANTS, AttemptReport, JobStatus, PartOutput, PartState
from discomputify_core.model.message import Outputs
from discomputify_core.model.node import NodeFacts, NodeLoad, NodeStatus


def job_status(state: State, job: Job) -> JobStatus:
    """*job* as clients see it."""
    running = len(job.live)
    return JobStatus(
        process_id=job.id,
        state=job.state,
        parts=job.parts.counts(),
        submitted_at=job.submitted_wall,
        ended_at=job.ended_wall,
        reason=job.reason if job.ended or job.stop_asked else why_job(state, job),
        owner=job.spec.owner,
        version=job.version,
        tree=job.spec.tree,
        failures=tuple(job.recent),
        warnings=tuple(warnings(job)),
        progress=job.progress / running if running else 0.0,
        note=job.note,
        input_path=job.spec.input_path,
        output_path=job.spec.output_path,
        nodes={str(name): count for name, count in job.outputs.by_node.items()},
        after=job.spec.after,
        after_any=job.spec.after_any,
        inputs_from=job.spec.inputs_from,
        dependants=tuple(islice(job.dependants, DEPENDANTS)),
        together=job.spec.together,
        generation=job.generation,
        trees=_trees(job),
        output_bytes=job.outputs.bytes,
        tree_bytes=job.spec.tree_bytes,
    )


def _trees(job: Job) -> tuple[tuple[str, int], ...]:
    """The programs of a job, the first one first, and how many parts are done by each."""
    found = dict.fromkeys((origin.tree for origin in job.origins), 0)
    for origin, count in zip(job.origins, job.outputs.by_origin, strict=True):
        found[origin.tree] += count
    return tuple(found.items())


def warnings(job: Job) -> list[str]:
    """What the user should know although it stops nothing."""
    found = []
    if job.generation:
        times = "once" if job.generation == 1 else f"{job.generation} times, the last time"
        found.append(f"all parts that shared memory started again together {times}: {job.started_over}")
    if job.strays:
        names = ", ".join(sorted(job.strays)[:5]) + (", …" if len(job.strays) > 5 else "")
        found.append(
            f"parts left new or changed files outside {job.spec.output_path}, which are not fetched: {names} "
            f"(write them under {job.spec.output_path}, or submit with --collect PATTERN)"
        )
    if job.unkept:
        more = f" … and {len(job.unkept) - 5} more" if len(job.unkept) > 5 else ""
        found.append(f"some files cannot be collected: {' '.join(list(job.unkept)[:5])}{more}")
    pythons = {python: name for name, (python, _) in job.ran_on.items()}
    if len(pythons) > 1:
        said = ", ".join(f"{python} on {name}" for python, name in sorted(pythons.items()))
        found.append(f"parts ran under different versions of Python: {said}")
    for at, package in enumerate(job.spec.requirements):
        versions = {versions[at] or "not installed": name for name, (_, versions) in job.ran_on.items()}
        if len(versions) > 1:
            said = ", ".join(f"{version} on {name}" for version, name in sorted(versions.items()))
            found.append(f"parts ran with different versions of {package}: {said}")
    for name, why in job.refused.items():
        found.append(f"node {name} gets no more parts of this job: {why}")
    return found


def outputs(job: Job, after: int, limit: int) -> Outputs:
    """Committed outputs in the order of their commits, from position *after* on."""
    stop = min(len(job.outputs), after + limit)
    rows = job.outputs.positions(max(after, 0), stop)
    return Outputs(
        outputs=tuple(
            PartOutput(part, number, job.attempt_at(at), manifest) for at, (part, number, _, manifest) in rows
        ),
        next=stop,
        ended=job.ended and stop == len(job.outputs),
    )


def failed(job: Job, after: int, limit: int) -> Outputs:
    """Failed parts above number *after*, each with the manifest of its last attempt's logs ("" if none was kept)."""
    found: list[PartOutput] = []
    for part in job.parts.having(PartState.FAILED, after + 1):
        if len(found) == limit:
            break
        reports = job.reports.get(part)
        if reports:
            last = reports[-1]
            found.append(PartOutput(part, last.number, last.attempt, last.manifest, state="failed"))
    return Outputs(tuple(found), next=found[-1].part if found else after, ended=len(found) < limit)


def attempts(job: Job, part: int) -> list[AttemptReport]:
    """All attempts of *part* that are known, oldest first.

    Raises:
        BadInput: the job has no such part.
    """
    if not 1 <= part <= job.parts.total:
        raise BadInput(f"The job '{job.id}' has parts 1 to {job.parts.total}; there is no part {part}.")
    found = list(job.reports.get(part, ()))
    for live in job.attempts_of(part):
        end = "running" if live.started_wall else "placed"
        found.append(AttemptReport(part, live.number, live.id, live.node, end=end, started_at=live.started_wall))
    at = job.outputs.position(part) if job.parts.state(part) is PartState.DONE else None
    if at is not None:
        _, number, name, manifest = job.outputs.row(at)
        found.append(AttemptReport(part, number, job.attempt_at(at), name, end="done", manifest=manifest))
    return sorted(found, key=lambda report: report.number)


def node_statuses(state: State) -> list[NodeStatus]:
    """All nodes: expected ones that never came and refused peers too."""
    found = [_node_status(state, node) for node in sorted(state.nodes.values(), key=lambda node: node.order)]
    hosts = {node.address.rpartition(":")[0].strip("[]") for node in state.nodes.values()}
    for name in state.expected:
        if name not in state.nodes and name not in hosts:
            found.append(NodeStatus(name, "missing", reason="listed in COMPUTING_NODES, has not joined yet"))
    for name, (address, reason, wall) in state.refused.items():
        found.append(NodeStatus(name, "refused", address=address, reason=reason, seen_at=wall))
    return found


def _node_status(state: State, node: Node) -> NodeStatus:
    facts: NodeFacts = node.facts
    return NodeStatus(
        name=node.name,
        state="away" if node.away else node.state,
        slots=facts.slots,
        running=len(node.attempts),
        load=node.load if node.live else NodeLoad(),
        address=node.address,
        reason=node_sentence(state, node),
        facts=facts,
        seen_at=node.seen_wall,
        drained=bool(node.drained),
    )
