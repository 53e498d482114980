"""The journal of a running master: records in, word when they are on the disk, snapshots now and then.

Used from the master's loop; the disk is another thread's business, snapshots another process's. Not here: what a record
is (model/records.py), when one is made (cluster/machine.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from discomputify_core.cluster.state import State
from discomputify_core.errors import DiscomputifyError, DiskError
from discomputify_core.model.records import Record, encode
from discomputify_core.roles.master.journal import compact, migration, snapshots
from discomputify_core.roles.master.journal import folder as folders
from discomputify_core.roles.master.journal.format import Framed, few, frame
from discomputify_core.roles.master.journal.recovery import (
    Recovered,
    begun_or_forgotten,
    jobs_of,
    plain,
    recover,
    wall_of,
)
from discomputify_core.roles.master.journal.writing import SEGMENT_BYTES, Writer
from discomputify_core.roles.node.disk import FolderLock

log = logging.getLogger("discomputify.master")

#: Records read at a start after which a snapshot is worth its while.
MANY = 5000
#: Seconds for what waits to be written when the master ends, and for a snapshot to be made.
CLOSE, COMPACT = 10.0, 600.0


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Without looks for garbage: of all that is read, next to nothing is."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Journal:
    """What a master writes down.

    Args:
        folder: where; see folder.py.
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        #: What keeps it from writing; "" if nothing does.
        self.fault = ""
        self._segment_bytes = segment_bytes
        self._lock: FolderLock | None = None
        self._writer: Writer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Jobs that lost something because the journal was damaged, and what.
        self.touched: dict[str, str] = {}
        #: The state as of the last record, for when no other process can make a snapshot.
        self._state: Callable[[], State] | None = None
        self._last = 0
        self._durable = 0
        #: The jobs that the last record is about, and the newest time that one tells.
        self._named: tuple[str, ...] = ()
        self._wall = 0.0
        #: What is to be done once a record is on the disk, in order.
        self._after: deque[tuple[int, Callable[[], None]]] = deque()
        self._compacting: asyncio.Task[None] | None = None
        self._worth_it = self._spoilt = self._wanted = False

    def open(self) -> Recovered:
        """Take the folder and read what is there. Blocks.

        Raises:
            BadConf: another master has it, or a newer release wrote it.
            DiskError: it cannot be read or written.
        """
        self._lock = folders.lock(self.folder)
        try:
            migration.migrate(self.folder)
            with _no_collector():
                found = recover(self.folder)
        except BaseException:
            self._release()
            raise
        self._last = self._durable = found.next - 1
        self._named, self._wall, self.touched = found.last, found.wall, found.touched
        self._worth_it = found.records > MANY
        self._spoilt = bool(found.faults) or any(not each.torn for each in found.damage)
        return found

    def start(self, state: Callable[[], State]) -> None:
        """Begin to write, from the loop that this is used from.

        Args:
            state: gives the state as of the last record that was appended.

        Raises:
            DiskError: nothing can be written there.
        """
        self._loop = asyncio.get_running_loop()
        self._state = state
        writer = Writer(self.folder, self._last + 1, self._is_durable, self._says, self._sealed, self._segment_bytes)
        try:
            writer.start()
        except OSError as error:
            raise DiskError(
                f"The master cannot write to {self.folder}: {error.strerror or error}. Make room there, or set "
                f"{folders.KEY} in its conf to a folder that it can write to.",
                path=str(self.folder),
            ) from error
        self._writer = writer
        if self._worth_it or self._spoilt:
            self._compact()

    def append(self, record: Record, changed: Iterable[str] = ()) -> None:
        """Write *record* down, soon. *changed*: ids of jobs that are different now, beside those that it names."""
        if self._writer is None:
            raise DiskError(f"The journal in {self.folder} is closed.", path=str(self.folder))
        named = few(tuple(dict.fromkeys((*jobs_of(record), *changed))))
        self._last += 1
        self._writer.put(self._last, frame(Framed(self._last, named, encode(record), self._named)))
        self._named, self._wall = named, max(self._wall, wall_of(record))
        if self.touched:
            for job in begun_or_forgotten(record):
                self.touched.pop(job, None)

    def after(self, do: Callable[[], None]) -> None:
        """Do something once all that was appended so far is on the disk: at once, if it is. In order."""
        if self._durable >= self._last and not self._after:
            do()
        else:
            self._after.append((self._last, do))

    async def settled(self) -> None:
        """Wait until all that was appended so far is on the disk."""
        if self._durable >= self._last and not self._after:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.after(lambda: None if done.done() else done.set_result(None))
        await done

    async def close(self) -> None:
        """Write what waits and give the folder back."""
        if self._compacting is not None:
            self._compacting.cancel()
            await asyncio.wait([self._compacting])
        writer, self._writer = self._writer, None
        if writer is not None and not await asyncio.to_thread(writer.close, CLOSE):
            log.error("not everything could be written to the journal in %s: %s", self.folder, self.fault)
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # --- from the writer's thread -------------------------------------------------------------------

    def _is_durable(self, number: int) -> None:
        self._soon(lambda: self._go_on(number))

    def _says(self, fault: str) -> None:
        self._soon(lambda: self._note(fault))

    def _sealed(self) -> None:
        self._soon(self._compact)

    def _soon(self, do: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(do)

    # --- in the loop --------------------------------------------------------------------------------

    def _go_on(self, number: int) -> None:
        self._durable = number
        while self._after and self._after[0][0] <= number:
            _, do = self._after.popleft()
            try:
                do()
            except Exception:  # a bug in one turn must not keep all later ones from being carried out
                log.exception("what was written down could not be carried out")

    def _note(self, fault: str) -> None:
        self.fault = fault
        if fault:
            log.error(
                "the journal in %s cannot be written: %s; nothing new is accepted until it can", self.folder, fault
            )
        else:
            log.warning("the journal in %s can be written again", self.folder)

    def _compact(self) -> None:
        self._wanted = True
        if self._compacting is None or self._compacting.done():
            self._compacting = asyncio.get_running_loop().create_task(self._run_compact())

    async def _run_compact(self) -> None:
        """Make a snapshot; the journal just grows where that fails."""
        try:
            while self._wanted:  # segments may be sealed while it is made
                self._wanted = False
                if self._spoilt or await self._in_a_process():
                    await self._here()
        except (OSError, DiscomputifyError) as error:
            log.warning("no snapshot of %s was made, it is tried again later: %s", self.folder, error)

    async def _here(self) -> None:
        """Make a snapshot of what this process knows, since not all of it can be read from the disk any more."""
        await self.settled()
        if self._state is None:
            return
        held = plain(self._state(), self._wall, self._named, self.touched)
        await asyncio.to_thread(snapshots.write, self.folder, self._last, held)
        await asyncio.to_thread(compact.forget, self.folder)
        self._spoilt = False

    async def _in_a_process(self) -> bool:
        """Make a snapshot in a process of its own; whether it found damage."""
        line = (sys.executable, "-m", "discomputify_core.roles.master.journal.compact", str(self.folder))
        process = await asyncio.create_subprocess_exec(
            *line, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        telling = asyncio.ensure_future(process.communicate())
        try:
            done, _ = await asyncio.wait([telling], timeout=COMPACT)
            if not done:
                log.warning("a snapshot of %s took more than %.0f s and was given up", self.folder, COMPACT)
            elif process.returncode == compact.DAMAGED:
                _, said = telling.result()
                log.error(
                    "%s; a snapshot of what this master knows takes its place", said.decode(errors="replace").strip()
                )
                return True
            elif process.returncode:
                _, said = telling.result()
                last = said.decode(errors="replace").strip().splitlines()[-1:]
                log.warning("no snapshot of %s was made, it is tried again later: %s", self.folder, "".join(last))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            telling.cancel()
            await asyncio.wait([telling])
        return False
