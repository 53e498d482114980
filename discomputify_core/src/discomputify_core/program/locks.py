"""A lock that at most one part holds, for as long as its lease."""

from __future__ import annotations

from discomputify_core.errors import BadValue, DiscomputifyError, LockLost, TooLate
from discomputify_core.program.arguments import lease_of, name_of, seconds_of
from discomputify_core.program.asking import ask

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from types import TracebackType


class Lock:
    """What ``memory.lock(name)`` gives: a context manager that holds the lock inside its block.

    ``token`` grows with every holder of the lock: give it to whatever else you write to, which can then refuse what
    comes from an earlier holder. 0 while the lock is not held.
    """

    def __init__(self, name: str, lease: float = 30, wait: float = 600) -> None:
        self.name = name_of(name)
        self.lease = lease_of(lease)
        self.token = 0
        self._wait = seconds_of(wait, "wait")

    def __repr__(self) -> str:
        return f"<lock {self.name!r}, {f'held with token {self.token}' if self.token else 'not held'}>"

    def __enter__(self) -> Lock:
        """Take the lock.

        Raises:
            TooLate: others held it all the time.
            BadValue: this very object holds it already.
        """
        if self.token:
            raise BadValue(f"This lock {self.name!r} is held already; whoever waits for it once more waits in vain.")
        reply = ask("lock", name=self.name, lease=self.lease, wait=self._wait)
        if not reply.found:
            raise TooLate(
                f"The lock {self.name!r} was not free within {self._wait:g} s; 'discomputify memory' shows its holder.",
                name=self.name,
            )
        self.token = reply.number
        return self

    def renew(self, lease: float | None = None) -> None:
        """Hold the lock for another *lease* seconds from now on (default: as at first).

        ::

            with memory.lock("file", lease=30) as lock:
                for row in rows:
                    write(row)
                    lock.renew()

        Raises:
            LockLost: the lease had ended already.
        """
        lease = self.lease if lease is None else lease_of(lease)
        if not self.token:
            raise LockLost(f"The lock {self.name!r} is not held, so it cannot be renewed.", name=self.name)
        ask("renew", name=self.name, token=self.token, lease=lease)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lock back.

        Raises:
            LockLost: the lease ended inside the block, so others may have held the lock meanwhile.
        """
        token, self.token = self.token, 0
        try:
            ask("unlock", name=self.name, token=token)
        except DiscomputifyError:
            if error is None:
                raise
            # What went wrong inside the block matters more; the lock's lease ends in any case.
