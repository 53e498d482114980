"""What the master writes down: one record for each batch of events that changed something, and its bytes.

A record holds what happened and what was decided, so that reading it again gives the same state without asking
anybody: no clock, no policy. Signs of life and progress are not written down. Not here: files (roles/master/journal).
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any

import attrs
import msgpack

from discomputify_core.errors import OurBug, PeerBroke
from discomputify_core.model import events as ev
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import End, Outcome

#: Events that leave no trace: what they tell is told again.
PASSING = (ev.NodeBeat, ev.NodeRefused, ev.AttemptProgressed, ev.Tick)

_KINDS: dict[str, type] = {kind.__name__: kind for kind in typing.get_args(ev.Event)}


@attrs.frozen
class Placed:
    """*count* parts of a job, of those that are to avoid the nodes *avoid*, were given to *node*."""

    process_id: ProcessId
    avoid: tuple[NodeName, ...]
    node: NodeName
    count: int
    #: The part that is tried there while another attempt of it runs; 0: parts that were ready.
    part: int = 0


@attrs.frozen
class Record:
    """One batch: at *now* (seconds of the cluster's clock) *events* happened, and then parts were *placed*."""

    now: float
    events: tuple[ev.Event, ...] = ()
    placed: tuple[Placed, ...] = ()


def encode(record: Record) -> bytes:
    """*record* as MessagePack."""
    events = [_plain(event) for event in record.events]
    placed = [[each.process_id, list(each.avoid), each.node, each.count, each.part] for each in record.placed]
    packed: bytes = msgpack.packb([record.now, events, placed])
    return packed


def decode(data: bytes) -> Record:
    """What :func:`encode` made *data* of. Events of kinds that this release does not know are an error.

    Raises:
        OurBug: it did not.
    """
    try:
        now, events, placed = msgpack.unpackb(data, strict_map_key=False)
        return Record(
            float(now),
            tuple(_event(*plain) for plain in events),
            tuple(
                Placed(ProcessId(pid), tuple(map(NodeName, avoid)), NodeName(node), int(count), int(part))
                for pid, avoid, node, count, part in placed
            ),
        )
    except (ValueError, TypeError, KeyError, msgpack.exceptions.UnpackException, PeerBroke) as error:
        raise OurBug(f"A record of the journal cannot be read: {error}") from error


# There are two events for every part that runs, so these two are written in short, and read without looking at every
# field: their bytes have a checksum.
_STARTED, _DONE = 1, 2
#: Fields of an outcome that is nothing but good, in the order in which they are written.
_GOOD = ("attempt", "manifest", "output_files", "output_bytes", "started_at", "ended_at", "cpu_seconds", "peak_memory")


def _plain(event: ev.Event) -> list[Any]:
    if isinstance(event, ev.AttemptStarted):
        return [_STARTED, event.node, event.attempt, event.wall]
    if isinstance(event, ev.AttemptEnded):
        outcome = event.outcome
        good = [getattr(outcome, name) for name in _GOOD]
        if outcome == _good(good):
            return [_DONE, event.node, event.wall, *good]
    return [type(event).__name__, to_plain(event)]


def _good(fields: Sequence[Any]) -> Outcome:
    attempt, manifest, files, size, started, ended, seconds, memory = fields
    return Outcome(
        attempt,
        End.DONE,
        manifest=manifest,
        output_files=files,
        output_bytes=size,
        started_at=started,
        ended_at=ended,
        cpu_seconds=seconds,
        peak_memory=memory,
    )


def _event(kind: str | int, *fields: Any) -> ev.Event:
    if kind == _STARTED:
        node, attempt, wall = fields
        return ev.AttemptStarted(node, attempt, wall)
    if kind == _DONE:
        node, wall, *good = fields
        return ev.AttemptEnded(node, _good(good), wall)
    event: ev.Event = from_plain(fields[0], _KINDS[str(kind)])
    return event
