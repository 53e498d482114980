"""What old clients (CYPHER/1) ask the master, by their names of operations, mapped onto ordinary jobs.

Here: reading their requests, shaping the answers they know. Not here: the wire (the transport's), how a program of
theirs becomes a job (old_starting.py), where they find its outputs (showing.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from discomputify_core.cluster.by_node import live_nodes, loads, under_way, with_parts
from discomputify_core.cluster.state import Job
from discomputify_core.errors import BadInput, DiscomputifyError, Refused, Unreachable
from discomputify_core.interfaces.calls import Asked, Operation, Operations, Reply
from discomputify_core.model.codec import from_plain, shown, to_plain
from discomputify_core.model.ids import ProcessId, check_process_id
from discomputify_core.model.old_clients import OLD_CLIENT, OLD_REQUEST, OldAnswer, OldRequest
from discomputify_core.roles.master import ending
from discomputify_core.roles.master.old_starting import OldJobs, Starting

if TYPE_CHECKING:
    from discomputify_core.roles.master.master import MasterNode

log = logging.getLogger("discomputify.master")

#: Seconds that processes of a stopped job have to end before the one who asked is answered.
STOP_TIMEOUT = 10.0
#: Most characters of a sentence in an answer.
MAX_SENTENCE = 4000

TERMINATED, DO_NOT_EXIST = "TERMINATED", "DO_NOT_EXIST"


def old_operations(master: MasterNode, conf: OldJobs) -> Operations:
    """Operation name -> handler. The transport remembers answers to old clients: they name no requests themselves."""
    return {OLD_REQUEST: Operation(_Desk(master, conf).answer)}


class _Desk:
    def __init__(self, master: MasterNode, conf: OldJobs) -> None:
        self._master = master
        self._starting = Starting(master, conf)
        #: By process id, held while a job is started, stopped or cleared.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._table: Mapping[str, Callable[[OldRequest, str], Awaitable[OldAnswer]]] = {
            "EXEC": self._exec,
            "READ_PROCESS_STATUS": self._status,
            "READ_NODE_LOAD": self._load,
            "TERMINATE": self._terminate,
            "CLEAR_DATA": self._clear,
            "GET_NO_OF_NODES": self._count,
        }

    async def answer(self, asked: Asked) -> Reply:
        """Answer one request.

        Raises:
            Refused: it comes from a peer that is no old client.
            BadInput: the operation is unknown, or DATA is not what it needs.
        """
        if asked.peer.role != OLD_CLIENT:
            raise Refused(f"Only old clients (CYPHER/1) may ask '{OLD_REQUEST}'; this peer is a {asked.peer.role}.")
        request = from_plain(asked.data, OldRequest)
        handler = self._table.get(request.operation)
        if handler is None:
            known = ", ".join(self._table)
            raise BadInput(f"The master does not know the OPERATION {shown(request.operation)}; it knows {known}.")
        host = asked.address.rpartition(":")[0].strip("[]") or asked.address
        return Reply(to_plain(await handler(request, f"an old client at {host}")))

    def _lock(self, process_id: ProcessId) -> asyncio.Lock:
        return self._locks.setdefault(process_id, asyncio.Lock())

    def _job(self, process_id: ProcessId) -> Job | None:
        return self._master.cluster.state.jobs.get(process_id)

    async def _exec(self, request: OldRequest, who: str) -> OldAnswer:
        process_id = _process_id(request)
        try:
            async with self._lock(process_id):
                return OldAnswer(await self._starting.start(process_id, who))
        except DiscomputifyError as error:
            log.warning("%s asked to start '%s': %s", who, process_id, error)
            return OldAnswer({}, _error(str(error)))

    async def _status(self, request: OldRequest, who: str) -> OldAnswer:
        job = self._job(_process_id(request))
        state, showings = self._master.cluster.state, self._master.showings
        if job is None:
            return OldAnswer(under_way(state, None, behind=False), {"STATE": "unknown"})
        said = " ".join(filter(None, (job.reason if job.ended else "", showings.trouble(job))))
        reason = {"REASON": said[:MAX_SENTENCE]} if said else {}
        return OldAnswer(under_way(state, job, showings.behind(job)), {"STATE": job.state.value, **reason})

    async def _load(self, request: OldRequest, who: str) -> OldAnswer:
        return OldAnswer(loads(self._master.cluster.state))

    async def _count(self, request: OldRequest, who: str) -> OldAnswer:
        return OldAnswer({"NO_NODES": len(live_nodes(self._master.cluster.state))})

    async def _terminate(self, request: OldRequest, who: str) -> OldAnswer:
        process_id = _process_id(request)
        async with self._lock(process_id):
            job, state = self._job(process_id), self._master.cluster.state
            if job is None or job.ended:
                return OldAnswer({node.name: DO_NOT_EXIST for node in live_nodes(state)})
            concerned = with_parts(job) or {node.name for node in live_nodes(state)}
            ending.stop(self._master, process_id, who)
            ended = await ending.until_ended(self._master, job, STOP_TIMEOUT)
            await self._master.settled()
            busy = with_parts(job)
            # Of a node where processes may still run neither word is true.
            answer = {
                node.name: TERMINATED if node.name in concerned else DO_NOT_EXIST
                for node in live_nodes(state)
                if node.name not in busy
            }
            return OldAnswer(answer, {} if ended else _error(_not_ended(job)))

    async def _clear(self, request: OldRequest, who: str) -> OldAnswer:
        process_id = _process_id(request)
        async with self._lock(process_id):
            job = self._job(process_id)
            if job is not None:
                ending.stop(self._master, process_id, who)
                if not await ending.until_ended(self._master, job, STOP_TIMEOUT):
                    raise Unreachable(f"{_not_ended(job)} Clear it again then.")
            if self._job(process_id) is not None:
                gone = await ending.forget(self._master, process_id)
            else:  # what was uploaded and never started goes too
                if process_id not in self._master.clearing:
                    self._master.clear_store(process_id)
                gone = await ending.cleared(self._master, process_id)
        later = f"The store does not answer; what it holds of '{process_id}' is removed once it does."
        return OldAnswer(request.data, {} if gone else _error(later))


def _not_ended(job: Job) -> str:
    nodes = ", ".join(sorted(with_parts(job)))
    return f"'{job.id}' was told to stop; its parts on {nodes} have not ended within {STOP_TIMEOUT:.0f} s."


def _error(sentence: str) -> dict[str, Any]:
    return {"ERROR": sentence[:MAX_SENTENCE]}


def _process_id(request: OldRequest) -> ProcessId:
    """The PROCESS_ID in DATA.

    Raises:
        BadInput: there is none that can be used.
    """
    if not isinstance(request.data, Mapping):
        raise BadInput(f"DATA of {request.operation} has to be an object with a PROCESS_ID, not {shown(request.data)}.")
    if "PROCESS_ID" not in request.data:
        raise BadInput(f"DATA of {request.operation} has no PROCESS_ID.")
    value = request.data["PROCESS_ID"]
    if not isinstance(value, str):
        raise BadInput(f"PROCESS_ID of {request.operation} has to be text, not {shown(value)}.")
    return check_process_id(value)
