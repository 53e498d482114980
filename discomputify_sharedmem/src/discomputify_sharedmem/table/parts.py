"""How the parts of a job stand: which attempt counts, and who will never come any more. Not here: what they hold."""

from __future__ import annotations

import attrs

from discomputify_core.errors import AttemptOver
from discomputify_core.model.memory import AGAIN, DONE, Member, Over


@attrs.define
class Standing:
    """A part's newest attempt, and how it stands if that is over."""

    number: int
    #: "" while the attempt runs.
    stands: str = ""
    reason: str = ""


class Parts:
    """The parts of a job that were ever heard of."""

    def __init__(self) -> None:
        self.known: dict[int, Standing] = {}
        #: Parts that are done or gone, and why nobody need wait for them.
        self.gone: dict[int, str] = {}

    def admit(self, member: Member) -> bool:
        """Whether *member* is the first attempt of its part that is newer than a known one.

        Raises:
            AttemptOver: it is over, or a newer one is known.
        """
        known = self.known.get(member.part)
        if known is None:
            self.known[member.part] = Standing(member.number)
            return False
        if member.number == known.number and not known.stands:
            return False
        if member.number > known.number:
            self.known[member.part] = Standing(member.number)
            self.gone.pop(member.part, None)
            return True
        raise AttemptOver(
            f"Attempt {member.number} of part {member.part} is over: "
            + (f"attempt {known.number} was started." if member.number < known.number else _why(known)),
            part=member.part,
        )

    def end(self, over: Over) -> bool:
        """Note that an attempt is over; whether that was news."""
        known = self.known.get(over.part)
        if known is not None and (
            known.number > over.number
            or (known.number == over.number and (known.stands not in ("", AGAIN) or known.stands == over.stands))
        ):
            return False
        standing = self.known[over.part] = Standing(over.number, over.stands, over.reason)
        if over.stands == AGAIN:
            self.gone.pop(over.part, None)
        else:
            self.gone[over.part] = _why(standing)
        return True


def _why(standing: Standing) -> str:
    plain = {AGAIN: "it is tried again", DONE: "it is done"}.get(standing.stands, "it failed or was stopped")
    said = f"{plain} ({standing.reason.rstrip('. ')})" if standing.reason else plain
    return f"{said}."
