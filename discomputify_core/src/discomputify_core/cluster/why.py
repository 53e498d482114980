"""Why a job, part or node is as it is, in sentences. Reads the state, changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from discomputify_core.cluster import gangs, setting_aside
from discomputify_core.cluster.placement import offers
from discomputify_core.cluster.requirements import Lack, nobody_has, some_lack
from discomputify_core.cluster.state import Job, Node, State
from discomputify_core.cluster.why_together import why_forming, why_held_back, why_joining
from discomputify_core.cluster.why_waiting import why_not_admitted
from discomputify_core.model.job import JobSpec, PartState
from discomputify_core.model.sizes import memory_size, size
from discomputify_core.model.view import fits

#: Most nodes of which is said why they take no new parts.
CLOSED = 3


def why_job(state: State, job: Job, waits: Mapping[str, str] | None = None) -> str:
    """What *job* waits for, or why it ended so; "" when it simply runs."""
    counts = job.parts.counts()
    if job.ended:
        return job.reason
    if job.stop_asked:
        return f"{job.reason}; {_parts(counts.placed + counts.running)} being ended"
    if not job.admitted:
        return why_not_admitted(state, job)
    placing = _why_not_placed(state, job, (waits or {}).get(job.id, "")) if counts.ready else ""
    return "; ".join(filter(None, (placing, _waiting(job), _left_out(state, job))))


def _lacks(job: Job, nodes: Sequence[Node]) -> list[tuple[str, tuple[Lack, ...]]]:
    """What *nodes* lack of what *job* requires."""
    return [(node.name, node.lacks(job.spec)) for node in nodes] if job.spec.require else []


def _left_out(state: State, job: Job) -> str:
    """Which nodes get no part that is ready, because they lack what *job* requires, while others do not."""
    lacks = _lacks(job, state.open_nodes()) if job.parts.count(PartState.READY) else []
    return "" if all(each for _, each in lacks) else some_lack(lacks)


def _waiting(job: Job) -> str:
    """What parts wait for whose programs have ended."""
    if not job.waiting:
        return ""
    first, sentence = next(iter(job.waiting.items()))
    more = f" (and {_parts(len(job.waiting) - 1)} waiting like it)" if len(job.waiting) > 1 else ""
    return f"part {job.live[first].part}: {sentence}{more}"


def _why_not_placed(state: State, job: Job, wait: str) -> str:
    ready = f"{_parts(job.parts.count(PartState.READY))} ready"
    nodes = state.open_nodes()
    if not nodes:
        closed = _closed(state)
        takes = f"takes new parts: {closed}" if closed else f"is connected{_expected(state)}"
        return f"{ready}; no computing node {takes}"
    nobody = nobody_has(_lacks(job, nodes))
    if nobody:
        return f"{ready}; {nobody}"
    never = {node.name: _never(job.spec, node) for node in nodes}
    if all(never.values()):
        return f"{ready}, but no node could ever run one: " + "; ".join(dict.fromkeys(never.values()))
    usable = [node for node in nodes if not never[node.name] and node.name not in job.refused]
    if not usable:
        return f"{ready}; the nodes that could run them get no more of this job: " + "; ".join(job.refused.values())
    if gangs.forming(state, job):
        return why_forming(state, job, _names(usable), wait)
    closed = _closed(state)
    busy = (wait or _why_busy(state, job, usable)) + (f" ({closed})" if closed else "")
    if gangs.joining(job):
        return f"{ready}, {why_joining(state, job, _names(usable), busy)}"
    return f"{ready}; {why_held_back(state, job) or busy}"


def _why_busy(state: State, job: Job, usable: list[Node]) -> str:
    """What keeps ready parts of *job* off nodes that could run them."""
    avoid = frozenset.intersection(*(offer.ready.avoid for offer in offers(state, [job])))
    others = [node for node in usable if node.name not in avoid]
    if len(others) == len(usable):
        return _why_full(job, usable)
    failed = _names([node for node in usable if node.name in avoid])
    if not others:
        return f"waiting for other nodes than {failed}, where they failed before"
    them = "it" if job.parts.count(PartState.READY) == 1 else "they"
    return f"{them} failed on {failed} before; {_why_full(job, others)}"


def _why_full(job: Job, usable: list[Node]) -> str:
    free = [n for n in usable if fits(job.spec.request, n.free_cpus, n.free_memory, n.free_resources)]
    full = _full(job)
    if free and all(node.name in full for node in free):
        most = job.spec.per_node
        others = "no other part" if most == 1 else "fewer parts"
        return f"waiting for a node that runs {others} of it: at most {most} at once on {_names(free)}"
    if free:
        return "about to be placed"
    lacking = sorted({_lacking(job.spec, node) for node in usable})
    return f"waiting for {' or '.join(lacking)} on {_names(usable)}, in use by running parts"


def _full(job: Job) -> set[str]:
    """The nodes that run as many parts of *job* as it wants on one."""
    if not job.spec.per_node:
        return set()
    return {node for node, count in job.parts_on_nodes().items() if count >= job.spec.per_node}


def _parts(count: int) -> str:
    return "1 part is" if count == 1 else f"{count} parts are"


def _never(spec: JobSpec, node: Node) -> str:
    """Why *node* could never run a part of the job, "" if it could."""
    facts, request = node.facts, spec.request
    if request.cpus > facts.slots:
        return f"a part needs {request.cpus} CPUs, {node.name} has {facts.slots}"
    if request.memory > facts.memory:
        return f"a part needs {memory_size(request.memory)} of memory, {node.name} has {memory_size(facts.memory)}"
    for name, count in request.needs.items():
        has = facts.resources.get(name, 0)
        if count > has:
            return f"a part needs {count} {name}, {node.name} has {has or 'none'}"
    if spec.part_bytes > facts.cache_limit:
        return (
            f"a part needs {size(spec.part_bytes)} of files in place, the cache of {node.name} may hold "
            f"{size(facts.cache_limit)} (CACHE_LIMIT)"
        )
    for lack in node.lacks(spec):
        return f"a part needs {lack.text}, {node.name} has {lack.has}"
    return ""


def _lacking(spec: JobSpec, node: Node) -> str:
    """What keeps the next part off *node* just now."""
    request = spec.request
    if request.cpus > node.free_cpus:
        return "a free slot" if request.cpus == 1 else f"{request.cpus} free CPUs"
    if request.memory > node.free_memory:
        return f"{memory_size(request.memory)} of free memory"
    for name, count in request.needs.items():
        if count > node.free_resources.get(name, 0):
            return f"{count} free {name}"
    return "room"


def why_part(state: State, job: Job, part: int, waits: Mapping[str, str] | None = None) -> list[str]:
    """Sentences about one part: where it is and why, then its attempts, oldest first."""
    where = job.parts.state(part)
    said = [f"attempt {r.number} on {r.node}: {r.reason or r.end}" for r in job.reports.get(part, ())]
    if where is PartState.READY:
        now = f"part {part} is ready: {why_job(state, job, waits)}"
    elif where is PartState.WAITING:
        now = f"part {part} waits: {why_job(state, job, waits)}"
    elif where in (PartState.PLACED, PartState.RUNNING):
        live, *others = job.attempts_of(part)
        waiting = job.waiting.get(live.id, "")
        running = "ran" if waiting else "runs"
        doing = running if where is PartState.RUNNING else "is being prepared (its files are put in place)"
        now = f"part {part} {doing} on {live.node}, attempt {live.number}" + (f": {waiting}" if waiting else "")
        if live.stopping:
            now += f"; it is being ended: {live.stopping}"
        for other in others:
            now += f"; at the same time on {other.node}, attempt {other.number}"
            now += f", which is being ended: {other.stopping}" if other.stopping else ""
        if part in job.checkpoints:
            now += "; it has a checkpoint, from which its next attempt would go on"
    elif where is PartState.DONE:
        done = job.outputs.find(part)
        now = f"part {part} is done" + (f" on {done[2]}, attempt {done[1]}" if done else "")
    elif where is PartState.FAILED:
        last = job.reports.get(part)
        now = f"part {part} failed: {last[-1].reason if last else job.reason}"
    else:
        now = f"part {part} was stopped: {job.reason}"
    return [now, *said]


def node_sentence(state: State, node: Node) -> str:
    """What holds *node* back, if anything."""
    if node.member and not node.live:
        how_long = "for it" if node.away else "a moment for it"
        return f"{node.reason}; waiting {how_long} to come back"
    if not node.live:
        return node.reason
    said = [setting_aside.sentence(node, state.now)]
    said += [why for job in state.jobs.values() if (why := job.refused.get(node.name))]
    return "; ".join(filter(None, said))


def _closed(state: State) -> str:
    """Why nodes that are there, or were a moment ago, take no new parts; of the first few."""
    closed = [node for node in state.nodes.values() if node.member and not node.takes_parts]
    closed.sort(key=lambda node: node.order)
    said = [f"{node.name} {node_closed(node, state.now)}" for node in closed[:CLOSED]]
    return "; ".join(said) + (f"; and {len(closed) - CLOSED} more" if len(closed) > CLOSED else "")


def node_closed(node: Node, now: float) -> str:
    """Why *node* takes no new parts, without its name."""
    if not node.live:
        return "is away" if node.away else "is cut off"
    said = setting_aside.sentence(node, now)
    return f"is {said}" if said.startswith(("set aside", "not heard")) else said


def _expected(state: State) -> str:
    missing = [name for name in state.expected if name not in state.nodes]
    return f" (expected: {', '.join(missing[:5])}{', …' if len(missing) > 5 else ''})" if missing else ""


def _names(nodes: list[Node]) -> str:
    names = [node.name for node in nodes]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
