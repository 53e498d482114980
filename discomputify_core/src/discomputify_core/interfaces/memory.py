"""The promise of a shared-memory plugin, seen from who uses it: computing nodes on behalf of parts, and the master."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Union

from discomputify_core.errors import DiscomputifyError
from discomputify_core.interfaces.calls import Caller, GiveUp
from discomputify_core.model.conf import Conf
from discomputify_core.model.memory import Answer, Command, Listing, Member, Over, Scope

OnLost = Callable[[str], None]
"""Told why, in a sentence, when everything that was held is lost."""
OnAnswer = Callable[[Union[Answer, DiscomputifyError]], None]
"""Told once what came of a command that was begun. Does not wait, and does not raise."""


class SharedMemory(ABC):
    """A shared-memory plugin's client side. One instance per process; methods run concurrently on one event loop.

    Class attributes: ``name`` (what SHARED_MEM in the conf says), ``options`` (attrs class of its section, or None)
    and ``role`` (the service role that has to run at SHARED_MEM_NODE, "" where discomputify starts none).

    What is held is volatile. It has an identity, :attr:`table`, which changes when it was lost (its service was
    restarted, its data flushed). A loss is told at once: calls under way raise MemoryLost, and ``on_lost`` is called,
    once per loss.
    """

    name: ClassVar[str]
    options: ClassVar[type | None] = None
    role: ClassVar[str] = ""

    @abstractmethod
    def __init__(self, conf: Conf, options: Any, service: Caller) -> None:
        """*service* asks SHARED_MEM_NODE at SHARED_MEM_PORT; a plugin that speaks to another server leaves it alone."""
        self.on_lost: OnLost = lambda reason: None

    @classmethod
    def check(cls, conf: Conf, options: Any) -> Sequence[str]:
        """What of the conf this plugin cannot use: as ``Transport.check``."""
        return ()

    @property
    @abstractmethod
    def table(self) -> str:
        """Which table the calls so far were answered from; "" before the first answer."""

    @abstractmethod
    async def do(self, member: Member, command: Command, wait: float = 0.0) -> Answer:
        """Carry *command* out for *member*, waiting at most *wait* seconds where it may wait.

        Carried out once, however often the connection breaks on the way. A command that waits and is not fulfilled in
        time answers ``found=False`` (Get, Pop, Lock) or raises TooLate (Meet). Cancelling gives the waiting up; a lock
        or value that was granted meanwhile is not lost to others.

        Raises:
            BadName: a name has no bytes or too many.
            WrongKind: the entry is of another kind (adding to a text, popping from a value).
            MemoryFull: a limit would be exceeded; which one, in ``fields["limit"]``. Nothing was changed.
            LockLost: see Renew and Unlock.
            TooLate: a round was not complete in time; ``fields["parts"]`` lists (some of) those who did not come.
            PartGone: a part that has not taken part never will; ``fields["part"]``.
            RoundsDiffer: another part takes part in this round with something else.
            RoundForgotten: the round was complete, and its result is not kept any more.
            AttemptOver: the member's attempt is over, or a newer one of its part is known, or its scope was cleared.
            MemoryLost: what was held is lost.
            Unreachable: the service did not answer within *wait* seconds and 30 more; the command may have been
                carried out.
        """

    def begin(self, member: Member, command: Command, told: OnAnswer) -> GiveUp | None:
        """Begin a Put, Get, Remove, Add or Append as :meth:`do` does that does not wait, and tell *told* later.

        None, and nothing is done, where that is not possible at once, or not at all, for whatever reason: then
        :meth:`do` is asked. Only so that small commands cost less: a plugin need not override it.
        """
        return None

    @abstractmethod
    async def ended(self, scope: Scope, total: int, over: Sequence[Over]) -> None:
        """Say which attempts of a job of *total* parts are over. Telling again changes nothing.

        A part that stands AGAIN may come with a newer attempt; of one that is DONE or GONE nobody waits any more:
        those who do get PartGone. What the part had brought to rounds, complete or not, stays.

        Raises:
            MemoryLost, Unreachable: as for :meth:`do`.
        """

    @abstractmethod
    async def clear(self, scope: Scope) -> None:
        """Free everything of *scope*; members who wait get AttemptOver, and so does whoever comes later.

        Raises:
            Unreachable: as for :meth:`do`. No error if there is nothing.
        """

    @abstractmethod
    async def look(self, scope: Scope, name: str = "") -> Listing:
        """What *scope* holds, or one entry with its value. An empty listing where there is nothing.

        Raises:
            MemoryLost, Unreachable: as for :meth:`do`.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close everything; calls under way fail. Idempotent."""
