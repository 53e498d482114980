"""A state of which pieces are missing, made fit to go on with: what refers to the missing ones is left out. Pure.

Needed only where both snapshots are damaged. Not here: what is missing (snapshots.py), how a state is saved
(cluster/saving.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from discomputify_core.cluster import saving
from discomputify_core.cluster.machine import Cluster
from discomputify_core.model import events as ev
from discomputify_core.model.ids import NodeName
from discomputify_core.model.node import NodeFacts
from discomputify_core.plugins.fifo import Fifo

#: The session of a node that stands for one of which nothing is known but its name: no real one has it.
LOST_SESSION = "lost with a part of the journal"


def unknown_node(name: str) -> ev.NodeJoined:
    """The coming of a node of which nothing is known but its name."""
    return ev.NodeJoined(NodeFacts(NodeName(name), 1, session=LOST_SESSION), "an unknown address")


def mended(plain: Mapping[str, Any], nodes: Sequence[str]) -> dict[str, Any]:
    """*plain*, a saved state in which jobs and the *nodes* are missing, as one that can be loaded."""
    jobs = {job["spec"]["process_id"] for job in plain["jobs"]}
    here = [*plain["nodes"], *(_unknown(name, plain) for name in nodes)]
    return {
        **plain,
        "jobs": [{**job, "fenced": [], "dependants": _of(job["dependants"], jobs)} for job in plain["jobs"]],
        # What could come back with a node that was given up does not: its parts are elsewhere, or ready.
        "nodes": [{**node, "fenced": []} for node in here],
        "packages": plain["packages"] or [{}],
        "gangs": [[job, since] for job, since in plain["gangs"] if job in jobs],
        "doubling": _of(plain["doubling"], jobs),
        # Of a job that is lost nobody waits for an attempt: its node is told to stop it.
        "attempts": [row for row in plain["attempts"] if row[1] in jobs or not row[10]],
    }


def _of(names: Sequence[str], known: set[str]) -> list[str]:
    return [name for name in names if name in known]


def _unknown(name: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    cluster = Cluster(Fifo())
    cluster.handle(unknown_node(name), now=plain["now"])
    return {**saving.save(cluster.state)["nodes"][0], "packages": 0}


def orphans(plain: Mapping[str, Any]) -> dict[str, str]:
    """Jobs that wait for one that is missing, and for which."""
    jobs = {job["spec"]["process_id"] for job in plain["jobs"]}
    waiting = [(job["spec"]["process_id"], each) for job in plain["jobs"] for each, _ in job["pending"]]
    return {job: before for job, before in waiting if before not in jobs}
