"""Values on the command line that are more than text: sizes, times, named counts, variables, optional numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from discomputify_core.model.ids import ProcessId, check_process_id
from discomputify_core.model.job import MAX_NEED

if TYPE_CHECKING:
    IntParam = click.ParamType[int]
    FloatParam = click.ParamType[float]
    PairParam = click.ParamType[tuple[str, Any]]
    IdsParam = click.ParamType[tuple[ProcessId, ...]]
else:  # older releases of click are not generic
    IntParam = FloatParam = PairParam = IdsParam = click.ParamType

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?)[bB]?")
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
#: Longest length of time, seconds: a hundred years.
_LONGEST = 100 * 365.25 * 86400


class SizeType(IntParam):
    """Bytes: ``1500000``, ``2G`` (binary, as memory is sold), ``512MiB``, ``1.5GB`` (decimal with B alone)."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """*value* in bytes."""
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(value.strip())
        if not found:
            self.fail(f"{value!r} is not a size; write for instance 512M, 4G or 1.5GB.", param, ctx)
        number, unit, binary = found.groups()
        decimal = value.strip().lower().endswith("b") and not binary and bool(unit)
        size = float(number) * (1000 if decimal else 1024) ** _POWER[unit.lower()]
        if size > MAX_NEED:
            self.fail(f"{value!r} is more than any machine can have.", param, ctx)
        return int(size)


class DurationType(FloatParam):
    """A length of time in seconds: ``90``, ``90s``, ``10m``, ``1.5h``, ``2d``."""

    name = "T"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """*value* in seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        found = _DURATION.fullmatch(value.strip())
        if not found:
            self.fail(f"{value!r} is not a length of time; write for instance 90s, 10m, 2h or 1d.", param, ctx)
        seconds = float(found[1]) * _SECONDS[found[2]]
        if not 0 < seconds <= _LONGEST:
            self.fail(f"{value!r} is no length of time from more than 0 to a hundred years.", param, ctx)
        return seconds


class NeedType(PairParam):
    """``NAME=COUNT`` of a named resource."""

    name = "NAME=COUNT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """The name and the count."""
        if isinstance(value, tuple):
            return value
        name, _, count = value.partition("=")
        if not name or not count.isdecimal() or len(count) > 18 or int(count) < 1:
            self.fail(f"{value!r} is not NAME=COUNT, such as gpu=1.", param, ctx)
        return name, int(count)


class VariableType(PairParam):
    """``NAME=VALUE`` of an environment variable."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The name and the value."""
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not name or not equals or "\x00" in value:
            self.fail(f"{value!r} is not NAME=VALUE.", param, ctx)
        return name, text


class IdsType(IdsParam):
    """``ID[,ID…]``: jobs."""

    name = "ID[,ID…]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[ProcessId, ...]:
        """The ids."""
        if isinstance(value, tuple):
            return value
        return tuple(check_process_id(each.strip()) for each in value.split(","))


class LocalCommand(click.Command):
    """A command whose ``--local`` may be followed by a number, and by DIR without one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give a bare ``--local`` the value 0, which stands for all CPUs."""
        fixed = []
        for at, arg in enumerate(args):
            if arg == "--":
                fixed += args[at:]
                break
            bare = arg == "--local" and not (at + 1 < len(args) and args[at + 1].isdecimal())
            fixed.append("--local=0" if bare else arg)
        return super().parse_args(ctx, fixed)


def job_and_part(text: str) -> tuple[str, int]:
    """``ID`` or ``ID.PART`` taken apart; part 0 where there is none.

    An id may hold dots itself: only a last piece of digits is a part, and the caller tries the whole text as an
    id first.
    """
    process_id, dot, part = text.rpartition(".")
    return (process_id, int(part)) if dot and part.isdecimal() and len(part) < 9 else (text, 0)
