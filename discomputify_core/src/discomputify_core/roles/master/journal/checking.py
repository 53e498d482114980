"""Looking at a journal from outside, also while a master writes to it: what it holds, and all that is damaged in it.

Reads only. Not here: how it is told (cli/journal.py).
"""

from __future__ import annotations

from pathlib import Path

from discomputify_core.errors import DiskError
from discomputify_core.roles.master.journal import reading, snapshots
from discomputify_core.roles.master.journal.reading import Damage
from discomputify_core.roles.master.journal.recovery import Recovered, recover

#: How often it is read again because a master removed what it does not need any more.
TRIES = 5


def look(folder: Path) -> Recovered:
    """What a master that starts now would find.

    Raises:
        BadConf: a newer release wrote it.
        DiskError: a file cannot be read at all.
    """
    return _steady(folder, everything=False)


def check(folder: Path) -> Recovered:
    """The same, with the damage to what such a master would not read: older segments, and the older snapshot.

    Raises:
        BadConf: a newer release wrote it.
        DiskError: a file cannot be read at all.
    """
    return _steady(folder, everything=True)


def _steady(folder: Path, everything: bool) -> Recovered:
    for left in reversed(range(TRIES)):
        before = _files(folder)
        try:
            found = recover(folder)
            if everything:
                found.damage += [each for each in _all_damage(folder) if each not in found.damage]
        except DiskError:
            if not left or before <= _files(folder):
                raise
        else:
            if not left or before <= _files(folder):
                return found
    raise AssertionError("the last try returns or raises")


def _files(folder: Path) -> set[Path]:
    return {*snapshots.paths(folder), *(segment.path for segment in reading.segments(folder))}


def _all_damage(folder: Path) -> list[Damage]:
    damage = []
    for path in snapshots.paths(folder):
        found = snapshots.read(path)
        if isinstance(found, str):
            damage.append(Damage(path, detail=found))
        elif found.damage:
            damage.append(Damage(path, detail=found.damage, jobs=found.jobs))
    segments = reading.segments(folder)
    if segments:
        rest = reading.read(folder, segments[0].first - 1)
        damage += [record for record, _ in rest if isinstance(record, Damage)]
    return damage
