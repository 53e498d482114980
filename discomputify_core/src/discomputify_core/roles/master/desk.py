"""The master's end of one computing node's connection: what is on its way there. Not here: what is decided."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import attrs

from discomputify_core.edge import weights
from discomputify_core.edge.calls import Peer
from discomputify_core.model.commands import DropJob, StartPart, StopAttempt
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobSpec
from discomputify_core.model.message import Start, Work

#: Bytes of one order at most: two ids, two numbers and their names.
ORDER = 700


@attrs.define
class NodeDesk:
    """The master's end of one node's connection."""

    peer: Peer
    session: str
    #: Keys of jobs whose spec was sent over this connection.
    known: dict[ProcessId, str] = attrs.field(factory=dict)
    outbox: asyncio.Queue[Work] = attrs.field(factory=asyncio.Queue)
    sender: asyncio.Task[None] | None = None


class _Load:
    """What goes into one message, and what it weighs."""

    def __init__(self) -> None:
        self.jobs: list[JobSpec] = []
        self.start: list[Start] = []
        self.stop: dict[str, str] = {}
        self.drop: list[ProcessId] = []
        self.weight = 0

    def work(self) -> Work:
        return Work(tuple(self.jobs), tuple(self.start), dict(self.stop), tuple(self.drop))


def work_for(desk: NodeDesk, orders: Iterable[StartPart | StopAttempt | DropJob]) -> Iterator[Work]:
    """Messages for one node that carry *orders* in order, each small enough to travel.

    A job's spec travels with its first part only. Within a message a node drops jobs last, so an order to drop one
    is never put before another order.
    """
    load = _Load()
    for order in orders:
        spec, weight = None, ORDER
        if isinstance(order, StartPart) and desk.known.get(order.spec.process_id) != order.spec.key:
            spec = order.spec
            weight += weights.weight(spec)
        elif isinstance(order, StopAttempt):
            weight += len(order.reason.encode())
        if load.weight and (load.weight + weight > weights.MOST or (load.drop and not isinstance(order, DropJob))):
            yield load.work()
            load = _Load()
        load.weight += weight
        if spec is not None:
            desk.known[spec.process_id] = spec.key
            load.jobs.append(spec)
        _add(load, order, desk)
    if load.weight:
        yield load.work()


def _add(load: _Load, order: StartPart | StopAttempt | DropJob, desk: NodeDesk) -> None:
    if isinstance(order, StartPart):
        spec = order.spec
        load.start.append(
            Start(
                spec.process_id, spec.key, order.attempt, order.part, order.number, order.generation, order.checkpoint
            )
        )
    elif isinstance(order, StopAttempt):
        load.stop[str(order.attempt)] = order.reason
    else:
        load.drop.append(order.process_id)
        desk.known.pop(order.process_id, None)
