"""``discomputify plugins``: what is installed, and what the conf selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from discomputify_core.cli.common import conf_named
from discomputify_core.cli.output import say_json, table, warn
from discomputify_core.errors import BadConf, PluginBroke, PluginMissing

if TYPE_CHECKING:
    from discomputify_core.model.conf import Conf
    from discomputify_core.plugins.manager import Plugins


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def plugins(as_json: bool) -> int:
    """List the installed plugins, and mark those that the conf selects."""
    from discomputify_core.plugins.manager import Plugins  # costs time to import

    found = Plugins.load(tolerant=True, with_commands=True)
    conf = _conf(found)
    rows = found.listing(conf)
    if as_json:
        say_json([attrs.asdict(row) for row in rows])
    else:
        table(
            ("KIND", "NAME", "DISTRIBUTION", "VERSION", "SELECTED"),
            [(row.kind, row.name, row.distribution, row.version, "yes" if row.selected else "") for row in rows],
        )
    for each in [*found.broken, *_missing(found, conf)]:
        warn(str(each))
    return PluginBroke.exit_code if found.broken else 0


def _conf(found: Plugins) -> Conf | None:
    """The conf, only for the names in it; the defaults without one; None, with a warning, where it is broken."""
    from discomputify_core.edge import conf_file  # costs time to import
    from discomputify_core.model.conf import Conf
    from discomputify_core.model.conf_read import read

    file = conf_file.find(conf_named())
    if file is None:
        return Conf()
    try:
        return read(conf_file.read_text(file).data, {}, found.all_names()).conf
    except BadConf as error:
        warn(f"{error} So nothing is marked as selected.")
        return None


def _missing(found: Plugins, conf: Conf | None) -> list[PluginMissing]:
    """An error for each plugin that *conf* names and that is not installed."""
    from discomputify_core.plugins.kinds import KINDS  # costs time to import
    from discomputify_core.plugins.selection import require

    missing = []
    for kind in KINDS.values():
        name = getattr(conf, kind.key.lower()) if conf is not None and kind.key else None
        if name is not None:
            try:
                require(found, kind.name, name)
            except PluginMissing as error:
                missing.append(error)
    return missing
