"""``progress``: what may be said about how far a part is. When it is sent is reporter.py's business."""

from __future__ import annotations

from discomputify_core.errors import BadProgress
from discomputify_core.program.here import variable

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from typing import SupportsFloat

MAX_NOTE = 200


def progress(fraction: SupportsFloat, note: str = "") -> None:
    """Tell the cluster how far this part is. Cheap enough to be called in a loop.

    At most about five of these are sent per second; of those in between, the last one counts.
    Trouble on the way to the computing node is ignored: progress is a courtesy.

    Args:
        fraction: 0 to 1; what is outside is moved to the nearer end.
        note: a few words for people, at most 200 characters of which are kept.

    Raises:
        BadProgress: *fraction* is not a number, or *note* not text.
        NotInAPart: this process is not a part of a job.
    """
    variable("PART")
    value = _number(fraction)
    if not isinstance(note, str):
        raise BadProgress(f"The note of progress() is text, not {type(note).__name__}.")
    from discomputify_core.program.reporter import REPORTER

    REPORTER.report(min(max(value, 0.0), 1.0), note[:MAX_NOTE])


def _number(fraction: object) -> float:
    if isinstance(fraction, bool) or not hasattr(fraction, "__float__"):
        raise BadProgress(f"progress() takes a number between 0 and 1, not {fraction!r:.60}.")
    value = float(fraction)
    if value != value:
        raise BadProgress("progress() takes a number between 0 and 1, not NaN.")
    return value
