"""Checks of what programs pass to shared memory, before anything is sent."""

from __future__ import annotations

from discomputify_core.errors import BadName, BadValue

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from typing import SupportsFloat

#: Most bytes of a name; ``model.memory.check_name`` has the same rule, and a test holds both together.
MAX_NAME_BYTES = 256
#: Longest time to wait, and longest lease, in seconds: a week. What is longer is shortened.
LONGEST = 7 * 24 * 3600.0
#: Whole numbers that values may hold: 64 bits, with or without sign; and the largest that a number is changed by.
SMALLEST_INT, LARGEST_INT = -(2**63), 2**64 - 1
LARGEST_STEP = 2**63 - 1


def shown(value: object) -> str:
    """How *value* begins, for messages."""
    try:
        return f"{value!r:.60}"
    except Exception:  # a __repr__ of the program's own, nested too deep, a number of too many digits
        return f"<{type(value).__name__} that cannot be shown>"


def name_of(name: object) -> str:
    """*name*, if an entry, lock or round may have it.

    Raises:
        BadName: otherwise.
    """
    if not isinstance(name, str):
        raise BadName(f"A name of shared memory is text, not {type(name).__name__}: {shown(name)}.")
    if 0 < len(name) <= MAX_NAME_BYTES // 4 and name.isascii():
        return name
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise BadName(f"The name {ascii(name)[:60]} holds what is no text (a lone surrogate).") from None
    if not 1 <= length <= MAX_NAME_BYTES:
        begins = repr(name if len(name) <= 40 else name[:40] + "…")
        raise BadName(
            f"The name {begins} of shared memory has {length} bytes; 1 to {MAX_NAME_BYTES} are allowed.", length=length
        )
    return name


def prefix_of(prefix: object) -> str:
    """*prefix*, if names may begin with it; it may be empty.

    Raises:
        BadName: otherwise.
    """
    return name_of(prefix) if prefix != "" else ""


def seconds_of(value: SupportsFloat, what: str) -> float:
    """*value* as seconds: 0 or more, at most LONGEST.

    Raises:
        BadValue: it is no such number.
    """
    seconds = _float(value)
    if seconds is None or not seconds >= 0:
        raise BadValue(f"{what} is a number of seconds, 0 or more, not {shown(value)}.")
    return min(seconds, LONGEST)


def lease_of(value: SupportsFloat) -> float:
    """*value* as the seconds of a lease.

    Raises:
        BadValue: it is no number above 0.
    """
    seconds = seconds_of(value, "A lease")
    if seconds == 0:
        raise BadValue("A lease is a number of seconds above 0.")
    return seconds


def step_of(value: object) -> int | float:
    """*value* as what can be added to a number.

    Raises:
        BadValue: it is no finite number, or a whole one beyond 64 bits.
    """
    whole = _whole(value)
    if whole is not None:
        if abs(whole) > LARGEST_STEP:
            raise BadValue(f"A number can be increased by a whole number of at most 64 bits, not by {shown(whole)}.")
        return whole
    number = _float(value)
    if number is None:
        raise BadValue(f"A number can be increased by a number, not by {shown(value)}.")
    if number - number != 0:  # an infinity or not a number
        raise BadValue(f"A number can be increased by a finite number, not by {shown(value)}.")
    return number


def root_of(value: object, total: int) -> int:
    """*value* as the number of a part.

    Raises:
        BadValue: the job has no such part.
    """
    root = _whole(value)
    if root is None or not 1 <= root <= total:
        raise BadValue(f"root is the number of a part, 1 to {total}, not {shown(value)}.")
    return root


def _whole(value: object) -> int | None:
    if isinstance(value, (bool, float)) or not hasattr(value, "__index__"):
        return None
    try:
        return int(value.__index__())
    except TypeError:  # an array of several numbers, or of others
        return None


def _float(value: object) -> float | None:
    if isinstance(value, (bool, str, bytes, bytearray)) or not hasattr(value, "__float__"):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
