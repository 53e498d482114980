"""One attempt's use of shared memory, on its node: what its program asks for is carried out by the plugin.

Here: which round a collective is in, large values on their way in and out, what the master has to know. Not here:
reading requests (memory_requests.py), the files of large values (arrays.py), the connection to the program
(agent_line.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from typing import Any

import attrs

from discomputify_core.errors import (
    AttemptOver,
    DiscomputifyError,
    MemoryFull,
    MemoryLost,
    PluginBroke,
    RoundForgotten,
    TooLate,
    Unreachable,
)
from discomputify_core.interfaces.calls import GiveUp
from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.model.job import JobSpec
from discomputify_core.model.memory import (
    REF,
    Answer,
    Command,
    Get,
    Meet,
    Member,
    Pop,
    Put,
    Remove,
    Scope,
    Value,
)
from discomputify_core.model.message import Start
from discomputify_core.roles.node import memory_requests as requests
from discomputify_core.roles.node.agent_line import Body, Done, OnDone
from discomputify_core.roles.node.arrays import ArrayGone, Arrays
from discomputify_core.roles.node.reports import Reports

log = logging.getLogger("discomputify.node")

#: What is asked often, and can be answered without a task: see :meth:`PartMemory.quick`.
QUICK = ("put", "get", "add", "append", "remove")
#: Most names of collectives of one attempt.
MAX_ROUNDS = 1_000_000
#: How often an entry is read again whose large value was replaced meanwhile.
READS = 100


@attrs.frozen
class NodeMemory:
    """What a node has for the shared memory of its parts."""

    plugin: SharedMemory
    arrays: Arrays

    def of(self, spec: JobSpec, start: Start, reports: Reports) -> PartMemory:
        """One attempt's use of it."""
        scope = Scope(spec.process_id, spec.key, start.generation)
        return PartMemory(self, Member(scope, start.attempt, start.part, start.number, spec.parts), reports)


