"""``discomputify config``: check, show and describe the conf."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from discomputify_core.cli.common import conf_named, need_conf
from discomputify_core.cli.group import Group
from discomputify_core.cli.output import MASK, note, say, say_json, table, warn
from discomputify_core.errors import PluginBroke, PluginMissing

if TYPE_CHECKING:
    from discomputify_core.model.conf import Conf


@click.group(cls=Group)
def config() -> None:
    """Check, show or describe the conf."""


@config.command(short_help="Say everything that is wrong with the conf.")
def check() -> None:
    """Check the conf and say everything that is wrong with it."""
    from discomputify_core.edge.opening import ALL_KINDS  # costs time to import

    loaded = need_conf(ALL_KINDS, thorough=True)
    conf = loaded.conf
    say(f"{loaded.path} (by {loaded.found_by}) is right.")
    say(f"transport {conf.transport}, store {conf.store}, scheduler {conf.scheduler}, engine {conf.engine}")


@config.command(short_help="Show every value and where it comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(as_json: bool) -> None:
    """Show every value of the conf and where it comes from; keys are masked."""
    from discomputify_core.edge.conf_file import find, searched  # costs time to import
    from discomputify_core.edge.opening import ALL_KINDS
    from discomputify_core.model.conf import Conf

    if find(conf_named()) is None:
        note(f"no conf found (looked at {searched()}): these are the defaults")
        rows, path, by = _rows(Conf(), frozenset()), None, ""
    else:
        loaded = need_conf(ALL_KINDS, thorough=True)
        rows, path, by = _rows(loaded.conf, loaded.given), loaded.path, loaded.found_by
    if as_json:
        values = {key: {"value": value, "source": source} for key, value, source in rows}
        say_json({"path": None if path is None else str(path), "found_by": by, "values": values})
        return
    if path is not None:
        say(f"{path} (by {by})")
    table(("KEY", "VALUE", "FROM"), [(key, _shown(value), source) for key, value, source in rows])


@config.command(short_help="Print the conf's JSON Schema, for editors.")
def schema() -> None:
    """Print the conf's JSON Schema, for editors, with the options of the installed plugins."""
    from discomputify_core.edge.opening import ALL_KINDS  # costs time to import
    from discomputify_core.model.conf_schema import schema as described
    from discomputify_core.plugins.manager import Plugins
    from discomputify_core.plugins.selection import select

    plugins = Plugins.load(tolerant=True)
    broken: list[Exception] = list(plugins.broken)
    options: dict[str, type | None] = {}
    for kind in (*ALL_KINDS, "role"):
        for name in plugins.names(kind):
            try:
                cls: Any = select(plugins, kind, name)
            except (PluginBroke, PluginMissing) as error:
                broken.append(error)
                continue
            section = cls.section if kind == "role" else name
            if section and (cls.options is not None or section not in options):
                options[section] = cls.options
    say_json(described(options))
    for each in broken:
        warn(f"its options are left out: {each}")


def _rows(conf: Conf, given: frozenset[str]) -> list[tuple[str, Any, str]]:
    """Key, value and source of everything in the conf, defaults as they are on this machine."""
    from discomputify_core.model.conf_fields import conf_fields, fields_of  # costs time to import

    rows = []
    for key, field in conf_fields().items():
        value, source = getattr(conf, field.attribute), "file" if key in given else "default"
        if value is None:
            value, source = _default(conf, key)
        rows.append((key, _plain(value, field.secret), source))
    for section, options in conf.sections.items():
        if isinstance(options, dict):  # of a plugin that is not selected
            rows += [(f"{section}.{name}", value, "file (not in use)") for name, value in options.items()]
            continue
        for name, field in fields_of(type(options)).items():
            key = f"{section}.{name}"
            value = _plain(getattr(options, field.attribute), field.secret)
            rows.append((key, value, "file" if key in given else "default"))
    return rows


def _default(conf: Conf, key: str) -> tuple[Any, str]:
    """What an absent key amounts to, and by what."""
    from discomputify_core.edge import machine, places  # costs time to import

    of_machine = "default: this machine"
    cache = Path(conf.cache_path) if conf.cache_path is not None else places.default_folder("cache")
    derived: dict[str, Callable[[], tuple[Any, str]]] = {
        "MASTER_PORT": lambda: (conf.master_port_or_default, "default: COMPUTING_PORT"),
        "QUERY_NODE": lambda: (conf.query_node_or_default, "default: FTP_NODE"),
        "SLOTS": lambda: (machine.usable_cpus(), of_machine),
        "PYTHON": lambda: (sys.executable, of_machine),
        "WORK_PATH": lambda: (places.default_folder("work"), of_machine),
        "CACHE_PATH": lambda: (cache, of_machine),
        "MASTER_PATH": lambda: (places.default_folder("master"), of_machine),
        "CACHE_LIMIT": lambda: (places.default_cache_limit(cache), of_machine),
    }
    return derived[key]() if key in derived else (None, "default")


def _plain(value: Any, secret: bool) -> Any:
    if secret:
        return None if value is None else MASK
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, frozenset)):
        return list(value)
    return dict(value) if hasattr(value, "keys") else value


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in value.items()) or "none"
    return str(value)
