"""Stopping jobs and forgetting them, for whoever asks: what new and old clients' operations share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from discomputify_core.cluster.state import Job
from discomputify_core.edge import clock
from discomputify_core.model import events as ev
from discomputify_core.model.ids import ProcessId

if TYPE_CHECKING:
    from discomputify_core.roles.master.master import MasterNode

#: Seconds that a store has to clear a job before the one who asked goes on; it is cleared later then.
CLEAR_TIMEOUT = 10.0
#: Most characters of who asked for something.
MAX_WHO = 200


def stop(master: MasterNode, process_id: ProcessId, by: str) -> None:
    """Begin to end a job; one that has ended stays as it is.

    Raises:
        NoSuchJob: there is none of that id.
    """
    master.cluster.job(process_id)
    master.flush(ev.JobStopAsked(process_id, by[:MAX_WHO], clock.wall()))


async def until_ended(master: MasterNode, job: Job, seconds: float) -> bool:
    """Whether within *seconds* *job* has ended, and every process of it."""
    return await master.watchers.until(job.id, lambda: job.ended, seconds)


async def forget(master: MasterNode, process_id: ProcessId, *, keep_files: bool = False) -> bool:
    """Forget a job that ended; returns as :func:`cleared` does.

    Raises:
        NoSuchJob: there is none of that id.
        BadInput: it has not ended.
        DiscomputifyError: the store has to do something for *keep_files*, and did not.
    """
    master.cluster.check_clear(process_id)
    if keep_files:
        await master.showings.hide(process_id)
        master.cluster.check_clear(process_id)
    master.flush(ev.JobClearAsked(process_id, keep_files))
    await master.settled()
    return await cleared(master, process_id)


async def cleared(master: MasterNode, process_id: ProcessId) -> bool:
    """Wait a while until the store has removed what it was told to remove of a job; whether it has.

    A job that is submitted next under the id could lose what it uploads else.
    """
    clearing = master.clearing.get(process_id)
    if clearing is not None:
        await asyncio.wait([clearing], timeout=CLEAR_TIMEOUT)
    return clearing is None or clearing.done()
