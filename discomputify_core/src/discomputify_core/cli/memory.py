"""The command ``memory``: what a job's parts share, and who waits for what."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

import click

from discomputify_core.cli.jobs import as_json, with_client
from discomputify_core.cli.output import say, say_json, table
from discomputify_core.cli.shown import counted, plain, size
from discomputify_core.client.client import Client
from discomputify_core.errors import NoSuchName
from discomputify_core.model.memory import ARRAY, BARRIER, BYTES, GATHER, JSON, REF, Listing, Row, Value

#: Most parts that a row names, most bytes of a value shown on one line, most values of a list.
MAX_PARTS, MAX_SHOWN, MAX_VALUES = 5, 64, 20
#: Bytes at which a longer value was cut by the master.
CUT = 64 * 1024


@click.command()
@click.argument("process_id", metavar="ID")
@click.argument("key", metavar="[KEY]", required=False)
@as_json
def memory(process_id: str, key: str | None, as_json: bool) -> int:
    """Show what a job's parts share: entries, locks, rounds, and who waits for what. With KEY: that entry's value."""

    async def ask(client: Client) -> tuple[Listing, int]:
        listing = await client.memory(process_id, key or "")
        return listing, (await client.status(process_id)).parts.total

    listing, total = with_client(ask)
    if key is not None and not listing.rows:
        raise NoSuchName(f"Nothing is shared under the name {key!r} in '{process_id}'.", name=key)
    if as_json:
        say_json(_as_data(listing))
    elif not listing.rows and not listing.more:
        say(f"The parts of '{process_id}' share nothing at the moment.")
    else:
        _show(listing, total, with_totals=key is None)
    return 0


def _show(listing: Listing, total: int, with_totals: bool) -> None:
    table(["NAME", "KIND", "HOLDS", "SIZE", "VERSION", "WAITS"], [_cells(row, total) for row in listing.rows])
    for line in value_lines(listing.values):
        say(line)
    if listing.more:
        say(f"… and {listing.more} more")
    if with_totals:
        limit = f" of {size(listing.most_bytes)}" if listing.most_bytes else ""
        entries = f"{listing.count} entry" if listing.count == 1 else f"{listing.count} entries"
        say(f"{entries}, {size(listing.size)}{limit}")


def _cells(row: Row, total: int) -> list[str]:
    holds = f"{row.holds}, ephemeral" if row.ephemeral else row.holds
    version = str(row.version) if row.version else ""
    return [row.name, row.kind, holds, size(row.size) if row.size else "", version, waits(row, total)]


def waits(row: Row, total: int) -> str:
    """Who waits for what there, as the end of a sentence about a job of *total* parts; "" if nobody does."""
    if row.kind in (BARRIER, GATHER):
        return f"{total - len(row.missing)} of {total} parts; waiting for {_parts(row.missing)}"
    if row.kind == "lock" or not row.missing:
        return f"{_parts(row.waiting)} {'waits' if len(row.waiting) == 1 else 'wait'}" if row.waiting else ""
    return f"waiting for {_parts(row.missing)}"


def _parts(parts: Sequence[int]) -> str:
    named = ", ".join(f"part {part}" for part in parts[:MAX_PARTS])
    return f"{named} and {len(parts) - MAX_PARTS} more" if len(parts) > MAX_PARTS else named


def value_lines(values: Sequence[Value]) -> Iterable[str]:
    """The values of one entry, one per line: of a list its first ones."""
    for value in values[:MAX_VALUES]:
        yield f"  {_said(value)}"
    if len(values) > MAX_VALUES:
        yield f"  … and {counted(len(values) - MAX_VALUES, 'more value')}"


def _said(value: Value) -> str:
    if value.kind == JSON:
        return value.data.decode(errors="replace") + (" …" if len(value.data) >= CUT else "")
    if value.kind == BYTES:
        more = " …" if len(value.data) > MAX_SHOWN else ""
        return f"{value.data[:MAX_SHOWN].hex(' ')}{more}"
    meta = value.meta
    if value.kind == ARRAY or meta.get("of") == ARRAY:
        shape = " x ".join(str(each) for each in meta.get("shape", ())) or "a single one"
        what = f"array of {meta.get('dtype', '?')}, {shape}"
    else:
        what = "bytes"
    return f"{what}, {_length(meta.get('size'))} kept by {meta.get('node', '?')}" if value.kind == REF else what


def _length(count: Any) -> str:
    return size(count) if isinstance(count, int) else "?"


def _as_data(listing: Listing) -> Any:
    """*listing* for JSON: of values the JSON text, or base64 of their bytes."""
    values = [_value_data(value) for value in listing.values]
    return {name: values if name == "values" else data for name, data in plain(listing).items()}


def _value_data(value: Value) -> Any:
    text = value.data.decode(errors="replace") if value.kind == JSON else base64.b64encode(value.data).decode("ascii")
    return {"kind": value.kind, "data": text, "meta": plain(dict(value.meta))}
