"""The life cycles of parts and jobs as tables. What is not listed cannot happen.

Here: which state follows which, and why. Not here: budgets and choices, which belong to the machine.
The pictures in the documentation are drawn from these tables.
"""

from __future__ import annotations

import enum

from discomputify_core.errors import OurBug
from discomputify_core.model.job import JobState, PartCounts, PartState

W, R, P, U = PartState.WAITING, PartState.READY, PartState.PLACED, PartState.RUNNING
DONE, FAILED, STOPPED = PartState.DONE, PartState.FAILED, PartState.STOPPED


class Cause(enum.Enum):
    """Why a part changes its state."""

    #: Its job may start: the program's files are in the store.
    ADMITTED = "admitted"
    #: The scheduler chose a node for it.
    PLACED = "placed"
    #: Its node, which had been given up, came back with an attempt of it.
    ADOPTED = "adopted"
    #: Its program runs.
    STARTED = "started"
    #: Its outputs are committed.
    COMMITTED = "committed"
    #: Its attempt failed or its node died, and there is budget for another attempt.
    RETRIED = "retried"
    #: Its node gave it back as planned.
    RETURNED = "returned"
    #: Its budget is used up, or its job cannot run.
    GAVE_UP = "gave up"
    #: Somebody stopped its job.
    STOPPED = "stopped"
    #: It was done, but what it shared with other parts is lost: they start again together.
    STARTED_OVER = "started over"
    #: Its job, which had ended, was submitted again.
    RESUBMITTED = "resubmitted"


PART: dict[tuple[PartState, Cause], PartState] = {
    (W, Cause.ADMITTED): R,
    (W, Cause.GAVE_UP): FAILED,
    (W, Cause.STOPPED): STOPPED,
    (R, Cause.PLACED): P,
    (R, Cause.ADOPTED): P,
    (R, Cause.STOPPED): STOPPED,
    (P, Cause.STARTED): U,
    (P, Cause.COMMITTED): DONE,
    (P, Cause.RETRIED): R,
    (P, Cause.RETURNED): R,
    (P, Cause.GAVE_UP): FAILED,
    (P, Cause.STOPPED): STOPPED,
    (U, Cause.COMMITTED): DONE,
    (U, Cause.RETRIED): R,
    (U, Cause.RETURNED): R,
    (U, Cause.GAVE_UP): FAILED,
    (U, Cause.STOPPED): STOPPED,
    (DONE, Cause.GAVE_UP): FAILED,
    (DONE, Cause.STARTED_OVER): R,
    (DONE, Cause.RESUBMITTED): W,
    (FAILED, Cause.RESUBMITTED): W,
    (STOPPED, Cause.RESUBMITTED): W,
}

#: A part that is done may have to run again while its job goes on; once all parts are in these states, none does
#: before the job is submitted again.
PART_ENDED = frozenset({DONE, FAILED, STOPPED})


def next_part_state(state: PartState, cause: Cause) -> PartState:
    """The state that follows.

    Raises:
        OurBug: the table has no such line.
    """
    try:
        return PART[state, cause]
    except KeyError:
        raise OurBug(f"A part that is {state.name.lower()} cannot be {cause.value}.") from None


def job_state(counts: PartCounts) -> JobState:
    """A job's state follows from its parts' states alone."""
    if counts.placed or counts.running:
        return JobState.RUNNING
    if counts.waiting or counts.ready:
        return JobState.RUNNING if counts.done or counts.failed else JobState.WAITING
    if counts.stopped:
        return JobState.STOPPED
    return JobState.FAILED if counts.failed else JobState.DONE
