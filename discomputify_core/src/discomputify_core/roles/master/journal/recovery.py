"""From what is on the disk to the state that a master begins with. Damage costs what it hits, and is said; no more.

Here: snapshot and records into a Cluster, and what could not be read or does not fit. Not here: bytes (format.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from discomputify_core.cluster import saving
from discomputify_core.cluster.machine import Cluster
from discomputify_core.cluster.state import State
from discomputify_core.errors import OurBug
from discomputify_core.model import events as ev
from discomputify_core.model.ids import job_of
from discomputify_core.model.records import Record, decode
from discomputify_core.plugins.fifo import Fifo
from discomputify_core.roles.master.journal import loading, reading, salvage
from discomputify_core.roles.master.journal.format import OTHERS, Framed
from discomputify_core.roles.master.journal.reading import Damage

#: Most sentences about records that do not fit.
MOST_FAULTS = 1000


@attrs.define
class Recovered:
    """What the journal held."""

    state: State
    #: The number of the next record.
    next: int = 1
    #: Ids of the jobs that the last record is about.
    last: tuple[str, ...] = ()
    #: The newest time that a record tells, Unix seconds; 0: none does.
    wall: float = 0.0
    #: Records read after the snapshot, and the number of that.
    records: int = 0
    snapshot: int = 0
    damage: list[Damage] = attrs.field(factory=list)
    #: What does not fit to what was there, a sentence each.
    faults: list[str] = attrs.field(factory=list)
    #: Jobs that lost something, or may have, and what.
    touched: dict[str, str] = attrs.field(factory=dict)
    #: Jobs whose submission, or clearing, was read.
    heard_of: dict[str, None] = attrs.field(factory=dict)


def recover(folder: Path, until: Callable[[reading.Segment], bool] = lambda segment: True) -> Recovered:
    """Read the journal in *folder*; segments from the first on for which *until* is false are left out.

    Raises:
        BadConf: a newer release wrote it.
        DiskError: a file cannot be read at all.
    """
    begun = loading.load(folder)
    found = Recovered(
        begun.state,
        next=begun.number + 1,
        last=begun.last,
        wall=begun.wall,
        snapshot=begun.number,
        damage=begun.damage,
        touched=begun.touched,
    )
    cluster = Cluster(Fifo(), state=found.state)
    for record, segment in reading.read(folder, found.snapshot):
        if not until(segment):
            break
        if isinstance(record, Damage):
            _note(found, record)
        else:
            _apply(cluster, found, record)
    return found


def _note(found: Recovered, damage: Damage) -> None:
    found.damage.append(damage)
    if not damage.last:
        return
    found.next = max(found.next, damage.last + 1)
    found.last = (OTHERS,)
    for job in damage.jobs:
        found.touched[job] = f"the master's journal was damaged: {damage}"
    if damage.others:  # any job may have lost something, but for those that had ended
        for name, each in found.state.jobs.items():
            if not each.ended:
                found.touched.setdefault(
                    name, f"the master's journal was damaged, maybe where it is about it: {damage}"
                )


def _apply(cluster: Cluster, found: Recovered, framed: Framed) -> None:
    found.next, found.last = framed.number + 1, framed.jobs
    found.records += 1
    faults: list[str] = []
    try:
        record = decode(framed.payload)
    except OurBug as bug:
        faults.append(str(bug))
    else:
        found.wall = max(found.wall, wall_of(record))
        for job in begun_or_forgotten(record):
            found.touched.pop(job, None)
            found.heard_of[job] = None
        for name in _unknown_nodes(cluster, record):
            cluster.replay(Record(record.now, (salvage.unknown_node(name),)), faults)
        cluster.replay(record, faults)
        _note_unknown(found, framed)
    for fault in faults:
        if len(found.faults) < MOST_FAULTS:
            found.faults.append(f"record {framed.number}: {fault}")
    if faults:
        for job in framed.jobs:
            found.touched.setdefault(job, f"a record of the master's journal did not fit: {faults[0]}")


def _note_unknown(found: Recovered, framed: Framed) -> None:
    """A job that is spoken of, but was never submitted: that record is among those that are lost."""
    if not any(each.others for each in found.damage):
        return
    for job in framed.jobs:
        if job not in found.state.jobs and job not in found.heard_of and job != OTHERS:
            found.touched.setdefault(job, "its submission was lost where the master's journal was damaged")


def _unknown_nodes(cluster: Cluster, record: Record) -> list[str]:
    """Nodes that *record* gives parts to and that nobody heard of, because the record of their coming is lost.

    Without them, what they did later for jobs that are not damaged would be lost with it.
    """
    return [name for name in dict.fromkeys(each.node for each in record.placed) if name not in cluster.state.nodes]


def plain(state: State, wall: float, last: Sequence[str], touched: Mapping[str, str]) -> dict[str, Any]:
    """*state* and what else a snapshot holds; see :class:`Recovered`."""
    return {**saving.save(state), "wall": wall, "last": list(last), "damaged": dict(touched)}


def wall_of(record: Record) -> float:
    """The newest time that *record* tells, Unix seconds; 0: it tells none."""
    return max((getattr(event, "wall", 0.0) for event in record.events), default=0.0)


def begun_or_forgotten(record: Record) -> list[str]:
    """Jobs that begin with *record*, or are forgotten: what was lost of an earlier one of that id is of no interest."""
    begun = [str(event.spec.process_id) for event in record.events if isinstance(event, ev.JobSubmitted)]
    return begun + [str(event.process_id) for event in record.events if isinstance(event, ev.JobClearAsked)]


def jobs_of(record: Record) -> tuple[str, ...]:
    """Ids of the jobs that *record* is about."""
    found: dict[str, None] = dict.fromkeys(placed.process_id for placed in record.placed)
    for event in record.events:
        spec = getattr(event, "spec", None) or getattr(event, "scope", None) or event
        attempt = getattr(event, "attempt", "") or getattr(getattr(event, "outcome", None), "attempt", "")
        process_id = getattr(spec, "process_id", "") or job_of(attempt)
        if process_id:
            found[process_id] = None
    return tuple(found)
