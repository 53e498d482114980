"""What computing nodes ask the master: join, beat, report, leave, and arrays that other nodes keep."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from discomputify_core.cluster.names import second
from discomputify_core.edge import clock
from discomputify_core.edge.calls import AskedOver, Peer
from discomputify_core.errors import NameTaken, OurBug, Refused
from discomputify_core.interfaces.calls import Asked, Operation, Operations, Reply
from discomputify_core.model import events as ev
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.files import check_digest
from discomputify_core.model.ids import NodeName, check_node_name
from discomputify_core.model.message import ArrayWanted, Beat, Join, Joined, Report
from discomputify_core.roles.master import relay
from discomputify_core.roles.master.desk import NodeDesk
from discomputify_core.roles.master.memory import MAX_TABLE

if TYPE_CHECKING:
    from discomputify_core.roles.master.master import MasterNode

log = logging.getLogger("discomputify.master")

#: Most characters of what an attempt waits for, or of why its job has to start over.
MAX_WAITING = 500


def node_operations(master: MasterNode) -> Operations:
    """Operation name -> handler."""
    desk = _Desk(master)
    return {
        "node.join": Operation(desk.join),
        "node.beat": Operation(desk.beat),
        "node.report": Operation(desk.report, changes=True),
        "node.leave": Operation(desk.leave),
        "node.array": Operation(desk.array),
    }


class _Desk:
    def __init__(self, master: MasterNode) -> None:
        self._master = master

    async def join(self, asked: Asked) -> Reply:
        master = self._master
        join = from_plain(asked.data, Join)
        facts = join.facts
        check_node_name(facts.name)
        peer = _peer(asked)
        try:
            master.cluster.check_join(facts, asked.address, master.now())
        except NameTaken as taken:
            log.warning("%s", taken)
            master.flush(ev.NodeRefused(second(facts.name), asked.address, str(taken), clock.wall()))
            raise
        old = master.desks.pop(facts.name, None)
        if old is not None:
            if old.sender:
                old.sender.cancel()
            master.spawn(old.peer.close())
        desk = master.desks[facts.name] = NodeDesk(peer, facts.session)
        # What the node runs and nobody waits for is judged before the event, which may give attempts up.
        master.flush(ev.NodeJoined(facts, asked.address, join.attempts, clock.wall()))
        log.info("node %s joined from %s with %d slots", facts.name, asked.address, facts.slots)
        stop = master.cluster.unknown_attempts(join.attempts)
        await master.settled()
        if master.desks.get(facts.name) is desk:  # nothing is sent before the answer
            desk.sender = master.spawn(master.send_out(desk))
        return Reply(to_plain(Joined(facts.name, master.beat, stop)))

    async def beat(self, asked: Asked) -> Reply:
        beat = from_plain(asked.data, Beat)
        name = self._name(asked)
        if self._master.cluster.state.nodes[name].state == "lost":
            # It was silent for so long that it was given up: it is to come again, and say what still runs there.
            self._master.spawn(_peer(asked).close())
            raise Refused(f"The node '{name}' was given up after a silence; it has to join again.")
        self._master.apply(ev.NodeBeat(name, beat.load, beat.held, clock.wall()))
        return Reply()

    async def report(self, asked: Asked) -> Reply:
        report = from_plain(asked.data, Report)
        name, wall = self._name(asked), clock.wall()
        self._master.memory.used(report.uses_memory)
        self._master.flush(
            *(ev.AttemptStarted(name, attempt, wall) for attempt in report.started),
            *(ev.MemoryUsed(name, use.attempt, use.table[:MAX_TABLE], wall) for use in report.uses_memory),
            *(ev.StartOverAsked(name, a.attempt, a.reason[:MAX_WAITING], wall) for a in report.start_over),
            *(
                ev.AttemptProgressed(
                    name, p.attempt, min(max(p.fraction, 0.0), 1.0), p.note[:200], p.waiting[:MAX_WAITING]
                )
                for p in report.progress
            ),
            *(ev.AttemptKept(name, kept.attempt, check_digest(kept.manifest)) for kept in report.kept),
            *(ev.AttemptEnded(name, outcome, wall) for outcome in report.ended),
        )
        await self._master.settled()
        return Reply()

    async def leave(self, asked: Asked) -> Reply:
        name = self._name(asked)
        self._master.flush(ev.NodeLeft(name, self._master.desks[name].session, clock.wall()))
        await self._master.settled()
        log.info("node %s left as planned", name)
        return Reply()

    async def array(self, asked: Asked) -> Reply:
        wanted = from_plain(asked.data, ArrayWanted)
        self._name(asked)
        return Reply(to_plain(await relay.array(self._master, wanted)))

    def _name(self, asked: Asked) -> NodeName:
        """The name under which the asking peer joined: a node speaks for itself only."""
        peer = _peer(asked)
        for name, desk in self._master.desks.items():
            if desk.peer is peer:
                return name
        raise Refused("This connection has not joined as a computing node.")


def _peer(asked: Asked) -> Peer:
    if not isinstance(asked, AskedOver) or asked.over is None:
        raise OurBug("A request reached the master without its connection.")
    return asked.over
