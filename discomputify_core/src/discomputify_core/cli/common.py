"""What all commands share: the option ``--conf``, and opening the conf that it names.

Here: options and their meaning. Not here: printing (output.py), the group of commands (group.py).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from discomputify_core.cli.output import warn

if TYPE_CHECKING:
    from discomputify_core.edge.opening import Loaded

_META = "discomputify_core.conf"


def _remember(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.meta[_META] = value  # shared by all contexts of one command line; what is written later wins


def conf_option() -> click.Option:
    """A new ``--conf F``. Every command gets one by itself: before and after the command's name it means the same."""
    return click.Option(
        ["--conf"],
        type=click.Path(path_type=Path),
        metavar="F",
        expose_value=False,
        callback=_remember,
        help="The conf file, instead of searching for one.",
    )


def accept_conf(command: click.Command) -> click.Command:
    """Give *command*, and every command inside it, the option ``--conf`` unless it has one."""
    if not any("--conf" in parameter.opts for parameter in command.params):
        command.params.append(conf_option())
    for inner in getattr(command, "commands", {}).values():
        accept_conf(inner)
    return command


def conf_named() -> Path | None:
    """What ``--conf`` said on this command line, or None."""
    return click.get_current_context().meta.get(_META)


def open_conf(kinds: Collection[str] = (), roles: Collection[str] = ()) -> Loaded | None:
    """The conf of this command line with the plugins of *kinds*, or None without one; shows its warnings.

    Raises:
        As ``edge.opening.open_conf``.
    """
    from discomputify_core.edge.opening import open_conf  # costs time to import

    return _warned(open_conf(conf_named(), kinds, roles))


def need_conf(kinds: Collection[str] = (), roles: Collection[str] = (), *, thorough: bool = False) -> Loaded:
    """As :func:`open_conf`; that there is no conf is an error.

    Raises:
        As ``edge.opening.need_conf``.
    """
    from discomputify_core.edge.opening import need_conf  # costs time to import

    loaded = need_conf(conf_named(), kinds, roles, thorough=thorough)
    _warned(loaded)
    return loaded


def _warned(loaded: Loaded | None) -> Loaded | None:
    for each in loaded.warnings if loaded is not None else ():
        warn(each)
    return loaded
