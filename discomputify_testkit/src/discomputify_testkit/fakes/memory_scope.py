"""One scope of the fake shared memory: carries commands out, and keeps those who wait in the order of their coming."""

from __future__ import annotations

import asyncio
from typing import Union

import attrs

from discomputify_core.errors import AttemptOver, DiscomputifyError, TooLate
from discomputify_core.model.memory import (
    AGAIN,
    Add,
    Answer,
    Append,
    Command,
    Get,
    Limits,
    Listing,
    Lock,
    Meet,
    Member,
    Names,
    Over,
    Pop,
    Put,
    Remove,
    Renew,
    Row,
    Unlock,
    Value,
    check_name,
)
from discomputify_testkit.fakes import memory_rounds
from discomputify_testkit.fakes.memory_entries import Entries, Entry, Locks, Room
from discomputify_testkit.fakes.memory_rounds import Rounds

#: What can be waited for: an entry, a lock, or a round.
Key = Union[tuple[str, str], memory_rounds.Key]
#: Most rows of a listing, and most values of a list shown in it.
MOST_ROWS, MOST_VALUES = 1000, 100
#: Most parts that an error names.
MOST_PARTS = 100


@attrs.define
class Standing:
    """What is known of a part: its newest attempt, and how it stands if that is over."""

    number: int
    stands: str = ""
    reason: str = ""


@attrs.define(eq=False)
class Waiter:
    """A command that waits."""

    member: Member
    command: Command
    key: Key
    #: Which client it came through.
    client: object
    answer: asyncio.Future[Answer]


