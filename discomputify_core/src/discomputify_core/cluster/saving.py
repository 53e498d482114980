"""The cluster's state as plain data that MessagePack can hold, and back: what a snapshot of the master contains.

All that is written down is here; what is passing (see state.py) is not. A field that is added to a job or node is saved
by its name in one of the tuples below; orders of dicts count, since commands come in them. Parts and outputs are saved
as bytes, so that a job costs about what it has of them. Not here: files and checksums (roles/master/journal).
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import attrs

from discomputify_core.cluster.memory import JobMemory
from discomputify_core.cluster.parts import Outputs, Parts, Trouble
from discomputify_core.cluster.state import Attempt, Job, Node, Origin, State
from discomputify_core.errors import DiscomputifyError, OurBug
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.job import AttemptReport, End, JobSpec, Request
from discomputify_core.model.memory import Scope
from discomputify_core.model.node import NodeFacts

#: Grows whenever older releases could not read what is saved.
FORMAT = 1

Plain = dict[str, Any]

#: Fields of the state that are numbers or text.
_STATE = ("recorded", "starts", "orders", "late")
#: Fields of a job: numbers, text and None; dicts with plain values; dicts whose keys alone count.
_JOB = ["order", "submitted_wall", "ended_wall", "checked", "gathering", "admitted", "reason", "blame", "stop_asked"]
_JOB += ["generation", "started_over", "took", "timed", "submitted_at", "ended_at", "limit_passed"]
_JOB_DICTS = ["pending", "mended", "refused", "strays", "checkpoints"]
_JOB_KEYS = ["dependants", "unkept", "seconds"]
#: Fields of a node.
_NODE = ["address", "arrival", "state", "joined_wall", "reason", "stopping", "drained"]
_NODE += ["set_aside", "again_at", "times_aside"]
_NODE_DICTS = ("failing",)

_ATTEMPT = operator.attrgetter(
    *["id", "process_id", "part", "number", "node", "started_wall", "stopping", "generation", "memory", "ends_as"]
)
_REPORT = operator.attrgetter(*(field.name for field in attrs.fields(AttemptReport)))


def save(state: State) -> Plain:
    """*state* as plain data."""
    packages: dict[tuple[tuple[str, str], ...], int] = {}
    return {
        "format": FORMAT,
        "now": state.recorded,
        **{name: getattr(state, name) for name in _STATE},
        "clearing": list(state.clearing),
        "clearing_memory": [[each.process_id, each.key, each.generation] for each in state.clearing_memory],
        "gangs": _pairs(state.gangs),
        "doubling": list(state.doubling),
        "jobs": [_save_job(job) for job in state.jobs.values()],
        "nodes": [_save_node(node, packages) for node in state.nodes.values()],
        "packages": [dict(each) for each in packages],
        "attempts": [_save_attempt(attempt, _waited_for(state, attempt)) for attempt in state.attempts.values()],
    }


def load(plain: Mapping[str, Any]) -> State:
    """The state that :func:`save` made *plain* of.

    Raises:
        OurBug: it did not, or another release did.
    """
    found = plain.get("format") if isinstance(plain, Mapping) else None
    if found != FORMAT:
        raise OurBug(f"A saved state has the format {found!r}; this release reads {FORMAT}.")
    try:
        return _load(plain)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, DiscomputifyError) as error:
        raise OurBug(f"A saved state cannot be read: {type(error).__name__}: {error}") from error


def _load(plain: Mapping[str, Any]) -> State:
    state = State(**{name: plain[name] for name in _STATE})
    state.now = state.recorded
    state.clearing = dict.fromkeys(plain["clearing"])
    state.clearing_memory = {Scope(*each): None for each in plain["clearing_memory"]}
    state.gangs = dict(plain["gangs"])
    state.doubling = dict.fromkeys(plain["doubling"])
    for saved in plain["jobs"]:
        job = _load_job(saved)
        state.jobs[job.id] = job
    for saved in plain["nodes"]:
        node = _load_node(saved, plain["packages"], state)
        state.nodes[node.name] = node
    for row in plain["attempts"]:
        attempt, waited_for = _load_attempt(row, state), row[10]
        state.attempts[attempt.id] = attempt
        state.nodes[attempt.node].take(attempt)
        if waited_for:
            state.jobs[attempt.process_id].add(attempt)
    ready = [job for job in state.jobs.values() if state.ready(job)]
    state.hungry = {job.id: job for job in sorted(ready, key=lambda job: job.rank)}
    for job in sorted(state.jobs.values(), key=lambda job: job.ended_at):
        state.clock(job)
    return state


# --- jobs -----------------------------------------------------------------------------------------------


def _save_job(job: Job) -> Plain:
    return {
        "spec": to_plain(job.spec),
        **{name: getattr(job, name) for name in _JOB},
        **{name: _pairs(getattr(job, name)) for name in _JOB_DICTS},
        **{name: list(getattr(job, name)) for name in _JOB_KEYS},
        "parts": job.parts.save(),
        "outputs": job.outputs.save(),
        "origins": [[each.key, each.tree] for each in job.origins],
        "reports": [list(_REPORT(each)) for reports in job.reports.values() for each in reports],
        "recent": [list(_REPORT(each)) for each in job.recent],
        "stderr_kept": [list(each) for each in job.stderr_kept],
        "failed_on": [[name, sorted(parts)] for name, parts in job.failed_on.items()],
        "ran_on": [[name, python, list(versions)] for name, (python, versions) in job.ran_on.items()],
        "fenced": [[part, [list(each) for each in places]] for part, places in job.fenced.items()],
        "memory": _save_memory(job.memory),
    }


def _load_job(plain: Plain) -> Job:
    fields = {name: plain[name] for name in _JOB}
    job = Job(
        from_plain(plain["spec"], JobSpec),
        parts=Parts.load(plain["parts"]),
        outputs=Outputs.load(plain["outputs"]),
        origins=[Origin(*each) for each in plain["origins"]],
        memory=_load_memory(plain["memory"]),
        **fields,
    )
    for name in _JOB_DICTS:
        getattr(job, name).update(plain[name])
    for name in _JOB_KEYS:
        getattr(job, name).update(dict.fromkeys(plain[name]))
    for row in plain["reports"]:
        report = AttemptReport(*row)
        job.reports.setdefault(report.part, []).append(report)
    job.recent.extend(AttemptReport(*row) for row in plain["recent"])
    job.stderr_kept.extend((part, number) for part, number in plain["stderr_kept"])
    job.failed_on.update((name, set(parts)) for name, parts in plain["failed_on"])
    job.ran_on.update((name, (python, tuple(versions))) for name, python, versions in plain["ran_on"])
    job.fenced.update((part, [(node, each) for node, each in places]) for part, places in plain["fenced"])
    return job


def _save_memory(memory: JobMemory) -> list[Any]:
    trouble = [[part, *_save_trouble(each)] for part, each in memory.trouble.items()]
    return [memory.table, memory.used, memory.told, bytes(memory.done_parts), trouble]


def _load_memory(plain: list[Any]) -> JobMemory:
    table, used, told, done, trouble = plain
    kept = {part: _load_trouble(rest) for part, *rest in trouble}
    return JobMemory(table, used, told, done_parts=bytearray(done), trouble=kept)


def _save_trouble(trouble: Trouble) -> list[Any]:
    return [trouble.number, trouble.failures, trouble.losses, sorted(trouble.failed_on)]


def _load_trouble(plain: list[Any]) -> Trouble:
    number, failures, losses, failed_on = plain
    return Trouble(number, failures, losses, frozenset(failed_on))


# --- nodes and attempts ---------------------------------------------------------------------------------


def _save_node(node: Node, packages: dict[tuple[tuple[str, str], ...], int]) -> Plain:
    """A node; what is installed there is mostly the same on many nodes, and kept once."""
    installed = tuple(sorted(node.facts.packages.items()))
    return {
        "facts": to_plain(attrs.evolve(node.facts, packages={})),
        "packages": packages.setdefault(installed, len(packages)),
        **{name: getattr(node, name) for name in _NODE},
        **{name: _pairs(getattr(node, name)) for name in _NODE_DICTS},
        "fenced": [_save_attempt(attempt, waited_for=True) for attempt in node.fenced.values()],
    }


def _load_node(plain: Plain, packages: list[dict[str, str]], state: State) -> Node:
    facts = attrs.evolve(from_plain(plain["facts"], NodeFacts), packages=packages[plain["packages"]])
    node = Node(facts, order=0, **{name: plain[name] for name in _NODE})
    node.seen_wall = node.joined_wall
    node.seen_at = node.cut_at = state.now
    for name in _NODE_DICTS:
        getattr(node, name).update(plain[name])
    for row in plain["fenced"]:
        attempt = _load_attempt(row, state)
        node.fenced[attempt.id] = attempt
    node.fill()
    return node


def _save_attempt(attempt: Attempt, waited_for: bool) -> list[Any]:
    *fields, ends_as = _ATTEMPT(attempt)
    # What an attempt of a job that is not known any more occupies cannot be found in the job.
    request = None if waited_for else to_plain(attempt.request)
    return [*fields, None if ends_as is None else ends_as.value, waited_for, request]


def _load_attempt(row: list[Any], state: State) -> Attempt:
    name, process_id, part, number, node, started, stopping, generation, memory, ends_as, waited_for, asked = row
    request = state.jobs[process_id].spec.request if waited_for else from_plain(asked, Request)
    return Attempt(
        name,
        process_id,
        part,
        number,
        node,
        request,
        started,
        stopping=stopping,
        generation=generation,
        memory=memory,
        ends_as=None if ends_as is None else End(ends_as),
    )


def _waited_for(state: State, attempt: Attempt) -> bool:
    job = state.jobs.get(attempt.process_id)
    return job is not None and attempt.id in job.live


def _pairs(values: Mapping[Any, Any]) -> list[list[Any]]:
    return [[key, value] for key, value in values.items()]
