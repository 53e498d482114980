"""What a scope holds, as people see it: made of what lua/look.lua answers. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from discomputify_core.errors import OurBug
from discomputify_core.model.memory import Limits, Listing, Row
from discomputify_redis.codec import LETTERS, Item, Reply, text, unpack

#: Most rows of a listing (also asked of each kind), and most values of a list that are shown.
MOST_ROWS, MOST_VALUES = 1000, 100

_KINDS = {letter: kind for kind, letter in LETTERS.items()}
#: Kind and name of what is waited for -> parts, in the order of their coming.
_Waiting = Mapping[tuple[str, str], Sequence[int]]


def listing(reply: Reply, limits: Limits, name: str) -> Listing:
    """The listing that *reply* means, of everything or of *name*."""
    (size, count), entries, locks, rounds, waiters, values = map(_list, reply[1:])
    waiting = _waiting(_list(row) for row in waiters)
    lock_rows = [_lock(_list(row), waiting) for row in locks]
    rows = [
        *_entries([_list(row) for row in entries], waiting),
        *sorted(lock_rows, key=lambda row: row.name),
        *(_round(_list(row), waiting) for row in rounds),
    ]
    return Listing(
        rows=tuple(rows[:MOST_ROWS]),
        size=int(text(size)),
        count=int(text(count)),
        most_bytes=limits.job_bytes,
        most_count=limits.job_entries,
        more=0 if name else max(0, len(rows) - MOST_ROWS, int(text(count)) + len(rounds) - MOST_ROWS),
        values=tuple(map(unpack, values)),
    )


def _list(item: Item) -> Sequence[Item]:
    if isinstance(item, bytes):
        raise OurBug("A script answered a text where a list was expected.")
    return item


def _waiting(rows: Iterable[Sequence[Item]]) -> _Waiting:
    found: dict[tuple[str, str], list[tuple[bytes, int]]] = defaultdict(list)
    for kind, name, part, ticket in rows:
        found[text(kind).decode(), text(name).decode()].append((text(ticket), int(text(part))))
    return {what: [part for _, part in sorted(waiters)] for what, waiters in found.items()}


def _entries(heads: Sequence[Sequence[Item]], waiting: _Waiting) -> list[Row]:
    rows = {}
    for name, kind, size, version, items, owner in (map(text, head) for head in heads):
        rows[name.decode()] = Row(
            "value" if kind else "list",
            name.decode(),
            kind.decode() or items.decode(),
            int(size),
            int(version),
            _for(waiting, ("g", name.decode()), ("p", name.decode())),
            ephemeral=owner != b"0",
        )
    for kind_name in waiting:
        if kind_name[0] in ("g", "p") and kind_name[1] not in rows:
            name_only = kind_name[1]
            parts = _for(waiting, ("g", name_only), ("p", name_only))
            rows[name_only] = Row("value", name_only, waiting=parts)
    return [rows[name] for name in sorted(rows)]


def _for(waiting: _Waiting, *what: tuple[str, str]) -> tuple[int, ...]:
    return tuple(part for each in what for part in waiting.get(each, ()))


def _lock(row: Sequence[Item], waiting: _Waiting) -> Row:
    name, part = text(row[0]).decode(), int(text(row[1]))
    return Row("lock", name, f"held by part {part}", waiting=_for(waiting, ("l", name)), missing=(part,))


def _round(row: Sequence[Item], waiting: _Waiting) -> Row:
    letter, raw_name, number, size, *missing = map(text, row)
    key = f"{letter.decode()}{len(raw_name):03}{raw_name.decode()}{int(number):016}"
    return Row(
        _KINDS[letter.decode()],
        raw_name.decode(),
        f"round {int(number)}",
        int(size),
        waiting=_for(waiting, (key, "")),
        missing=tuple(map(int, missing)),
    )