class FakeScope:
    """See the module."""

    def __init__(self, limits: Limits) -> None:
        self.room = Room(limits)
        self.entries, self.locks, self.rounds = Entries(self.room), Locks(self.room), Rounds(self.room)
        self._parts: dict[int, Standing] = {}
        self._waiting: dict[Key, list[Waiter]] = {}

    # --- commands ---

    async def do(self, member: Member, command: Command, wait: float, client: object) -> Answer:
        """See :meth:`~discomputify_core.interfaces.memory.SharedMemory.do`; *client* is whom it came through."""
        self._admit(member)
        key = _key(command)
        self._settle(key)  # those who waited for a lock whose lease has ended by now come first
        if isinstance(command, Meet):
            self.rounds.total = member.total
            self.rounds.take_part(member.part, command)
        answer = self._perform(member, command)
        if answer is not None:
            self._settle(key)
            self._trim(command)
            return answer
        future = asyncio.get_running_loop().create_future()
        return await self._wait(Waiter(member, command, key, client, future), wait)

    def _admit(self, member: Member) -> None:
        """Take note of an attempt. Raises AttemptOver for one that is over."""
        known = self._parts.get(member.part)
        if known is not None and (member.number < known.number or (member.number == known.number and known.stands)):
            raise AttemptOver(f"Attempt {member.number} of part {member.part} is over.", part=member.part)
        if known is None or member.number > known.number:
            self._parts[member.part] = Standing(member.number)
            self._give_back(member.part)

    def _perform(self, member: Member, command: Command) -> Answer | None:
        """Carry *command* out, or None where it has to wait."""
        now = asyncio.get_running_loop().time()
        if isinstance(command, Put):
            return self.entries.put(member, command)
        if isinstance(command, Get):
            return self.entries.get(command)
        if isinstance(command, Remove):
            return self.entries.remove(command)
        if isinstance(command, Add):
            return self.entries.add(member, command)
        if isinstance(command, Append):
            return self.entries.append(command)
        if isinstance(command, Pop):
            return self.entries.pop(command)
        if isinstance(command, Names):
            return self.entries.names(command)
        if isinstance(command, Lock):
            answer = self.locks.take(member, command.name, now + command.lease, now)
            return answer and self._look_again(command.name, command.lease, answer)
        if isinstance(command, Renew):
            answer = self.locks.renew(member, command.name, command.token, now + command.lease, now)
            return self._look_again(command.name, command.lease, answer)
        if isinstance(command, Unlock):
            return self.locks.free(member, command.name, command.token, now)
        return self.rounds.outcome(member.part, command, self._gone())

    def _look_again(self, name: str, lease: float, answer: Answer) -> Answer:
        """Serve those who wait for a lock when its lease has ended."""
        asyncio.get_running_loop().call_later(lease + 0.001, self._settle, ("lock", name))
        return answer

    # --- waiting ---

    async def _wait(self, waiter: Waiter, wait: float) -> Answer:
        self._waiting.setdefault(waiter.key, []).append(waiter)
        try:
            await asyncio.wait({waiter.answer}, timeout=wait)
        except asyncio.CancelledError:
            self._undo(waiter)
            raise
        finally:
            self._remove(waiter)
        if waiter.answer.done():
            self._trim(waiter.command)
            return waiter.answer.result()
        return self._too_late(waiter)

    def _undo(self, waiter: Waiter) -> None:
        """Give back what was granted to one who does not want it any more."""
        if not waiter.answer.done() or waiter.answer.exception() is not None:
            return
        answer, command = waiter.answer.result(), waiter.command
        if isinstance(command, Pop) and answer.value is not None:
            self.entries.put_back(command.name, answer.value)
        if isinstance(command, Lock) and command.name in self.locks.held:
            now = asyncio.get_running_loop().time()
            self.locks.free(waiter.member, command.name, int(answer.number), now)
        self._settle(waiter.key)

    def _remove(self, waiter: Waiter) -> None:
        waiters = self._waiting.get(waiter.key, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._waiting.pop(waiter.key, None)

    def _too_late(self, waiter: Waiter) -> Answer:
        command = waiter.command
        if not isinstance(command, Meet):
            return Answer(found=False)
        missing = self.rounds.missing(memory_rounds.key_of(command), command.root)
        shown = ", ".join(str(part) for part in missing[:10]) + (", …" if len(missing) > 10 else "")
        raise TooLate(
            f"Round {command.round} of the {command.kind} '{command.name}' was not complete in time: "
            f"part {shown} did not come.",
            parts=missing[:MOST_PARTS],
        )

    def _settle(self, key: Key) -> None:
        """Serve those who wait for *key*, in the order in which they came."""
        for waiter in list(self._waiting.get(key, ())):
            if waiter.answer.done():
                continue
            try:
                answer = self._perform(waiter.member, waiter.command)
            except DiscomputifyError as error:
                self._fail(waiter, error)
            else:
                if answer is not None:
                    self._remove(waiter)
                    waiter.answer.set_result(answer)

    def _fail(self, waiter: Waiter, error: DiscomputifyError) -> None:
        self._remove(waiter)
        if not waiter.answer.done():
            waiter.answer.set_exception(error)

    def _trim(self, command: Command) -> None:
        if isinstance(command, Meet):
            self.rounds.trim(self._gone())

    def fail_all(self, error: DiscomputifyError, client: object = None) -> None:
        """Everybody who waits gets *error*, or everybody who came through *client*."""
        for waiter in [waiter for waiters in self._waiting.values() for waiter in waiters]:
            if client in (None, waiter.client):
                self._fail(waiter, error)

    # --- attempts ---

    def ended(self, total: int, over: Over) -> None:
        """Take note that an attempt is over."""
        self.rounds.total = total
        known = self._parts.get(over.part)
        if known is not None:
            final = known.number == over.number and known.stands not in ("", AGAIN)
            if known.number > over.number or final:
                return
        self._parts[over.part] = Standing(over.number, over.stands, over.reason)
        self._give_back(over.part)

    def _gone(self) -> dict[int, str]:
        """Parts that will not take part any more, and why."""
        return {
            part: standing.reason or ("it is done." if standing.stands == "done" else "it failed or was stopped.")
            for part, standing in self._parts.items()
            if standing.stands not in ("", AGAIN)
        }

    def _give_back(self, part: int) -> None:
        """What the attempt of *part* held is free, and what it waits for it does not wait for any more."""
        for waiter in [waiter for waiters in self._waiting.values() for waiter in waiters]:
            if waiter.member.part == part:
                self._fail(waiter, AttemptOver("This attempt is over.", part=part))
        self.entries.without(part)
        for name in self.locks.without(part):
            self._settle(("lock", name))
        for key in [key for key in self._waiting if len(key) == 3]:
            self._settle(key)
        self.rounds.trim(self._gone())

    # --- looking ---

    def look(self, name: str) -> Listing:
        """See :meth:`~discomputify_core.interfaces.memory.SharedMemory.look`."""
        rows = [row for row in (*self._entry_rows(), *self._lock_rows(), *self._round_rows()) if name in ("", row.name)]
        entry = self.entries.by_name.get(name)
        return Listing(
            rows=tuple(rows[:MOST_ROWS]),
            size=self.room.size,
            count=self.room.count,
            most_bytes=self.room.limits.job_bytes,
            most_count=self.room.limits.job_entries,
            more=max(0, len(rows) - MOST_ROWS),
            values=() if entry is None else tuple(_values(entry)[:MOST_VALUES]),
        )

    def _parts_waiting(self, key: Key) -> tuple[int, ...]:
        return tuple(waiter.member.part for waiter in self._waiting.get(key, ()))

    def _entry_rows(self) -> list[Row]:
        names = {*self.entries.by_name, *(key[1] for key in self._waiting if key[0] == "entry")}
        return [self._entry_row(name, self.entries.by_name.get(name)) for name in sorted(names)]

    def _entry_row(self, name: str, entry: Entry | None) -> Row:
        waiting = self._parts_waiting(("entry", name))
        if entry is None:
            return Row("value", name, waiting=waiting)
        listed = entry.values is not None
        holds = str(len(_values(entry))) if listed else _values(entry)[0].kind
        kind, ephemeral = "list" if listed else "value", entry.owner is not None
        return Row(kind, name, holds, entry.size, entry.version, waiting, ephemeral=ephemeral)

    def _lock_rows(self) -> list[Row]:
        now, rows = asyncio.get_running_loop().time(), []
        for name in sorted(self.locks.held):
            held = self.locks.holder(name, now)
            if held is not None:
                part, waiting = held.member.part, self._parts_waiting(("lock", name))
                rows.append(Row("lock", name, f"held by part {part}", waiting=waiting, missing=(part,)))
        return rows

    def _round_rows(self) -> list[Row]:
        rows = []
        for key, brought in sorted(self.rounds.open.items()):
            missing = self.rounds.missing(key, next(iter(brought.values())).root)
            kind, name, number = key
            size = sum(meet.value.size for meet in brought.values() if meet.value)
            rows.append(
                Row(kind, name, f"round {number}", size, waiting=self._parts_waiting(key), missing=tuple(missing))
            )
        return rows


def _key(command: Command) -> Key:
    if isinstance(command, Meet):
        check_name(command.name)
        return memory_rounds.key_of(command)
    if isinstance(command, Names):
        return "names", ""
    check_name(command.name)
    return "lock" if isinstance(command, (Lock, Renew, Unlock)) else "entry", command.name


def _values(entry: Entry) -> list[Value]:
    if entry.values is not None:
        return list(entry.values)
    return [entry.value] if entry.value is not None else []