class PartMemory:
    """Answers the operation "memory" of one attempt.

    Attributes:
        used: whether its program has asked for anything.
        lost: why it could not be answered, "" if it always was.
    """

    def __init__(self, node: NodeMemory, member: Member, reports: Reports) -> None:
        self.used = False
        self.lost = ""
        self._plugin = node.plugin
        self._arrays = node.arrays
        self._member = member
        self._scope = member.scope
        self._reports = reports
        #: Kind and name of a collective -> the last round that was complete.
        self._rounds: dict[tuple[str, str], int] = {}
        #: The table that the master knows it uses.
        self._table = ""
        self._over = False

    def quick(self, data: dict[str, Any], body: Body, told: OnDone) -> GiveUp | None:
        """Begin to answer a request that sets or reads one entry and waits for nothing; None: it is for :meth:`handle`.

        Raises:
            BadInput, PluginBroke: as :meth:`handle`.
        """
        if data.get("do") not in QUICK or self._over or not self.used:
            return None
        command = requests.command(data, bytes(body), self._member.part, self._member.total)
        given = getattr(command, "value", None)
        if requests.wait(data) or requests.quiet(data) or (given is not None and given.kind == REF):
            return None
        try:
            return self._plugin.begin(self._member, command, lambda outcome: told(self._came(command, outcome)))
        except Exception as error:  # as in _do()
            raise self._broke(error) from error

    def _came(self, command: Command, outcome: Answer | DiscomputifyError) -> Done:
        """What the program is told of a command that was begun."""
        self._answered()
        if isinstance(outcome, DiscomputifyError):
            self._note(outcome)
            return outcome
        if not _refs(outcome):
            return _plain(outcome, {})
        return lambda: self._noting(self._told(command, outcome, 0.0))

    async def handle(self, data: dict[str, Any], body: Body) -> tuple[dict[str, Any], Body]:
        """Answer one request.

        Raises:
            BadInput: it is none.
            SharedMemoryError, Unreachable, PluginBroke: what came of it.
        """
        if self._over:
            raise AttemptOver("This attempt is over.")
        if data.get("do") == "hello":  # a connection that makes sure that it is heard
            return {}, b""
        if data.get("do") == "reserve":
            size = requests.reserved_size(data, body)
            self._begin()
            return await self._reserve(size), b""
        member = self._member
        command = requests.command(data, bytes(body), member.part, member.total)
        wait, quiet = requests.wait(data), requests.quiet(data)
        given = getattr(command, "value", None)
        if given is not None and given.kind == REF:
            self._arrays.check(self._scope, given.meta)
        self._begin()
        return await self._noting(self._handled(command, wait, quiet, given))

    async def _handled(
        self, command: Command, wait: float, quiet: bool, given: Value | None
    ) -> tuple[dict[str, Any], Body]:
        answer = await self._carried_out(command, wait, given)
        if quiet and isinstance(command, (Get, Meet)):
            return _plain(Answer(found=answer.found), {})
        return await self._told(command, answer, wait)

    async def _noting(self, work: Awaitable[tuple[dict[str, Any], Body]]) -> tuple[dict[str, Any], Body]:
        try:
            return await work
        except DiscomputifyError as error:
            self._note(error)
            raise

    def _note(self, error: DiscomputifyError) -> None:
        """What an answer means for the attempt."""
        if isinstance(error, RoundForgotten):
            self._start_over(str(error))
        elif isinstance(error, (MemoryLost, Unreachable)):
            self.lost = self.lost or str(error)

    def ended(self) -> None:
        """The attempt is over."""
        self._over = True
        if self.used:
            self._arrays.ended(self._scope, self._member.attempt)

    # --- what the master has to know ----------------------------------------------------------------

    def _begin(self) -> None:
        """Before anything is asked: who waits for this part may have to be told that others are over."""
        if not self.used:
            self.used = True
            self._arrays.begin(self._scope)
            # Which table that is, the answer will show: it may be another one than others used before.
            self._reports.uses_memory(self._member.attempt, "")

    def _answered(self) -> None:
        """Before an answer is given: the master knows of which table it is."""
        if not self._table and self._plugin.table:
            self._table = self._plugin.table
            self._reports.uses_memory(self._member.attempt, self._table)

    def _start_over(self, reason: str) -> None:
        self._reports.start_over(self._member.attempt, reason)

    # --- commands -----------------------------------------------------------------------------------

    async def _carried_out(self, command: Command, wait: float, given: Value | None) -> Answer:
        ref = str(given.meta["id"]) if given is not None and given.kind == REF else ""
        if ref:
            # Held before the table may have it: also if this is cancelled, or nobody knows what came of it.
            ephemeral = isinstance(command, Put) and command.ephemeral
            self._arrays.hold(self._scope, ref, self._member.attempt if ephemeral else None)
        taken = None
        try:
            if isinstance(command, Meet):
                answer = await self._met(command, wait)
            else:
                answer = await self._do(command, wait)
            taken = not isinstance(command, Meet) and answer.found
        except DiscomputifyError as error:
            if not isinstance(error, (MemoryLost, Unreachable, PluginBroke)):
                taken = False
            raise
        finally:
            if ref and (taken is False or isinstance(command, Meet)):
                self._arrays.loosen(self._scope, ref)
        return answer

    async def _met(self, command: Meet, wait: float) -> Answer:
        key = (command.kind, command.name)
        number = self._rounds.get(key, 0) + 1
        if number == 1 and len(self._rounds) >= MAX_ROUNDS:
            raise MemoryFull(
                f"This part has taken part in {MAX_ROUNDS:,} collectives of different names. Use the same name again "
                "for the same purpose: each use of it is another round.",
                limit="",
            )
        answer = await self._do(attrs.evolve(command, round=number), wait)
        self._rounds[key] = max(number, self._rounds.get(key, 0))
        return answer

    async def _do(self, command: Command, wait: float) -> Answer:
        # Without a deadline of our own: the plugin promises one, and a task per command would cost as much as the rest.
        try:
            answer = await self._plugin.do(self._member, command, wait)
        except DiscomputifyError:
            self._answered()
            raise
        except Exception as error:  # whatever a plugin raises is the plugin's fault
            raise self._broke(error) from error
        self._answered()
        return answer

    def _broke(self, error: Exception) -> PluginBroke:
        log.error("the shared memory failed on a command of attempt %s", self._member.attempt, exc_info=error)
        return PluginBroke(
            f"The shared memory '{self._plugin.name}' raised {type(error).__name__}; the log of the computing node "
            "says more.",
            plugin=self._plugin.name,
        )

    # --- large values -------------------------------------------------------------------------------

    async def _reserve(self, size: int) -> dict[str, Any]:
        array, path = await self._arrays.reserve(self._scope, self._member.attempt, size)
        if self._over:  # meanwhile
            self._arrays.ended(self._scope, self._member.attempt)
            raise AttemptOver("This attempt is over.")
        return {"path": str(path), "id": array, "node": self._arrays.node}

    async def _told(self, command: Command, answer: Answer, wait: float) -> tuple[dict[str, Any], bytes]:
        """The answer as it travels; of large values, where they are on this node."""
        if isinstance(command, (Put, Remove)):  # what was replaced is nobody's any more
            if answer.value is not None and answer.value.kind == REF:
                self._arrays.freed(self._scope, answer.value.meta)
            answer = attrs.evolve(answer, value=None) if answer.value is not None else answer
        if not _refs(answer):
            return _plain(answer, {})
        missed: set[str] = set()
        for _ in range(READS):
            try:
                paths = await self._paths(command, answer)
            except _Missed as gone:
                if not isinstance(command, Get) or missed.intersection(gone.ids):
                    self._start_over(str(gone))
                    raise MemoryLost(str(gone)) from gone
                missed.update(gone.ids)
                answer = await self._do(command, wait)  # replaced meanwhile, perhaps
            else:
                if isinstance(command, Pop):
                    self._popped(answer)
                return _plain(answer, paths)
        raise TooLate(f"The value of '{_name(command)}' is replaced faster than it can be read.", name=_name(command))

    async def _paths(self, command: Command, answer: Answer) -> dict[str, str]:
        """Id -> path of all large values of *answer*.

        Raises:
            _Missed: some are not kept any more.
        """
        metas = {str(value.meta.get("id")): value.meta for value in _refs(answer)}
        found = await asyncio.gather(
            *(self._arrays.path(self._scope, meta) for meta in metas.values()), return_exceptions=True
        )
        gone = {ref: each for ref, each in zip(metas, found, strict=True) if isinstance(each, ArrayGone)}
        if gone:
            ref, why = next(iter(gone.items()))
            kept = str(metas[ref].get("node"))[: requests.MAX_TEXT]
            reason = f"the array '{_name(command)}' was kept by the computing node {kept}, {why}"
            raise _Missed(reason, set(gone))
        paths = {}
        for ref, each in zip(metas, found, strict=True):
            if isinstance(each, BaseException):
                raise each
            paths[ref] = str(each)
        return paths

    def _popped(self, answer: Answer) -> None:
        """The table has forgotten what was taken from a list: its program has it, and nobody else."""
        for value in _refs(answer):
            self._arrays.freed(self._scope, value.meta)


