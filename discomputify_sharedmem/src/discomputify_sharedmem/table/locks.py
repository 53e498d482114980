"""Locks of a scope that are held, and by whom. Not here: waiting for them, and when leases end (scope.py)."""

from __future__ import annotations

import attrs

from discomputify_core.errors import LockLost
from discomputify_core.model.memory import Answer, Member
from discomputify_sharedmem.table.room import Room, weight


@attrs.define(eq=False)
class Held:
    """A lock that is held."""

    name: str
    member: Member
    token: int
    until: float


class Locks:
    """The locks of a scope."""

    def __init__(self, room: Room) -> None:
        self.held: dict[str, Held] = {}
        self._room = room
        self._by_part: dict[int, dict[str, Held]] = {}
        self._token = 0

    def take(self, member: Member, name: str, until: float) -> Held:
        """Give the lock, which nobody holds, to *member*.

        Raises:
            MemoryFull: there are too many things in this scope.
        """
        self._room.take(weight(name), 1)
        self._token += 1
        held = self.held[name] = Held(name, member, self._token, until)
        self._by_part.setdefault(member.part, {})[name] = held
        return held

    def of(self, member: Member, name: str, token: int) -> Held:
        """The lock as *member* holds it with *token*.

        Raises:
            LockLost: it does not.
        """
        held = self.held.get(name)
        if held is None or held.token != token or held.member.part != member.part:
            now = "nobody holds it now" if held is None else f"part {held.member.part} holds it now"
            raise LockLost(
                f"Part {member.part} does not hold the lock '{name}' any more: its lease ended, or it was given back; "
                f"{now}.",
                name=name,
            )
        return held

    def free(self, held: Held) -> None:
        """Nobody holds the lock any more."""
        del self.held[held.name]
        mine = self._by_part[held.member.part]
        del mine[held.name]
        if not mine:
            del self._by_part[held.member.part]
        self._room.take(-weight(held.name), -1)

    def of_part(self, part: int) -> list[Held]:
        """What the attempt of *part* holds."""
        return list(self._by_part.get(part, {}).values())


def granted(held: Held) -> Answer:
    """The answer to whom the lock was given."""
    return Answer(True, number=held.token)
