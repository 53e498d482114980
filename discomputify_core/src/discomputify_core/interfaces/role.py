"""The promise of a role that a plugin brings: a service that core hosts over the configured transport."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from discomputify_core.interfaces.calls import Operations
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.conf import Conf


class ServiceRole(ABC):
    """A role that serves operations over the configured transport, for instance ``ftp_node``.

    Class attributes: ``name`` (as in ``discomputify run NAME``) and ``options`` (attrs class of the conf's section
    ``section``, or None). Core binds the addresses, serves the operations and closes everything.
    """

    name: ClassVar[str]
    section: ClassVar[str] = ""
    options: ClassVar[type | None] = None

    @abstractmethod
    def __init__(self, conf: Conf, options: Any) -> None:
        """Nothing is opened yet."""

    @abstractmethod
    def addresses(self) -> tuple[Address, ...]:
        """Where to serve. The first one names the role in the ``ready:`` line."""

    @abstractmethod
    async def open(self) -> None:
        """Open folders and files.

        Raises:
            DiskError: a folder cannot be used.
        """

    @abstractmethod
    def operations(self) -> Operations:
        """Operation name -> what answers it. The same at every address."""

    @abstractmethod
    async def close(self) -> None:
        """Close everything. Idempotent."""
