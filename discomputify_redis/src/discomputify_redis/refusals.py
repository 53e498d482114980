"""What scripts refuse, as errors with sentences. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from discomputify_core.errors import (
    AttemptOver,
    DiscomputifyError,
    LockLost,
    MemoryFull,
    OurBug,
    PartGone,
    RoundForgotten,
    RoundsDiffer,
    TooLate,
    WrongKind,
)
from discomputify_core.model.memory import DONE, Command, Meet, Member, Names, Scope

#: Parts that a sentence names.
_MOST_SHOWN = 10

_FULL = {
    "value_bytes": "A value of {would:,} bytes is too large for shared memory; {most:,} are allowed",
    "job_bytes": "The shared memory of the job would hold {would:,} bytes; {most:,} are allowed",
    "job_entries": "The shared memory of the job would hold {would:,} entries and locks, or values of lists; "
    "{most:,} are allowed",
}


def refusal(member: Member, command: Command, facts: Sequence[bytes]) -> DiscomputifyError:
    """The error that *facts*, what a script said after ``"!"``, means."""
    words = [fact.decode("utf-8", "replace") for fact in facts]
    make = _KINDS.get(words[0])
    if make is None:
        return OurBug(f"A script refused {type(command).__name__} with {words[0][:40]!r}.")
    return make(member, command, words[1:])


def was_cleared(scope: Scope) -> AttemptOver:
    """That nothing is kept for *scope* any more."""
    return AttemptOver(
        f"The shared memory of the job '{scope.process_id}' was cleared: it has ended, or its parts started again."
    )


def full(limit: str, would: str, most: str) -> MemoryFull:
    """That *limit* would be exceeded."""
    sentence = _FULL[limit].format(would=int(would), most=int(most))
    return MemoryFull(f"{sentence} ('{limit}' in the section 'redis' of the conf).", limit=limit)


def _name(command: Command) -> str:
    return "" if isinstance(command, Names) else command.name


def _round(command: Command) -> str:
    if not isinstance(command, Meet):
        raise OurBug(f"A script spoke of a round to {type(command).__name__}.")
    return f"round {command.round} of the {command.kind} '{command.name}'"


def _over(member: Member, command: Command, words: Sequence[str]) -> DiscomputifyError:
    return AttemptOver(
        f"Attempt {member.number} of part {member.part} is over: a newer one runs, or the part ended.",
        part=member.part,
    )


def _kind(member: Member, command: Command, words: Sequence[str]) -> DiscomputifyError:
    return WrongKind(f"'{_name(command)}' in shared memory is no {words[0]}.", name=_name(command))


def _number(member: Member, command: Command, words: Sequence[str]) -> DiscomputifyError:
    return MemoryFull(
        f"Adding to '{_name(command)}' would give a number that is too large: whole numbers have 64 bits.",
        limit="number",
    )


def _lock(member: Member, command: Command, words: Sequence[str]) -> DiscomputifyError:
    return LockLost(f"The lock '{_name(command)}' is not held any more: its lease has ended.", name=_name(command))


def _gone(member: Member, command: Command, words: Sequence[str]) -> DiscomputifyError:
    part, stands, reason = words
    why = reason.rstrip(".") or ("it is done" if stands == DONE else "it failed or was stopped")
    return PartGone(
        f"Part {part} can never come to {_round(command)}: {why}.", part=int(part), name=_name(command), stands=stands
    )


def _differ(member: Member, command: Command, words: Sequence[str]) -> DiscomputifyError:
    mine = (command.sign, command.root) if isinstance(command, Meet) else ("", 0)
    return RoundsDiffer(
        f"Parts take part in {_round(command)} with different things: {words[0] or 'nothing'!r} and root {words[1]}, "
        f"and {mine[0] or 'nothing'!r} and root {mine[1]}.",
        name=_name(command),
    )


def _empty(member: Member, command: Command, words: Sequence[str]) -> DiscomputifyError:
    return OurBug(f"Part {member.part} brings nothing to {_round(command)}.")


def _forgotten(member: Member, command: Command, words: Sequence[str]) -> DiscomputifyError:
    return RoundForgotten(f"The result of {_round(command)} is not kept any more.", name=_name(command))


def _late(member: Member, command: Command, words: Sequence[str]) -> DiscomputifyError:
    parts = [int(word) for word in words]
    listed = ", ".join(map(str, parts[:_MOST_SHOWN])) + (", …" if len(parts) > _MOST_SHOWN else "")
    return TooLate(
        f"Not all parts came in time to {_round(command)}: missing is part {listed}.", parts=parts, name=_name(command)
    )


_KINDS: Mapping[str, Callable[[Member, Command, Sequence[str]], DiscomputifyError]] = {
    "over": _over,
    "cleared": lambda member, command, words: was_cleared(member.scope),
    "kind": _kind,
    "number": _number,
    "lock": _lock,
    "gone": _gone,
    "differ": _differ,
    "empty": _empty,
    "forgotten": _forgotten,
    "late": _late,
    "full": lambda member, command, words: full(*words),
}
