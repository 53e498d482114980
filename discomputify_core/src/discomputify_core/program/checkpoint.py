"""``checkpoint``: what this part has reached is kept, so that its next attempt need not begin anew."""

from __future__ import annotations

from discomputify_core.errors import DiscomputifyError, ProgramError
from discomputify_core.program.here import variable


def checkpoint() -> None:
    """Keep the files that are in the folder DISCOMPUTIFY_CHECKPOINT_PATH now, in place of those kept before.

    Returns when the cluster's store has them. Should this part have to run again, on whatever node, it finds them in
    that folder before its program starts; otherwise the folder is empty then. They are no outputs.

    Nothing may write to the folder meanwhile: what is kept is one consistent set, or nothing new.

    Raises:
        ProgramError: the store cannot take them, or something in the folder cannot be kept; what was kept before is.
        NotInAPart: this process is not a part of a job.
    """
    variable("CHECKPOINT_PATH")
    from discomputify_core.program.agent import ask

    try:
        ask("checkpoint", {})
    except ProgramError:
        raise
    except DiscomputifyError as error:
        raise ProgramError(f"The checkpoint could not be kept: {error}", **error.fields) from error
