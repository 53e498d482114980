"""The suite of shared memories notices those that break their promise."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import pytest

from discomputify_core.errors import DiscomputifyError
from discomputify_core.interfaces.calls import Asked, Operation, Reply
from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.model.memory import (
    Add,
    Answer,
    Command,
    Get,
    Limits,
    Lock,
    Meet,
    Member,
    Names,
    Pop,
    Put,
    Remove,
    Scope,
)
from discomputify_testkit.fakes.memory_entries import Entries, Locks, Room
from discomputify_testkit.fakes.memory_rounds import Rounds
from discomputify_testkit.fakes.memory_scope import FakeScope, Waiter
from discomputify_testkit.fakes.memory_shared import FakeSharedMemory, FakeTable
from discomputify_testkit.loopback import Faults, LoopbackCaller, no_faults
from discomputify_testkit.memory import (
    LIMITS,
    Capabilities,
    Connect,
    MemoryConformance,
    attempts,
    entries,
    locks,
    rounds,
    whole,
)
from discomputify_testkit.memory.base import plain

Patch = pytest.MonkeyPatch


class Suite(MemoryConformance):
    capabilities = Capabilities(over_calls=False)

    @contextlib.asynccontextmanager
    async def make_memory(
        self, folder: Path, limits: Limits = LIMITS, faults: Faults = no_faults
    ) -> AsyncIterator[Connect]:
        table = FakeTable(limits)
        yield lambda: FakeSharedMemory(shared=table)

    async def lose(self, memory: SharedMemory) -> None:
        assert isinstance(memory, FakeSharedMemory)
        memory.lose("the test wants it")


def changed_commands(patch: Patch, change: Callable[[Command], Command]) -> None:
    """Let *change* spoil every command before it is carried out."""
    right = FakeSharedMemory.do

    async def do(self: FakeSharedMemory, member: Member, command: Command, wait: float = 0.0) -> Answer:
        return await right(self, member, change(command), wait)

    patch.setattr(FakeSharedMemory, "do", do)


def changed_answers(patch: Patch, change: Callable[[Command, Answer], Answer]) -> None:
    """Let *change* spoil every answer."""
    right = FakeSharedMemory.do

    async def do(self: FakeSharedMemory, member: Member, command: Command, wait: float = 0.0) -> Answer:
        return change(command, await right(self, member, command, wait))

    patch.setattr(FakeSharedMemory, "do", do)


def trims_values(patch: Patch) -> None:
    def change(command: Command) -> Command:
        if not isinstance(command, Put):
            return command
        return attrs.evolve(command, value=attrs.evolve(command.value, data=command.value.data.strip()))

    changed_commands(patch, change)


def ignores_versions(patch: Patch) -> None:
    changed_commands(
        patch, lambda command: attrs.evolve(command, version=None) if isinstance(command, Put) else command
    )


def forgets_versions(patch: Patch) -> None:
    right = Entries.remove

    def remove(self: Entries, command: Remove) -> Answer:
        self._version = 0
        return right(self, command)

    patch.setattr(Entries, "remove", remove)


def last_comes_first(patch: Patch) -> None:
    patch.setattr(FakeScope, "_settle", spoilt_settle(FakeScope._settle))


def spoilt_settle(right: Callable[..., None]) -> Callable[..., None]:
    def settle(self: FakeScope, key: tuple[str, str]) -> None:
        if key in self._waiting:
            self._waiting[key].reverse()
        right(self, key)
        if key in self._waiting:
            self._waiting[key].reverse()

    return settle


def pops_the_last(patch: Patch) -> None:
    right = Entries.pop

    def pop(self: Entries, command: Pop) -> Answer | None:
        entry = self.by_name.get(command.name)
        if entry is not None and entry.values is not None:
            entry.values.rotate(1)
        return right(self, command)

    patch.setattr(Entries, "pop", pop)


def counts_in_doubles(patch: Patch) -> None:
    def change(command: Command, answer: Answer) -> Answer:
        return attrs.evolve(answer, number=int(float(answer.number))) if isinstance(command, Add) else answer

    changed_answers(patch, change)


def reads_prefixes_as_patterns(patch: Patch) -> None:
    def change(command: Command) -> Command:
        return Names(command.prefix.rstrip("*?")) if isinstance(command, Names) else command

    changed_commands(patch, change)


def adds_in_two_steps(patch: Patch) -> None:
    right = FakeSharedMemory.do

    async def do(self: FakeSharedMemory, member: Member, command: Command, wait: float = 0.0) -> Answer:
        if not isinstance(command, Add):
            return await right(self, member, command, wait)
        old = await right(self, member, Get(command.name))
        number = (int(old.value.data) if old.value else 0) + int(command.by)
        value = plain(number)
        return attrs.evolve(await right(self, member, Put(command.name, value)), number=number)

    patch.setattr(FakeSharedMemory, "do", do)


def lets_two_hold(patch: Patch) -> None:
    right = Locks.take

    def take(self: Locks, member: Member, name: str, until: float, now: float) -> Answer | None:
        self.held.pop(name, None)
        return right(self, member, name, until, now)

    patch.setattr(Locks, "take", take)


def ends_leases_early(patch: Patch) -> None:
    def change(command: Command) -> Command:
        return attrs.evolve(command, lease=command.lease / 2) if isinstance(command, Lock) else command

    changed_commands(patch, change)


def never_ends_leases(patch: Patch) -> None:
    def change(command: Command) -> Command:
        return attrs.evolve(command, lease=1000.0) if isinstance(command, Lock) else command

    changed_commands(patch, change)


def gathers_in_order_of_coming(patch: Patch) -> None:
    def change(command: Command, answer: Answer) -> Answer:
        return attrs.evolve(answer, values=answer.values[::-1]) if isinstance(command, Meet) else answer

    changed_answers(patch, change)


def forgets_contributions(patch: Patch) -> None:
    right = FakeScope._remove

    def remove(self: FakeScope, waiter: Waiter) -> None:
        right(self, waiter)
        command, member = waiter.command, waiter.member
        if isinstance(command, Meet) and not waiter.answer.done():
            self.rounds.open.get((command.kind, command.name, command.round), {}).pop(member.part, None)

    patch.setattr(FakeScope, "_remove", remove)


def agrees_to_everything(patch: Patch) -> None:
    patch.setattr(Rounds, "_agree", staticmethod(lambda command, agreed: None))


def keeps_everything(patch: Patch) -> None:
    patch.setattr(Rounds, "trim", lambda self, gone: None)


def does_not_hear_of_ends(patch: Patch) -> None:
    patch.setattr(FakeScope, "ended", lambda self, total, over: None)


def admits_everybody(patch: Patch) -> None:
    patch.setattr(FakeScope, "_admit", lambda self, member: None)


def gives_nothing_back(patch: Patch) -> None:
    patch.setattr(FakeScope, "_undo", lambda self, waiter: None)


def mixes_generations(patch: Patch) -> None:
    right = FakeTable.scope
    patch.setattr(FakeTable, "scope", lambda self, scope: right(self, Scope(scope.process_id, scope.key)))


def does_not_remember_clearing(patch: Patch) -> None:
    right = FakeTable.scope

    def scope(self: FakeTable, scope: Scope) -> FakeScope:
        self.cleared.clear()
        return right(self, scope)

    patch.setattr(FakeTable, "scope", scope)


def takes_any_value(patch: Patch) -> None:
    patch.setattr(Room, "check", lambda self, value: None)


def takes_everything(patch: Patch) -> None:
    patch.setattr(Room, "take", lambda self, size=0, count=0, items=0: None)


def leaks_room(patch: Patch) -> None:
    right = Room.take
    patch.setattr(
        Room, "take", lambda self, size=0, count=0, items=0: right(self, max(0, size), max(0, count), max(0, items))
    )


def tells_a_loss_twice(patch: Patch) -> None:
    right = FakeSharedMemory.told_of_loss

    def told(self: FakeSharedMemory, reason: str) -> None:
        right(self, reason)
        right(self, reason)

    patch.setattr(FakeSharedMemory, "told_of_loss", told)


def has_a_table_for_each_client(patch: Patch) -> None:
    patch.setattr(FakeSharedMemory, "table", property(lambda self: self._table and f"{self._table} {id(self)}"))


@pytest.mark.parametrize(
    ("spoil", "clause"),
    [
        (trims_values, "test_m_01"),
        (ignores_versions, "test_m_05"),
        (ignores_versions, "test_m_06"),
        (ignores_versions, "test_m_08"),
        (forgets_versions, "test_m_07"),
        (reads_prefixes_as_patterns, "test_m_13"),
        (counts_in_doubles, "test_m_23"),
        (pops_the_last, "test_m_25"),
        (last_comes_first, "test_m_28"),
        (last_comes_first, "test_m_41"),
        (lets_two_hold, "test_m_40"),
        (lets_two_hold, "test_m_47"),
        (ends_leases_early, "test_m_42"),
        (never_ends_leases, "test_m_42"),
        (gathers_in_order_of_coming, "test_m_51"),
        (forgets_contributions, "test_m_56"),
        (agrees_to_everything, "test_m_61"),
        (keeps_everything, "test_m_64"),
        (keeps_everything, "test_m_65"),
        (does_not_hear_of_ends, "test_m_57"),
        (does_not_hear_of_ends, "test_m_73"),
        (does_not_hear_of_ends, "test_m_76"),
        (admits_everybody, "test_m_70"),
        (admits_everybody, "test_m_71"),
        (mixes_generations, "test_m_77"),
        (does_not_remember_clearing, "test_m_78"),
        (takes_any_value, "test_m_80"),
        (takes_everything, "test_m_81"),
        (takes_everything, "test_m_83"),
        (leaks_room, "test_m_86"),
        (gives_nothing_back, "test_m_93"),
        (gives_nothing_back, "test_m_94"),
        (adds_in_two_steps, "test_m_95"),
        (has_a_table_for_each_client, "test_m_96"),
        (tells_a_loss_twice, "test_m_97"),
    ],
)
def test_a_bad_shared_memory_is_caught(
    spoil: Callable[[Patch], None], clause: str, monkeypatch: Patch, tmp_path: Path
) -> None:
    spoil(monkeypatch)
    for module in (attempts, entries, locks, rounds, whole):  # what does not come is soon missed
        monkeypatch.setattr(module, "WAIT", 0.5)
        if hasattr(module, "within"):
            monkeypatch.setattr(module, "within", lambda awaitable: asyncio.wait_for(awaitable, 1.0))
    (name,) = (name for name in dir(Suite) if name.startswith(clause + "_"))
    test: Callable[[Path], None] = getattr(Suite(), name)
    noticed = AssertionError, pytest.fail.Exception, DiscomputifyError, asyncio.TimeoutError, asyncio.InvalidStateError
    with pytest.raises((*noticed, RuntimeError)):  # what was spoilt may trip over itself
        test(tmp_path)


class OverCalls(FakeSharedMemory):
    """Asks for every command through a caller, which carries the number of the command instead of the command."""

    def __init__(self, table: FakeTable, faults: Faults, remembers: bool) -> None:
        super().__init__(shared=table)
        self.numbers = itertools.count()
        self.asked: dict[int, tuple[Member, Command, float]] = {}
        self.answered: dict[int, Answer] = {}
        self.caller = LoopbackCaller({"do": Operation(self.handle, changes=remembers)}, faults=faults)

    async def handle(self, asked: Asked) -> Reply:
        self.answered[asked.data] = await super().do(*self.asked[asked.data])
        return Reply()

    async def do(self, member: Member, command: Command, wait: float = 0.0) -> Answer:
        number = next(self.numbers)
        self.asked[number] = member, command, wait
        await self.caller.call("do", number)
        return self.answered[number]


@pytest.mark.parametrize("remembers", [True, False])
def test_a_shared_memory_that_does_a_repeated_call_twice_is_caught(remembers: bool, tmp_path: Path) -> None:
    class Remote(Suite):
        capabilities = Capabilities()

        @contextlib.asynccontextmanager
        async def make_memory(
            self, folder: Path, limits: Limits = LIMITS, faults: Faults = no_faults
        ) -> AsyncIterator[Connect]:
            table = FakeTable(limits)
            yield lambda: OverCalls(table, faults, remembers)

    with contextlib.nullcontext() if remembers else pytest.raises(AssertionError):
        Remote().test_m_99_calls_that_are_lost_or_come_twice_are_done_once(tmp_path)
