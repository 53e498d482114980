"""The master's end of one computing node's connection: what is on its way there. Not here: what is decided."""

from __future__ import annotations

import asyncio

import attrs

from discomputify_core.edge.calls import Peer
from discomputify_core.model.commands import DropJob, StartPart, StopAttempt
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.message import Start, Work


@attrs.define
class NodeDesk:
    """The master's end of one node's connection."""

    peer: Peer
    session: str
    #: Keys of jobs whose spec was sent over this connection.
    known: dict[ProcessId, str] = attrs.field(factory=dict)
    outbox: asyncio.Queue[Work] = attrs.field(factory=asyncio.Queue)
    sender: asyncio.Task[None] | None = None


def work_for(desk: NodeDesk, orders: list[StartPart | StopAttempt | DropJob]) -> Work:
    """One message for one node; a job's spec travels with its first part only."""
    jobs, start, stop, drop = [], [], {}, []
    for order in orders:
        if isinstance(order, StartPart):
            spec = order.spec
            if desk.known.get(spec.process_id) != spec.key:
                desk.known[spec.process_id] = spec.key
                jobs.append(spec)
            start.append(Start(spec.process_id, spec.key, order.attempt, order.part, order.number))
        elif isinstance(order, StopAttempt):
            stop[str(order.attempt)] = order.reason
        else:
            drop.append(order.process_id)
            desk.known.pop(order.process_id, None)
    return Work(tuple(jobs), tuple(start), stop, tuple(drop))
