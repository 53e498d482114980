"""Outputs of jobs that old clients (CYPHER/1) started, put where those clients look for them as parts become done.

Here: one tree per done part, named ``shown/PROCESS_ID_PART_TOTAL``, committed by a task per job that lives as long as
the master knows the job; and making room for the next run, also of what an earlier master left. Not here: starting
such jobs (old_starting.py), showing the trees as folders (the store's).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs

from discomputify_core.cluster.state import Job
from discomputify_core.errors import (
    BadInput,
    BadPath,
    DiscomputifyError,
    NoSuchTree,
    OurBug,
    StoreError,
    Unreachable,
)
from discomputify_core.interfaces.files import SHOWN
from discomputify_core.model.files import Entry, Manifest, check_digest
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import PartState

if TYPE_CHECKING:
    from discomputify_core.roles.master.master import MasterNode

log = logging.getLogger("discomputify.master")

#: Parts of a job whose outputs are committed at once.
AT_ONCE = 4
#: Seconds between two tries while the store is away, and at most between two looks at a job.
AGAIN, LOOK = 2.0, 60.0
#: Seconds that a commit under way has to end when its job is forgotten.
LAST_COMMIT = 5.0
#: Seconds that outputs of an earlier run have to be shown before the next run replaces them.
CATCH_UP = 10.0
#: Name of the tree that says, as the name of a folder in it, how many parts the run has whose outputs are shown: the
#: store outlives the master, which has to know what to hide when that program is started again.
TOTAL = "shown"


@attrs.define(eq=False)
class _Shown:
    """One job, and how far its outputs are shown."""

    job: Job
    #: So many of its outputs, in the order of their commits, are shown.
    done: int = 0
    #: How often its parts had started again together when what is shown was last right.
    generation: int = 0
    #: Why some cannot be shown at all, and what the others wait for; "" for nothing.
    fault: str = ""
    waiting: str = ""
    task: asyncio.Task[None] | None = None


class Showings:
    """The jobs whose outputs are shown. One per master."""

    def __init__(self, master: MasterNode) -> None:
        self._master = master
        self._jobs: dict[ProcessId, _Shown] = {}

    def begin(self, job: Job) -> None:
        """Show *job*'s outputs from now on, until it is forgotten."""
        shown = self._jobs[job.id] = _Shown(job)
        shown.task = self._master.spawn(self._run(shown))

    def behind(self, job: Job) -> bool:
        """Whether outputs of done parts of *job* are still to be shown."""
        shown = self._of(job)
        return shown is not None and (shown.done < len(job.outputs) or shown.generation != job.generation)

    def trouble(self, job: Job) -> str:
        """What keeps outputs of *job* from being shown, in words; "" if nothing does."""
        shown = self._of(job)
        return " ".join(filter(None, (shown.fault, shown.waiting))) if shown else ""

    async def caught_up(self, process_id: ProcessId) -> None:
        """Return when all outputs of the job of that id that there are are shown.

        Raises:
            Unreachable: they are not after a while.
        """
        job = self._master.cluster.state.jobs.get(process_id)
        if not await self._master.watchers.until(process_id, lambda: job is None or not self.behind(job), CATCH_UP):
            raise unfinished(process_id)

    async def hide(self, process_id: ProcessId) -> None:
        """Leave nothing in what is shown of the job of that id: it shall not be taken for outputs of the next run.

        It has ended, or is not known (any more), so that nothing of it is being shown.

        Raises:
            DiscomputifyError: the store did not do so; what was hidden of a job that is known is shown again.
        """
        job = self._master.cluster.state.jobs.get(process_id)
        await self.caught_up(process_id)
        try:
            total = await self._total(process_id)
            for first in range(1, total + 1, AT_ONCE):
                parts = range(first, min(first + AT_ONCE, total + 1))
                hiding = (self._hide(process_id, job, _tree(process_id, part, total)) for part in parts)
                # All are waited for: one that goes on would hide what is shown again.
                for error in await asyncio.gather(*hiding, return_exceptions=True):
                    if error is not None:
                        raise error
        except DiscomputifyError:
            if job is not None:
                self.again(job)
            raise

    async def _total(self, process_id: ProcessId) -> int:
        """How many parts the run has whose outputs are shown; 0 if none are."""
        store = self._master.store
        try:
            entries = (await store.manifest(process_id, await store.find(process_id, TOTAL))).entries
        except NoSuchTree:
            return 0
        return max((int(entry.path) for entry in entries if entry.path.isdecimal()), default=0)

    async def _hide(self, process_id: ProcessId, job: Job | None, tree: str) -> None:
        store = self._master.store
        try:
            shown = await store.manifest(process_id, await store.find(process_id, tree))
        except NoSuchTree:
            return
        # Outputs of a job that somebody else started meanwhile stay.
        if shown.entries and self._master.cluster.state.jobs.get(process_id) is job:
            await store.commit(process_id, tree, Manifest(()))

    def again(self, job: Job) -> None:
        """Show once more what was hidden of *job*."""
        shown = self._of(job)
        if shown is not None:
            shown.done = 0
            self._master.watchers.wake(job.id)

    async def end(self, process_id: ProcessId) -> None:
        """Return when no commit is under way for a job of that id that was forgotten."""
        shown = self._jobs.get(process_id)
        if shown is None or shown.task is None or self._wanted(shown):
            return
        await asyncio.wait([shown.task], timeout=LAST_COMMIT)
        shown.task.cancel()
        await asyncio.wait([shown.task], timeout=LAST_COMMIT)

    def _of(self, job: Job) -> _Shown | None:
        shown = self._jobs.get(job.id)
        return shown if shown is not None and shown.job is job else None

    def _wanted(self, shown: _Shown) -> bool:
        return self._master.cluster.state.jobs.get(shown.job.id) is shown.job

    async def _run(self, shown: _Shown) -> None:
        job, watchers = shown.job, self._master.watchers
        try:
            await self._insist(shown, "How many parts there are", partial(self._note_total, job))
            shown.waiting = ""
            while self._wanted(shown):
                if shown.generation != job.generation:
                    await self._take_back(shown)
                upto = min(len(job.outputs), shown.done + AT_ONCE)
                if shown.done == upto:
                    await watchers.wait(job.id, LOOK)
                    continue
                rows = list(job.outputs.rows(shown.done, upto))
                await asyncio.gather(*(self._show(shown, part, digest) for part, _, _, digest in rows))
                shown.done, shown.waiting = upto, ""
                watchers.wake(job.id)
        finally:
            if self._jobs.get(job.id) is shown:
                del self._jobs[job.id]

    async def _take_back(self, shown: _Shown) -> None:
        """Hide outputs of parts that were done and have to run again."""
        job, generation = shown.job, shown.job.generation
        total = job.parts.total
        for part in range(1, total + 1):
            if job.parts.state(part) is not PartState.DONE:
                what = f"That part {part} runs again"
                await self._insist(shown, what, partial(self._hide, job.id, job, _tree(job.id, part, total)))
        shown.generation, shown.waiting = generation, ""
        self._master.watchers.wake(job.id)

    async def _show(self, shown: _Shown, part: int, digest: str) -> None:
        await self._insist(shown, f"The outputs of part {part}", partial(self._commit, shown, part, digest))

    async def _insist(self, shown: _Shown, what: str, commit: Callable[[], Awaitable[None]]) -> None:
        """Do *commit*, as soon as the store can be reached."""
        while self._wanted(shown):
            try:
                await commit()
                return
            except (StoreError, BadInput, OurBug) as error:  # trying again would not help
                _note(shown, f"{what} cannot be shown to old clients: {error}")
                return
            except DiscomputifyError as error:
                if not shown.waiting:
                    log.warning("outputs of '%s' for old clients wait for the store: %s", shown.job.id, error)
                shown.waiting = f"Outputs wait for the store: {error}"
            await self._pause(shown)

    async def _note_total(self, job: Job) -> None:
        await self._master.store.commit(job.id, TOTAL, Manifest([Entry(str(job.parts.total), folder=True)]))

    async def _commit(self, shown: _Shown, part: int, digest: str) -> None:
        job, store = shown.job, self._master.store
        kept = await store.manifest(job.id, check_digest(digest))
        tree, left_out = await asyncio.to_thread(shown_outputs, kept, job.spec.output_path)
        if self._wanted(shown):
            await store.commit(job.id, _tree(job.id, part, job.parts.total), tree)
        if left_out:
            _note(shown, f"{len(left_out)} outputs of part {part} cannot be shown to old clients: {left_out[0]}")

    async def _pause(self, shown: _Shown) -> None:
        """Wait before the next try, but not for a job that is forgotten meanwhile."""
        await self._master.watchers.until(shown.job.id, lambda: not self._wanted(shown), AGAIN)


def shown_outputs(kept: Manifest, output_path: str) -> tuple[Manifest, tuple[str, ...]]:
    """What is shown of an attempt's tree, with the folder that old clients expect around it.

    Returns:
        The tree, and a sentence for each output whose path is too long with that folder in it.
    """
    entries: list[Entry] = []
    left_out: list[str] = []
    for entry in kept.under("outputs").entries:
        try:
            entries.append(attrs.evolve(entry, path=f"{output_path}/{entry.path}"))
        except BadPath as error:
            left_out.append(str(error))
    return Manifest(entries), tuple(left_out)


def unfinished(process_id: ProcessId) -> Unreachable:
    """What to say where the store has work under way for an earlier job of that id."""
    return Unreachable(
        f"The store does not answer: it has not finished with the earlier run of '{process_id}'. "
        "Start the program again once the store is back."
    )


def _tree(process_id: ProcessId, part: int, total: int) -> str:
    return f"{SHOWN}{process_id}_{part}_{total}"


def _note(shown: _Shown, fault: str) -> None:
    log.error("job '%s': %s", shown.job.id, fault)
    shown.fault = shown.fault or fault
