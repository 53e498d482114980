"""Which plugins are installed, and what each of them registers.

Here: entry points, one at a time so that an error names its culprit, and the names that they
register. Not here: importing what a name stands for (selection.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import attrs
import pluggy

from discomputify_core import __version__, hookspecs
from discomputify_core.errors import PluginBroke
from discomputify_core.plugins import builtin
from discomputify_core.plugins.kinds import KINDS

if TYPE_CHECKING:
    from discomputify_core.model.conf import Conf

_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)


class Installed(Protocol):
    """What is needed of ``importlib.metadata.Distribution``."""

    @property
    def name(self) -> str:
        """Name of the distribution."""

    @property
    def version(self) -> str:
        """Its version."""


class EntryPoint(Protocol):
    """What is needed of ``importlib.metadata.EntryPoint``; tests bring their own."""

    @property
    def name(self) -> str:
        """Name of the entry point."""

    @property
    def dist(self) -> Installed | None:
        """The distribution that it belongs to."""

    def load(self) -> object:
        """Import the module that it names."""


@attrs.frozen
class Origin:
    """Where a plugin comes from."""

    plugin: str
    distribution: str
    version: str

    @property
    def id(self) -> str:
        """Unique in a process: what pluggy knows the plugin as."""
        return f"{self.distribution}:{self.plugin}"

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


@attrs.frozen
class Registered:
    """A name that a plugin registers, and the ``module:Class`` that it stands for."""

    kind: str
    name: str
    target: str
    origin: Origin


@attrs.frozen
class Listed:
    """A row of ``discomputify plugins``."""

    kind: str
    name: str
    distribution: str
    version: str
    selected: bool


class Plugins:
    """The installed plugins of this process."""

    def __init__(self, *, with_commands: bool = False) -> None:
        self._kinds = [kind for kind in KINDS.values() if kind.hook and (with_commands or kind.name != "command")]
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._origins: dict[str, Origin] = {}
        self._registered: dict[str, dict[str, Registered]] = {kind: {} for kind in KINDS}
        #: Plugins that could not be loaded; only a tolerant load leaves any.
        self.broken: list[PluginBroke] = []

    @classmethod
    def load(
        cls, entry_points: Iterable[EntryPoint] | None = None, *, tolerant: bool = False, with_commands: bool = False
    ) -> Plugins:
        """Core's own plugins and every installed one (or those of *entry_points*).

        Args:
            entry_points: instead of the installed ones.
            tolerant: keep errors in ``broken`` instead of raising the first; for commands that only look.
            with_commands: also ask for commands; only the command line needs those.

        Raises:
            PluginBroke: names the plugin, its distribution and version.
        """
        plugins = cls(with_commands=with_commands)
        core = Origin("core", builtin.DISTRIBUTION, __version__)
        plugins._add(core, builtin)
        for engine in builtin.ENGINES:
            plugins._note(Registered("engine", engine, "", core))
        found = metadata.entry_points(group=hookspecs.PROJECT) if entry_points is None else entry_points
        for entry_point in found:
            try:
                plugins._load(entry_point)
            except PluginBroke as error:
                if not tolerant:
                    raise
                plugins.broken.append(error)
        return plugins

    @property
    def hook(self) -> pluggy.HookRelay:
        """Calls hooks of all plugins, for the *notify* hooks."""
        return self._manager.hook

    def names(self, kind: str) -> tuple[str, ...]:
        """Names of the installed plugins of *kind*, sorted."""
        return tuple(sorted(self._registered[kind]))

    def all_names(self) -> frozenset[str]:
        """Every name that a section of the conf may have: of plugins of all kinds, and of entry points."""
        names = {name for kind in self._registered.values() for name in kind}
        return frozenset(names | {origin.plugin for origin in self._origins.values()})

    def find(self, kind: str, name: str) -> Registered | None:
        """What *name* stands for among the plugins of *kind*."""
        return self._registered[kind].get(name)

    def origin(self, plugin: str) -> Origin:
        """Where the plugin that pluggy knows as *plugin* comes from, for messages about its hooks."""
        return self._origins.get(plugin, Origin(plugin, "", ""))

    def listing(self, conf: Conf | None) -> tuple[Listed, ...]:
        """Every installed plugin: what it registers, and whether *conf* selects it.

        A plugin that registers nothing only watches: its kind is "observer". Roles, commands and
        observers are in use whenever they are installed; with no *conf* nothing is selected.
        """
        rows = [self._listed(each, conf) for kind in self._registered.values() for each in kind.values()]
        told = {each.origin.id for kind in self._registered.values() for each in kind.values()}
        for known, origin in self._origins.items():
            if known not in told and self._manager.get_hookcallers(self._manager.get_plugin(known)):
                rows.append(Listed("observer", origin.plugin, origin.distribution, origin.version, conf is not None))
        order = [*KINDS, "observer"]
        return tuple(sorted(rows, key=lambda row: (order.index(row.kind), row.name)))

    def versions(self, conf: Conf) -> dict[str, str]:
        """Distribution -> version of the plugins that *conf* uses."""
        used = (row for row in self.listing(conf) if row.selected and row.distribution)
        return {row.distribution: row.version for row in used}

    def _listed(self, each: Registered, conf: Conf | None) -> Listed:
        key = KINDS[each.kind].key
        selected = conf is not None and (not key or getattr(conf, key.lower()) == each.name)
        return Listed(each.kind, each.name, each.origin.distribution, each.origin.version, selected)

    def _load(self, entry_point: EntryPoint) -> None:
        dist = entry_point.dist
        origin = Origin(entry_point.name, dist.name if dist else "", dist.version if dist else "")
        if origin.id in self._origins:
            raise _broke(origin, "is installed twice; install that distribution again")
        try:
            module = entry_point.load()
        except Exception as error:  # a plugin's import may raise anything; the culprit has to be named
            raise _broke(origin, f"cannot be imported: {_said(error)}") from error
        self._add(origin, module)

    def _add(self, origin: Origin, module: object) -> None:
        if not isinstance(module, ModuleType):
            raise _broke(origin, f"is an entry point that names no module but a {type(module).__name__}")
        try:
            self._manager.register(module, origin.id)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            self._drop(origin)
            raise _broke(origin, f"does not fit this version of discomputify: {_said(error)}") from error
        self._origins[origin.id] = origin
        try:
            for each in self._asked(origin):
                self._note(each)
        except PluginBroke:
            self._drop(origin)
            raise

    def _asked(self, origin: Origin) -> list[Registered]:
        """Everything that the plugin's register hooks name."""
        found = []
        for kind in self._kinds:
            for answer in self._answers(kind.hook, origin):
                if not isinstance(answer, Mapping):
                    raise _broke(origin, f"returned a {type(answer).__name__} from {kind.hook}, not a map")
                for name, target in answer.items():
                    if not isinstance(name, str) or not isinstance(target, str) or not _TARGET.fullmatch(target):
                        raise _broke(
                            origin,
                            f"returned {name!r}: {target!r} from {kind.hook}, not 'name': 'package.module:Class'",
                        )
                    found.append(Registered(kind.name, name, target, origin))
        return found

    def _answers(self, hook: str, origin: Origin) -> list[object]:
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        try:
            return [each.function() for each in implementations if each.plugin_name == origin.id]
        except Exception as error:  # a plugin's code may raise anything; the culprit has to be named
            raise _broke(origin, f"raised in {hook}: {_said(error)}") from error

    def _note(self, each: Registered) -> None:
        if each.kind == "role" and each.name in builtin.ROLES:
            raise _broke(each.origin, f"registers the role {each.name!r}, a name of discomputify's own")
        other = self._registered[each.kind].setdefault(each.name, each)
        if other is not each:
            raise _broke(
                each.origin,
                f"registers the {KINDS[each.kind].label} {each.name!r}, which {other.origin} registers too; "
                "uninstall one of them",
            )

    def _drop(self, origin: Origin) -> None:
        """Forget a plugin that turned out to be broken."""
        if self._manager.has_plugin(origin.id):
            self._manager.unregister(name=origin.id)
        self._origins.pop(origin.id, None)
        for kind in self._registered.values():
            for name in [name for name, each in kind.items() if each.origin == origin]:
                del kind[name]


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _broke(origin: Origin, what: str) -> PluginBroke:
    return PluginBroke(
        f"The plugin {origin.plugin!r} of {origin} {what}.",
        plugin=origin.plugin,
        distribution=origin.distribution,
        version=origin.version,
    )
