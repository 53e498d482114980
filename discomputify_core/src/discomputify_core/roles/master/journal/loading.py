"""The state that the journal's snapshots give: the newest whole one, else what is left of the least damaged.

Not here: the records after it (reading.py, recovery.py).
"""

from __future__ import annotations

from pathlib import Path

import attrs

from discomputify_core.cluster import saving
from discomputify_core.cluster.machine import Cluster
from discomputify_core.cluster.state import State
from discomputify_core.errors import OurBug
from discomputify_core.model import events as ev
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.records import Record
from discomputify_core.plugins.fifo import Fifo
from discomputify_core.roles.master.journal import salvage, snapshots
from discomputify_core.roles.master.journal.reading import Damage
from discomputify_core.roles.master.journal.snapshots import Snapshot


@attrs.define
class Loaded:
    """What the snapshots hold."""

    state: State = attrs.field(factory=State)
    #: The number of the last record in it.
    number: int = 0
    #: The newest time that it knows, Unix seconds.
    wall: float = 0.0
    damage: list[Damage] = attrs.field(factory=list)
    #: Jobs that lost something, and what.
    touched: dict[str, str] = attrs.field(factory=dict)
    #: The jobs that its last record was about.
    last: tuple[str, ...] = ()


def load(folder: Path) -> Loaded:
    """The newest state in *folder* that is whole; the one before it, if that is not; what is left of them, else.

    Raises:
        BadConf: a newer release wrote it.
    """
    damage: list[Damage] = []
    spoilt: list[Snapshot] = []
    for path in reversed(snapshots.paths(folder)):
        found = snapshots.read(path)
        if isinstance(found, str):
            damage.append(Damage(path, detail=found))
        elif found.damage:
            damage.append(Damage(path, detail=found.damage, jobs=found.jobs))
            spoilt.append(found)
        elif loaded := _loaded(found, damage):
            return loaded
    for found in sorted(spoilt, key=lambda each: len(each.jobs) + len(each.nodes)):
        if loaded := _loaded(found, damage):
            return loaded
    return Loaded(damage=damage)


def _loaded(snapshot: Snapshot, damage: list[Damage]) -> Loaded | None:
    """What *snapshot* holds; None, and another *damage*, if no state can be made of it."""
    plain = snapshot.plain
    if int(plain.get("format", 0)) > saving.FORMAT:
        raise snapshots.newer(snapshot.path, int(plain["format"]))
    try:
        state = saving.load(salvage.mended(plain, snapshot.nodes) if snapshot.damage else dict(plain))
    except (OurBug, KeyError, TypeError, IndexError) as error:
        damage.append(Damage(snapshot.path, detail=f"no state can be made of it: {error}"))
        return None
    loaded = Loaded(state, snapshot.number, float(plain["wall"]), damage, dict(plain["damaged"]), tuple(plain["last"]))
    if snapshot.damage:
        _spoilt(snapshot, loaded)
    return loaded


def _spoilt(snapshot: Snapshot, loaded: Loaded) -> None:
    """Say what is lost; who waits for a job that is lost waits no more."""
    for job in snapshot.jobs:
        loaded.touched[job] = f"it was lost with {snapshot.path}, and with the snapshot before"
    cluster = Cluster(Fifo(), state=loaded.state)
    for job, before in salvage.orphans(snapshot.plain).items():
        why = f"the master, whose journal was damaged: the job '{before}', which it was to follow, is lost"
        loaded.touched[job] = f"the job '{before}', which it was to follow, is lost"
        cluster.replay(Record(loaded.state.recorded, (ev.JobStopAsked(ProcessId(job), why, loaded.wall),)))
    node_jobs = {str(row[1]) for row in snapshot.plain["attempts"] if row[4] in snapshot.nodes}
    for job in node_jobs - loaded.touched.keys():
        loaded.touched[job] = f"what was known of nodes that ran parts of it was lost with {snapshot.path}"
