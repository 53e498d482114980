"""What people are shown of a scope. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from discomputify_core.model.memory import Limits, Listing, Row, Value
from discomputify_sharedmem.table.entries import Entry
from discomputify_sharedmem.table.scope import Scoped
from discomputify_sharedmem.table.waiting import ENTRY, LOCK, Key

#: Most rows; most values of a list, and bytes of all that are shown beyond the first.
MOST_ROWS, MOST_VALUES, MOST_BYTES = 1000, 100, 1024 * 1024
#: Most parts in one row.
MOST_PARTS = 100


def listing(scoped: Scoped | None, name: str, limits: Limits) -> Listing:
    """What *scoped* holds, or what it holds under *name*."""
    if scoped is None:
        return Listing(most_bytes=limits.job_bytes, most_count=limits.job_entries)
    rows = (row for make in (_entries, _locks, _rounds) for row in make(scoped, name))
    shown = list(islice(rows, MOST_ROWS))
    entry = scoped.entries.by_name.get(name)
    return Listing(
        rows=tuple(shown),
        size=scoped.room.size,
        count=scoped.room.count,
        most_bytes=limits.job_bytes,
        most_count=limits.job_entries,
        more=sum(1 for _ in rows),
        values=() if entry is None else tuple(_values(entry)),
    )


def _entries(scoped: Scoped, name: str) -> Iterator[Row]:
    held = scoped.entries.by_name
    for each in _names(name, held, (key[1] for key in scoped.waiting.waited_for() if key[0] == ENTRY)):
        entry = held.get(each)
        waiting = _waiting(scoped, (ENTRY, each))
        if entry is not None:
            kind, holds = "value", "" if entry.value is None else entry.value.kind
            if entry.values is not None:
                kind, holds = "list", str(len(entry.values))
            yield Row(kind, each, holds, entry.size, entry.version, waiting, ephemeral=entry.owner is not None)
        elif waiting:
            yield Row("value", each, waiting=waiting)


def _locks(scoped: Scoped, name: str) -> Iterator[Row]:
    for each in _names(name, scoped.locks.held, ()):
        held = scoped.locks.held.get(each)
        if held is not None:
            part = held.member.part
            waiting = _waiting(scoped, (LOCK, each))
            yield Row("lock", each, f"held by part {part}", waiting=waiting, missing=(part,))


def _rounds(scoped: Scoped, name: str) -> Iterator[Row]:
    for key in sorted(scoped.rounds.open):
        kind, each, number = key
        if name in ("", each):
            missing = tuple(islice(scoped.rounds.missing(key), MOST_PARTS))
            size = scoped.rounds.open[key].size
            yield Row(kind, each, f"round {number}", size, waiting=_waiting(scoped, key), missing=missing)


def _names(name: str, held: Iterable[str], waited_for: Iterable[str]) -> list[str]:
    return [name] if name else sorted({*held, *waited_for})


def _waiting(scoped: Scoped, key: Key) -> tuple[int, ...]:
    return tuple(waiter.member.part for waiter in islice(scoped.waiting.at(key), MOST_PARTS))


def _values(entry: Entry) -> Iterator[Value]:
    values = entry.values if entry.values is not None else [entry.value] if entry.value is not None else []
    size = 0
    for number, value in enumerate(islice(values, MOST_VALUES)):
        size += value.size
        if number and size > MOST_BYTES:
            return
        yield value
