"""From what is on the disk to the state that a master begins with. Damage costs what it hits, and is said; no more.

Here: snapshot and records into a Cluster, and what could not be read or does not fit. Not here: bytes (format.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from discomputify_core.cluster import saving
from discomputify_core.cluster.machine import Cluster
from discomputify_core.cluster.state import State
from discomputify_core.errors import OurBug
from discomputify_core.model import events as ev
from discomputify_core.model.ids import NodeName
from discomputify_core.model.node import NodeFacts
from discomputify_core.model.records import Record, decode
from discomputify_core.plugins.fifo import Fifo
from discomputify_core.roles.master.journal import reading
from discomputify_core.roles.master.journal.format import Framed
from discomputify_core.roles.master.journal.reading import Damage

#: The session of a node that stands for one whose coming was lost with a record: no real one has it.
LOST_SESSION = "lost with a record of the journal"
#: Most sentences about records that do not fit.
MOST_FAULTS = 1000


@attrs.define
class Recovered:
    """What the journal held."""

    state: State
    #: The number of the next record.
    next: int = 1
    #: The newest time that a record tells, Unix seconds; 0: none does.
    wall: float = 0.0
    #: Records read after the snapshot, and the number of that.
    records: int = 0
    snapshot: int = 0
    damage: list[Damage] = attrs.field(factory=list)
    #: What does not fit to what was there, a sentence each.
    faults: list[str] = attrs.field(factory=list)
    #: Jobs that lost something, or may have.
    touched: dict[str, str] = attrs.field(factory=dict)


def recover(folder: Path, until: Callable[[reading.Segment], bool] = lambda segment: True) -> Recovered:
    """Read the journal in *folder*; segments from the first on for which *until* is false are left out.

    Raises:
        BadConf: a newer release wrote it.
        DiskError: a file cannot be read at all.
    """
    snapshot, damage = reading.newest_snapshot(folder)
    found = Recovered(State(), damage=damage)
    if snapshot is not None:
        found.state = saving.load(dict(snapshot.plain))
        found.snapshot, found.next = snapshot.number, snapshot.number + 1
        found.wall = float(snapshot.plain.get("wall", 0.0))
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
    if damage.last:
        found.next = max(found.next, damage.last + 1)
    for job in damage.jobs:
        found.touched[job] = f"the master's journal was damaged: {damage}"


def _apply(cluster: Cluster, found: Recovered, framed: Framed) -> None:
    found.next = framed.number + 1
    found.records += 1
    faults: list[str] = []
    try:
        record = decode(framed.payload)
    except OurBug as bug:
        faults.append(str(bug))
    else:
        for event in record.events:
            found.wall = max(found.wall, getattr(event, "wall", 0.0))
        for placeholder in _missing(cluster, record):
            cluster.replay(placeholder, faults)
        cluster.replay(record, faults)
    for fault in faults:
        if len(found.faults) < MOST_FAULTS:
            found.faults.append(f"record {framed.number}: {fault}")
    if faults:
        for job in framed.jobs:
            found.touched.setdefault(job, f"a record of the master's journal did not fit: {faults[0]}")


def _missing(cluster: Cluster, record: Record) -> Iterator[Record]:
    """Nodes that *record* gives parts to and that nobody heard of, because the record of their coming is lost.

    Without them, what they did later for jobs that are not damaged would be lost with it.
    """
    for name in dict.fromkeys(placed.node for placed in record.placed):
        if name not in cluster.state.nodes:
            facts = NodeFacts(NodeName(name), 1, session=LOST_SESSION)
            yield Record(record.now, (ev.NodeJoined(facts, "an unknown address"),))


def jobs_of(record: Record) -> tuple[str, ...]:
    """Ids of the jobs that *record* is about."""
    found: dict[str, None] = dict.fromkeys(placed.process_id for placed in record.placed)
    for event in record.events:
        spec = getattr(event, "spec", None) or getattr(event, "scope", None) or event
        attempt = getattr(event, "attempt", "") or getattr(getattr(event, "outcome", None), "attempt", "")
        process_id = getattr(spec, "process_id", "") or str(attempt).rsplit(".", 3)[0]
        if process_id:
            found[process_id] = None
    return tuple(found)