class _Missed(Exception):
    """Large values that an answer refers to are not kept any more."""

    def __init__(self, reason: str, ids: set[str]) -> None:
        super().__init__(reason)
        self.ids = ids


def _refs(answer: Answer) -> list[Value]:
    return [value for value in _values(answer) if value.kind == REF]


def _values(answer: Answer) -> Iterable[Value]:
    return (answer.value,) if answer.value is not None else answer.values


def _name(command: Command) -> str:
    """What *command* is about, for people."""
    return getattr(command, "name", "")


def _plain(answer: Answer, paths: dict[str, str]) -> tuple[dict[str, Any], bytes]:
    """*answer* as data, without fields at their default, and the bytes of its values."""
    data: dict[str, Any] = {}
    if not answer.found:
        data["found"] = False
    if answer.version:
        data["version"] = answer.version
    if answer.number:
        data["number"] = answer.number
    if answer.names:
        data["names"] = list(answer.names)
    if answer.value is not None:
        data["value"] = _described(answer.value, paths)
        return data, answer.value.data
    if answer.listed:
        data["listed"] = True
    if answer.values:
        data["values"] = [_described(value, paths) for value in answer.values]
        return data, b"".join(value.data for value in answer.values)
    return data, b""


def _described(value: Value, paths: dict[str, str]) -> dict[str, Any]:
    described: dict[str, Any] = {"kind": value.kind, "size": len(value.data)}
    if value.meta:
        described["meta"] = dict(value.meta)
    if value.kind == REF:
        described["path"] = paths[str(value.meta.get("id"))]
    return described
