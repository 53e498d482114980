"""What parts wait for that start together, and what other jobs wait for because of them, in sentences.

Reads the state, changes nothing.
"""

from __future__ import annotations

from discomputify_core.cluster import gangs, together
from discomputify_core.cluster.state import Job, State


def why_forming(state: State, job: Job, on: str, wait: str) -> str:
    """Why none of the parts of *job* is placed, which start all at once.

    Args:
        on: names of the nodes that it may use, for people.
        wait: what the policy says of it, or "".
    """
    count, found = state.ready(job), together.ways(state, job)[0]
    rest = "" if count == job.parts.total else "remaining "
    its = f"its {count} {rest}parts start together"
    best = gangs.room_at_best(state, found)
    if best < count:
        return f"{its}{_too_large(state, job, count, best, on)}"
    held = why_held_back(state, job)
    if held:
        return f"{its}; {held}"
    now = gangs.room_for(state, found)
    if now == count:
        return f"{its}; {wait}" if wait else f"{its} and are about to be placed"
    return f"{its}: {now} of {count} would fit now; waiting for {_more(job, count - now)} on {on}{_for_it(state, job)}"


def why_joining(state: State, job: Job, on: str, busy: str) -> str:
    """Why ready parts of *job* are not placed while others of it are live.

    Args:
        on: names of the nodes that it may use, for people.
        busy: what would be said of the parts of any job.
    """
    count, live = state.ready(job), len(job.live)
    others = "another one of it that is" if live == 1 else f"{live} others of it that are"
    join = f"to join {others} under way"
    if gangs.room_at_best(state, together.ways(state, job)[0]) < count:
        return f"{join}, beside which {on} cannot hold {'it' if count == 1 else 'all of them'}"
    return f"{join}; {busy}{_for_it(state, job)}"


def why_held_back(state: State, job: Job) -> str:
    """Which gang *job* has to let go first, "" if there is none."""
    gang = state.jobs.get(state.held_back.get(job.id, job.id), job)
    if gang is job or gang.id not in state.gangs:
        return ""
    count = state.ready(gang)
    parts = "1 part" if count == 1 else f"{count} parts"
    what = f"{parts} together" if gangs.forming(state, gang) else f"{parts} to join its others"
    return f"held back: '{gang.id}' ({what}) is next and has waited for {state.now - state.gangs[gang.id]:.0f} s"


def _too_large(state: State, job: Job, count: int, best: int, on: str) -> str:
    nodes = state.open_nodes()
    usable = [node for node in nodes if node.could_run(job.spec) and node.name not in job.refused]
    need, have = count * job.spec.request.cpus, sum(node.facts.slots for node in usable)
    whose = "the connected nodes" if len(usable) == len(nodes) else "the nodes that it may use"
    if need > have:
        return f" and need {need} CPUs; {whose} have {have} in all ({on})"
    most = f", at most {job.spec.per_node} on a node" if job.spec.per_node else ""
    return f"; without any other job {whose} have room for {best} of them ({on}){most}"


def _more(job: Job, count: int) -> str:
    request = job.spec.request
    if request.cpus > 1 or request.memory or request.needs or job.spec.per_node:
        return f"room for {count} more"
    return "1 more free slot" if count == 1 else f"{count} more free slots"


def _for_it(state: State, job: Job) -> str:
    return "; other jobs are held back for it" if job.id in state.held_back.values() else ""
