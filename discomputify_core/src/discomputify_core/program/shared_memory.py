"""``Memory``: entries under names, which all parts of the job read and write. Collectives and locks: their own files.

What is sent and how: asking.py. Every operation is carried out by the service at once and completely.
"""

from __future__ import annotations

import json
import os
import time

from discomputify_core.errors import BadValue, MemoryLost, NoSuchName, TooLate, WrongKind
from discomputify_core.program.arguments import name_of, prefix_of, seconds_of, shown, step_of
from discomputify_core.program.asking import Reply, ask
from discomputify_core.program.collectives import Collectives
from discomputify_core.program.locks import Lock
from discomputify_core.program.sharing import Absent
from discomputify_core.program.values import Encoded, encode

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

#: Seconds that an entry may be changed by others again and again before ``update`` gives up.
CONTENTION = 60.0
#: How often a large value may be replaced while it is about to be read.
REPLACED = 100


class Memory(Collectives):
    """Shared memory of a job, as ``program.memory()`` gives it.

    Values are what JSON can hold (None, bool, int, float, str, list, dict with text as keys), bytes, and NumPy arrays.
    What is read is a copy (tuples come back as lists); arrays are read-only.
    """

    def __repr__(self) -> str:
        return f"<shared memory, part {self._part} of {self._total}>"

    # --- entries ---------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        """``memory[name]``: the value.

        Raises:
            NoSuchName: nothing is there (a KeyError, too).
        """
        reply, value = _read(name_of(name), 0)
        if not reply.found:
            raise NoSuchName(
                f"There is nothing under the name {name!r} in the shared memory of this job. "
                "memory.get(name, wait=SECONDS) waits until there is.",
                name=name,
            )
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        """``memory[name] = value``; whatever was there is replaced.

        Raises:
            BadName, BadValue: the name or the value cannot be used.
            MemoryFull: a limit would be exceeded; nothing is changed.
        """
        self.set(name, value)

    def __delitem__(self, name: str) -> None:
        """``del memory[name]``.

        Raises:
            NoSuchName: nothing is there.
        """
        if not ask("remove", name=name_of(name)).found:
            raise NoSuchName(f"There is nothing under the name {name!r} that could be removed.", name=name)

    def __contains__(self, name: str) -> bool:
        """``name in memory``."""
        return ask("get", name=name_of(name), quiet=True).found

    def __iter__(self) -> Iterator[str]:
        """The names, as :meth:`keys` gives them."""
        return iter(self.keys())

    def keys(self, prefix: str = "") -> list[str]:
        """The names of entries that begin with *prefix*, sorted; at most the first 10,000.

        ::

            for name in memory.keys("result/"): ...

        Raises:
            BadName: no name can begin so.
        """
        return ask("names", prefix=prefix_of(prefix)).names

    def get(self, name: str, default: Any = None, wait: float = 0) -> Any:
        """The value, or *default* if there is none within *wait* seconds.

        ::

            edge = memory.get(f"{step}/left", wait=60)

        Raises:
            BadName, BadValue: the name is none, or *wait* no number of seconds.
        """
        reply, value = _read(name_of(name), seconds_of(wait, "wait"))
        return value if reply.found else default

    def set(self, name: str, value: Any, ephemeral: bool = False) -> None:
        """Set an entry. An *ephemeral* one is removed when the attempt of this part ends.

        ::

            memory.set(f"alive/{program.part()}", True, ephemeral=True)

        Raises:
            BadName, BadValue, MemoryFull: as for ``memory[name] = value``.
        """
        more = {"ephemeral": True} if ephemeral else {}
        ask("put", encode(value), name=name_of(name), **more)

    # --- changes that lose nothing of what others change ---------------------------------------------------

    def increment(self, name: str, by: float = 1) -> Any:
        """Add *by* to a number, which is 0 where there is none; gives the new one. Never counts twice.

        ::

            number = memory.increment("next")      # each part gets another one

        Raises:
            WrongKind: the entry is no number.
            BadValue: *by* is no number.
        """
        return ask("add", name=name_of(name), by=step_of(by)).number

    def compare_and_set(self, name: str, old: Any, new: Any) -> bool:
        """Set an entry to *new* if its value is *old*; gives whether it was.

        ::

            if memory.compare_and_set("leader", program.ABSENT, program.part()): ...

        *old* is compared as Python's ``==`` does, arrays by type, shape and bytes; ``program.ABSENT`` stands for
        nothing being there.

        Raises:
            WrongKind: the entry is a list of ``append``.
            BadName, BadValue, MemoryFull: as for ``memory[name] = value``.
            TooLate: others changed the entry all the time for a minute.
        """
        name_of(name)
        if isinstance(new, Absent):
            raise BadValue("compare_and_set() sets a value; it cannot remove one (new is ABSENT).")
        after = encode(new)
        if isinstance(old, Absent):
            return ask("put", after, name=name, version=0).found
        before = encode(old)
        for _ in _tries(name):
            reply, value = _read(name, 0)
            _no_list(reply, name)
            if not reply.found or not _same(reply, value, before):
                return False
            if ask("put", after, name=name, version=reply.version).found:
                return True
        raise _contended(name)

    def update(self, name: str, function: Callable[[Any, Any], Any], value: Any) -> Any:
        """Set an entry to ``function(old, value)``, or to *value* where there is none; gives what it is then.

        ::

            best = memory.update("best", min, mine)

        The function may be called several times, when others change the entry meanwhile; it should do nothing else.

        Raises:
            WrongKind: the entry is a list of ``append``.
            BadName, BadValue, MemoryFull: as for ``memory[name] = value``.
            TooLate: others changed the entry all the time for a minute.
        """
        name_of(name)
        if not callable(function):
            raise BadValue(f"update() takes a function of two values, the old one and yours, not {shown(function)}.")
        encode(value)  # what cannot be shared is refused before anything is asked
        for _ in _tries(name):
            reply, old = _read(name, 0)
            _no_list(reply, name)
            new = function(old, value) if reply.found else value
            after = encode(new)
            if reply.found and after.kind == "json" and after.data == reply.json:
                return new  # it has that value already
            if ask("put", after, name=name, version=reply.version if reply.found else 0).found:
                return new
        raise _contended(name)

    # --- lists ---------------------------------------------------------------------------------------------

    def append(self, name: str, item: Any) -> int:
        """Put an item at the end of a list, which begins empty; gives how many it has then.

        ::

            memory.append("found", {"part": program.part(), "row": 7})

        Raises:
            WrongKind: the entry is a value, and no list that was made by ``append``.
            BadName, BadValue, MemoryFull: as for ``memory[name] = value``.
        """
        length: int = ask("append", encode(item), name=name_of(name)).number
        return length

    def pop(self, name: str, default: Any = None, wait: float = 0) -> Any:
        """Take the first item of a list, or give *default* if there is none within *wait* seconds.

        ::

            while (task := memory.pop("tasks")) is not None: ...

        Each item is given to one caller only. A list that has become empty is no entry any more.

        Raises:
            WrongKind: the entry is a value, and no list that was made by ``append``.
            BadName, BadValue: the name is none, or *wait* no number of seconds.
        """
        reply = ask("pop", name=name_of(name), wait=seconds_of(wait, "wait"))
        if not reply.found:
            return default
        try:
            return reply.value()
        except FileNotFoundError as error:
            raise _removed(name) from error

    # --- locks ---------------------------------------------------------------------------------------------

    def lock(self, name: str, lease: float = 30, wait: float = 600) -> Lock:
        """A lock, held inside a ``with`` block; at most one part holds it, and for *lease* seconds at a time.

        ::

            with memory.lock("file", lease=30):
                change_the_file()

        Locks and entries have separate names. A lock is free again when the attempt that holds it has ended.

        Raises (at the ``with``):
            TooLate: it was not free within *wait* seconds.
            LockLost: at the end of the block: the lease had ended.
            BadName, BadValue: at once: the name is none, or *lease* or *wait* no number of seconds.
        """
        return Lock(name, lease, wait)


def _read(name: str, wait: float) -> tuple[Reply, Any]:
    """What is under *name*, and its value (None where there is none)."""
    for _ in range(REPLACED):
        reply = ask("get", name=name, wait=wait)
        try:
            if reply.listed:
                return reply, reply.values()
            return reply, reply.value() if reply.found else None
        except FileNotFoundError:
            continue  # a large value was replaced in between: there is a newer one
    raise _removed(name)


def _removed(name: str) -> MemoryLost:
    return MemoryLost(
        f"The large value {name!r} was removed by other parts each time before this one had opened it.", name=name
    )


def _no_list(reply: Reply, name: str) -> None:
    if reply.listed:
        raise WrongKind(f"{name!r} is a list that was made by append(); it cannot be set as a whole.", name=name)


def _same(reply: Reply, value: Any, wanted: Encoded) -> bool:
    """Whether *value*, which came with *reply*, is the one that was encoded as *wanted*."""
    if wanted.kind == "array":
        from discomputify_core.program.arrays import same

        return hasattr(value, "dtype") and same(value, wanted.data)
    if wanted.kind == "bytes":
        return isinstance(value, bytes) and value == wanted.data
    return reply.json is not None and (reply.json == wanted.data or bool(value == json.loads(wanted.data)))


def _tries(name: str) -> Iterator[int]:
    """Counts tries until CONTENTION seconds are over, with pauses by chance: those who have tried often go first."""
    deadline = time.monotonic() + CONTENTION
    number = 0
    while not number or time.monotonic() < deadline:
        yield number
        number += 1
        longest = 0.001 * 2 ** min(number, 5) if number < 12 else 0.001
        time.sleep(longest * os.urandom(1)[0] / 255)


def _contended(name: str) -> TooLate:
    return TooLate(f"Other parts changed {name!r} all the time for {CONTENTION:g} s; use a lock around it.", name=name)
