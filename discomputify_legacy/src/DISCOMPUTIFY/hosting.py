"""A role of this process that is started and stopped by plain calls: the base of the three node classes.

Here: the thread and the loop that it lives in. Not here: which role it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any, ClassVar

from DISCOMPUTIFY.conf import opened
from discomputify_core.edge.opening import Loaded
from discomputify_core.errors import DiscomputifyError
from discomputify_core.roles.starting import NodeRole, Role

log = logging.getLogger("discomputify.run")

#: Seconds for a role to serve, and to end: far more than it takes, since roles have deadlines of their own.
STARTS, ENDS = 120.0, 120.0


class HostedRole(ABC):
    """A role with the conf of the current folder.

    Raises:
        BadInput: there is no conf.
        BadConf: it cannot be used.
    """

    #: Kinds of plugins that it needs, and roles of plugins.
    KINDS: ClassVar[Collection[str]]
    ROLES: ClassVar[Collection[str]] = ()

    def __init__(self) -> None:
        #: The conf, as a dict of its keys.
        self.CONF: dict[str, Any]
        self._loaded, self.CONF = opened(self.KINDS, self.ROLES)
        self._changing = threading.Lock()
        self._life: _Life | None = None

    @abstractmethod
    def _made(self, loaded: Loaded) -> Role:
        """A new role of the kind that this class stands for."""

    def start_node(self) -> None:
        """Start it, unless it runs; returns when it serves. It goes on until :meth:`stop_node` or a signal.

        Raises:
            AddressInUse: its address cannot be bound.
            BadConf, DiskError: a folder of the conf cannot be used.
        """
        with self._changing:
            if self._life is not None:
                return
            life = _Life(lambda: self._made(self._loaded))
            try:
                life.began.result(STARTS)
            except BaseException:
                # Also when interrupted: no thread is left behind.
                life.end()
                raise
            self._life = life

    def stop_node(self) -> None:
        """End it in order; returns when it has ended. Idempotent."""
        with self._changing:
            if self._life is not None:
                self._life.end()
                self._life = None


class _Life:
    """One run of a role: its thread and its loop."""

    def __init__(self, make: Callable[[], Role]) -> None:
        self._make = make
        #: Done once it serves; or says why it does not.
        self.began: Future[None] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        # No daemon: as ever, a script that starts a node and does nothing more stays there and serves.
        self._thread = threading.Thread(target=self._run, name="discomputify-node")
        self._thread.start()

    def end(self) -> None:
        """End the role, and the thread."""
        with contextlib.suppress(RuntimeError):  # its loop is closed already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(ENDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # told to the thread that waits for the start
            if self.began.done():
                raise
            self.began.set_exception(error)
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _serve(self) -> None:
        role = self._make()
        try:
            await role.start()
            self.began.set_result(None)
            watching = asyncio.ensure_future(_tell_refusal(role))
            await self._stop.wait()
            watching.cancel()
        finally:
            await role.close()


async def _tell_refusal(role: Role) -> None:
    """Log it when the master refuses the node, since nobody waits for that here."""
    if isinstance(role, NodeRole):
        try:
            await role.joined()
        except DiscomputifyError as error:
            log.error("%s is not accepted: %s", role.node.node, error)  # noqa: TRY400 (a sentence, not a bug)
