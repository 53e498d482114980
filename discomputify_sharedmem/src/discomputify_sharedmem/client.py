"""The shared-memory plugin ``sharedmem``, seen from those who use it.

Here: reaching the service, and starting anew with a new table. Not here: one table's calls (session.py).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any, ClassVar

from discomputify_core.errors import ChannelClosed, DiscomputifyError, MemoryLost, Unreachable
from discomputify_core.interfaces.calls import Caller, GiveUp
from discomputify_core.interfaces.memory import OnAnswer, SharedMemory
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.conf import Conf
from discomputify_core.model.memory import Answer, Command, Listing, Member, Names, Over, Scope, check_name
from discomputify_sharedmem import wire
from discomputify_sharedmem.batches import GRACE
from discomputify_sharedmem.options import SharedMemOptions
from discomputify_sharedmem.packing import pack_plain, packer
from discomputify_sharedmem.session import Session
from discomputify_sharedmem.unpacking import unpack_plain

#: First and longest pause before another try to reach the service, seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
#: Seconds for saying that this client goes, and for its tasks to end.
FAREWELL = 1.0
#: Attempts that are over, told in one message.
MOST_OVER = 10_000


class SharedMem(SharedMemory):
    """The client of a ``shared_mem_node``."""

    name: ClassVar[str] = "sharedmem"
    options: ClassVar[type | None] = SharedMemOptions
    role: ClassVar[str] = "shared_mem_node"

    def __init__(self, conf: Conf, options: Any, service: Caller) -> None:
        super().__init__(conf, options, service)
        self._service = service
        self._service.on_cut = self._cut
        self._pack = packer()
        self._table = ""
        self._session: Session | None = None
        self._meeting: asyncio.Task[None] | None = None
        self._pause = 0.0
        #: Why the service could not be reached.
        self._trouble: DiscomputifyError | None = None
        self._closed = False

    @property
    def table(self) -> str:
        """See :attr:`SharedMemory.table`."""
        return self._table

    async def do(self, member: Member, command: Command, wait: float = 0.0) -> Answer:
        """See :meth:`SharedMemory.do`."""
        if not isinstance(command, Names):
            check_name(command.name)
        wait = min(wait, wire.LONGEST) if wait > 0 else 0.0
        session = self._session or await self._met(wait + GRACE)
        return await session.do(member, command, wait)

    def begin(self, member: Member, command: Command, told: OnAnswer) -> GiveUp | None:
        """See :meth:`SharedMemory.begin`."""
        if self._session is None:
            return None
        try:
            if not isinstance(command, Names):
                check_name(command.name)
            return self._session.begin(member, command, told)
        except DiscomputifyError:
            return None  # do() says so

    async def ended(self, scope: Scope, total: int, over: Sequence[Over]) -> None:
        """See :meth:`SharedMemory.ended`."""
        session = self._session or await self._met(GRACE)
        for start in range(0, len(over), MOST_OVER):
            told = wire.Ended(session.table, scope, total, tuple(over[start : start + MOST_OVER]))
            await session.ask(wire.ENDED, None, pack_plain(self._pack, told), GRACE)

    async def clear(self, scope: Scope) -> None:
        """See :meth:`SharedMemory.clear`."""
        session = self._session or await self._met(GRACE)
        try:
            await session.ask(wire.CLEAR, to_plain(wire.About("", scope)), b"", GRACE)
        except MemoryLost:
            pass  # there is nothing left of it

    async def look(self, scope: Scope, name: str = "") -> Listing:
        """See :meth:`SharedMemory.look`."""
        session = self._session or await self._met(GRACE)
        reply = await session.ask(wire.LOOK, to_plain(wire.About(session.table, scope, name)), b"", GRACE)
        return unpack_plain(reply.body, Listing)

    async def close(self) -> None:
        """See :meth:`SharedMemory.close`."""
        if self._closed:
            return
        self._closed = True
        session, self._session = self._session, None
        ending: list[asyncio.Task[Any]] = []
        if self._meeting is not None:
            self._meeting.cancel()
            ending.append(self._meeting)
        if session is not None:
            ending += session.close(ChannelClosed("This shared memory was closed.", reason="closed by this side"))
            ending.append(asyncio.ensure_future(self._leave(session.client)))
        if ending:
            await asyncio.wait(ending, timeout=FAREWELL * 2)

    async def _leave(self, client: str) -> None:
        """What this client waits for is of no use to anybody."""
        try:
            await self._service.call(wire.BYE, to_plain(wire.Hello(client)), timeout=FAREWELL)
        except DiscomputifyError:
            pass  # then the service finds out by itself

    # --- reaching the service ---

    async def _met(self, timeout: float) -> Session:
        """The session with the table of now.

        Raises:
            Unreachable: the service was not reached within *timeout* seconds.
            Refused: it said no.
            ChannelClosed: this is closed.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self._session is None:
            if self._closed:
                raise ChannelClosed("This shared memory was closed.", reason="closed by this side")
            meeting = self._meet()
            await asyncio.wait([meeting], timeout=max(deadline - loop.time(), 0.0))
            trouble = self._trouble
            if self._session is None and not self._closed and trouble is not None and meeting.done():
                raise trouble
            if self._session is None and loop.time() >= deadline:
                raise Unreachable(
                    f"The shared-memory service (SHARED_MEM_NODE, SHARED_MEM_PORT) was not reached within "
                    f"{timeout:.0f} s: {trouble or 'it did not answer.'}"
                )
        return self._session

    def _meet(self) -> asyncio.Task[None]:
        if self._meeting is None or self._meeting.done():
            self._meeting = asyncio.get_running_loop().create_task(self._try_to_meet())
        return self._meeting

    async def _try_to_meet(self) -> None:
        self._trouble = None
        while True:
            await asyncio.sleep(self._pause)
            self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
            client = secrets.token_hex(16)
            try:
                reply = await self._service.call(wire.HELLO, to_plain(wire.Hello(client)), timeout=GRACE)
                table = from_plain(reply.data, wire.Table).table
            except Unreachable as error:
                self._trouble = error
            except DiscomputifyError as error:
                self._trouble = error
                return
            else:
                self._table = table
                self._session = Session(self._service, table, client, self._lost)
                return

    def _cut(self, reason: str) -> None:
        if self._session is not None:
            self._session.cut(reason)

    def _lost(self, session: Session, reason: str) -> None:
        """A table is lost. The next one is looked for at once, since its loss has to be noticed, too."""
        if session is self._session and not self._closed:
            self._session = None
            loop = asyncio.get_running_loop()
            if loop.time() - session.since > 2 * LONGEST_PAUSE:
                self._pause = FIRST_PAUSE  # else a service that is of no use is not to be hammered
            self._meet()
            loop.call_soon(self.on_lost, reason)
