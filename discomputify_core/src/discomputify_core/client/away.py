"""Services that are away for longer than a moment while somebody waits for them: noticed here, and told.

Not here: how they are waited for (contact.py), the words that a command shows (cli/progress.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import attrs

from discomputify_core.edge import clock

#: Seconds after which a service that is waited for is told to be away.
MOMENT = 5.0


@attrs.frozen
class Away:
    """A service that is waited for, or that is back."""

    #: "master" or "store".
    role: str
    address: str
    #: Unix time.
    since: float
    back: bool = False


class Absence:
    """Whether one service is away, and who has to know.

    Args:
        role: what it is, for people.
        address: where it is.
        tell: called once when it has been away for a moment while somebody waits, and once when it is back.
    """

    def __init__(self, role: str, address: str, tell: Callable[[Away], None]) -> None:
        self._role = role
        self._address = address
        self._tell = tell
        self._waiting = 0
        #: Since when, by the process's clock and by the wall's; None: it is there, as far as known.
        self._since: tuple[float, float] | None = None
        self._told = False
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def waited_for(self) -> Iterator[None]:
        """Within this, somebody waits for the service however long it is away."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def missed(self) -> None:
        """A connection to it broke, or could not be made."""
        if self._since is None:
            self._since = clock.now(), clock.wall()
        left = self._since[0] + MOMENT - clock.now()
        if left <= 0:
            self._say()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(left, self._say)

    def answered(self) -> None:
        """It is there."""
        self.close()
        since, self._since = self._since, None
        if self._told and since is not None:
            self._told = False
            self._tell(Away(self._role, self._address, since[1], back=True))

    def close(self) -> None:
        """Say nothing any more that was not to be said yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _say(self) -> None:
        self._timer = None
        if self._waiting and self._since is not None and not self._told:
            self._told = True
            self._tell(Away(self._role, self._address, self._since[1]))
