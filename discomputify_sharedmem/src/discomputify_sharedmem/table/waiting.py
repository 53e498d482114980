"""Who waits for what, in the order of coming. Not here: what they are given (scope.py)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar, Union

import attrs

from discomputify_core.model.memory import Get, Lock, Meet, Member, Pop

Ticket = tuple[Hashable, int]
"""Whom a wake-up is for, and which one of theirs: given with the command that may have to wait."""

#: Commands that may wait.
Waits = Union[Get, Pop, Lock, Meet]
#: An entry, a lock, or a round.
Key = Union[tuple[str, str], tuple[str, str, int]]
ENTRY, LOCK = "entry", "lock"

K = TypeVar("K", bound=Hashable)


@attrs.define(eq=False)
class Waiter:
    """A command that waits."""

    ticket: Ticket
    member: Member
    command: Waits
    key: Key


def key_of(command: Waits) -> Key:
    """What *command* waits for."""
    if isinstance(command, Meet):
        return command.kind, command.name, command.round
    return LOCK if isinstance(command, Lock) else ENTRY, command.name


class Waiting:
    """Those who wait in one scope."""

    def __init__(self) -> None:
        self._by_key: dict[Key, dict[Waiter, None]] = {}
        self._by_part: dict[int, dict[Waiter, None]] = {}

    def __len__(self) -> int:
        return sum(len(waiters) for waiters in self._by_part.values())

    def add(self, waiter: Waiter) -> None:
        """Put *waiter* at the end."""
        self._by_key.setdefault(waiter.key, {})[waiter] = None
        self._by_part.setdefault(waiter.member.part, {})[waiter] = None

    def remove(self, waiter: Waiter) -> None:
        """Take *waiter* out."""
        _without(self._by_key, waiter.key, waiter)
        _without(self._by_part, waiter.member.part, waiter)

    def first(self, key: Key) -> Waiter | None:
        """Who has waited longest."""
        waiters = self._by_key.get(key)
        return next(iter(waiters)) if waiters else None

    def at(self, key: Key) -> list[Waiter]:
        """Everybody who waits for *key*, in the order of coming."""
        return list(self._by_key.get(key, ()))

    def of(self, part: int) -> list[Waiter]:
        """What *part* waits for."""
        return list(self._by_part.get(part, ()))

    def all(self) -> list[Waiter]:
        """Everybody."""
        return [waiter for waiters in self._by_key.values() for waiter in waiters]

    def waited_for(self) -> list[Key]:
        """What is waited for."""
        return list(self._by_key)


def _without(waiting: dict[K, dict[Waiter, None]], key: K, waiter: Waiter) -> None:
    waiters = waiting[key]
    del waiters[waiter]
    if not waiters:
        del waiting[key]
