"""What every clause of the shared-memory suite uses: what a subclass has to give, jobs and their parts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar, Union

import attrs
import pytest

from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.memory import (
    BYTES,
    JSON,
    Answer,
    Command,
    Get,
    Limits,
    Listing,
    Lock,
    Meet,
    Member,
    Over,
    Pop,
    Row,
    Scope,
    Value,
)
from discomputify_testkit.loopback import Faults, no_faults
from discomputify_testkit.running import until

T = TypeVar("T")
#: Makes a client of the table of a test.
Connect = Callable[[], SharedMemory]
#: A command that may wait.
Waiting = Union[Get, Pop, Lock, Meet]

#: Seconds within which anything that is expected happens.
DEADLINE = 30.0
#: Seconds that a part waits for what will come.
WAIT = 20.0
#: Seconds that a part waits for what will not come, and leases that are to end.
SHORT = 0.3
#: A lease that does not end during a test.
LONG = 600.0

#: The default limits; frozen, so shared.
LIMITS = Limits()


@attrs.frozen
class Capabilities:
    """What a shared memory can be made to do by the suite. A clause that needs what is False here is skipped."""

    #: The subclass overrides ``lose``.
    can_be_lost: bool = True
    #: It asks a service through the caller it is given, so that the suite can make calls fail.
    over_calls: bool = True


class MemorySuite(ABC):
    """What a subclass gives."""

    capabilities = Capabilities()

    @abstractmethod
    def make_memory(
        self, folder: Path, limits: Limits = LIMITS, faults: Faults = no_faults
    ) -> AbstractAsyncContextManager[Connect]:
        """A function that makes clients of one new and empty table with *limits*; all are closed at the end.

        *folder* is empty. A memory with ``over_calls`` asks its service through ``LoopbackCaller(…, faults=faults)``,
        each client through its own.
        """

    async def lose(self, memory: SharedMemory) -> None:
        """Make everything be lost that is held in the table of *memory*: restart its service, flush its data."""
        raise NotImplementedError

    def need(self, capability: str) -> None:
        """Skip the test where the memory lacks *capability*."""
        if not getattr(self.capabilities, capability):
            pytest.skip(f"the shared memory does not promise: {capability}")


async def within(awaitable: Awaitable[T], deadline: float = DEADLINE) -> T:
    """The result of *awaitable*, or TimeoutError."""
    return await asyncio.wait_for(awaitable, deadline)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until the answer is yes, for what announces itself by no event."""
    either: Callable[[], bool | Awaitable[bool]] = condition
    await until(either, DEADLINE)


@attrs.frozen
class Part:
    """An attempt of a part, and the client that it asks through."""

    memory: SharedMemory
    member: Member

    @property
    def number(self) -> int:
        """Number of the part."""
        return self.member.part

    async def do(self, command: Command, wait: float = 0.0) -> Answer:
        """The answer to *command*."""
        return await within(self.memory.do(self.member, command, wait))

    def start(self, command: Command, wait: float = WAIT) -> asyncio.Task[Answer]:
        """*command*, under way."""
        return asyncio.get_running_loop().create_task(self.do(command, wait))

    async def waits(self, command: Waiting, wait: float = WAIT) -> asyncio.Task[Answer]:
        """*command*, once ``look`` shows that this part waits."""
        task = self.start(command, wait)

        async def shown() -> bool:
            if task.done():
                raise AssertionError(f"{command} did not wait: {task.exception() or task.result()}")
            listing = await within(self.memory.look(self.member.scope))
            return any(_is_of(row, command) and self.number in row.waiting for row in listing.rows)

        await eventually(shown)
        return task

    def again(self) -> Part:
        """The next attempt of the part."""
        number = self.member.number + 1
        return Part(self.memory, attrs.evolve(self.member, number=number, attempt=_attempt(self.number, number)))

    def through(self, memory: SharedMemory) -> Part:
        """The same attempt, asking through another client."""
        return Part(memory, self.member)

    def over(self, stands: str, reason: str = "as the test wants") -> Over:
        """That this attempt is over."""
        return Over(self.number, self.member.number, self.member.attempt, stands, reason)

    async def end(self, stands: str, reason: str = "as the test wants") -> None:
        """Say that this attempt is over."""
        await within(self.memory.ended(self.member.scope, self.member.total, [self.over(stands, reason)]))

    async def look(self, name: str = "") -> Listing:
        """What the job's scope holds."""
        return await within(self.memory.look(self.member.scope, name))


def _is_of(row: Row, command: Waiting) -> bool:
    """Whether *row* shows what *command* waits for."""
    if isinstance(command, Meet):
        return (row.kind, row.name) == (command.kind, command.name)
    return row.name == command.name and row.kind in (("lock",) if isinstance(command, Lock) else ("value", "list"))


def _attempt(part: int, number: int) -> AttemptId:
    return AttemptId(f"job.{part}.{number}.{secrets.token_hex(4)}")


def new_scope(process_id: str = "job", generation: int = 0) -> Scope:
    """A scope that no other test has."""
    return Scope(ProcessId(process_id), secrets.token_hex(8), generation)


def parts_of(*memories: SharedMemory, total: int = 3, scope: Scope | None = None) -> list[Part]:
    """The first attempts of all parts of a job, taking turns with *memories*."""
    scope = scope or new_scope()
    return [
        Part(memories[part % len(memories)], Member(scope, _attempt(part, 1), part, 1, total))
        for part in range(1, total + 1)
    ]


def plain(data: object) -> Value:
    """*data* as a value of kind json."""
    return Value(JSON, json.dumps(data, sort_keys=True, separators=(",", ":")).encode())


def blob(data: bytes) -> Value:
    """*data* as a value of kind bytes."""
    return Value(BYTES, data)


def noise(seed: int, size: int) -> bytes:
    """*size* bytes without any pattern, other ones for every *seed*."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


def same(value: Value | None, other: Value) -> bool:
    """Whether both are the same: kind, bytes, and what is said of them."""
    return value is not None and (value.kind, bytes(value.data), dict(value.meta)) == (
        other.kind,
        bytes(other.data),
        dict(other.meta),
    )


def all_same(values: Iterable[Value], others: Iterable[Value]) -> bool:
    """Whether both are the same, in the same order."""
    left, right = list(values), list(others)
    return len(left) == len(right) and all(map(same, left, right))


def loaded(value: Value | None) -> object:
    """What the text of a value of kind json says."""
    assert value is not None
    assert value.kind == JSON
    return json.loads(bytes(value.data))
