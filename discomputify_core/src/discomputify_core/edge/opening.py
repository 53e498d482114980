"""A conf made ready for use: read, its plugins loaded, everything checked together.

Roles, client and commands start here. Not here: files (conf_file.py), what keys mean (model/conf_read.py),
finding plugins (plugins/).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from discomputify_core.edge import conf_file
from discomputify_core.edge.names import check_services, this_machine
from discomputify_core.errors import BadConf, BadInput, OurBug, PluginBroke, PluginMissing
from discomputify_core.interfaces.calls import Caller
from discomputify_core.interfaces.files import FileStore
from discomputify_core.interfaces.memory import SharedMemory
from discomputify_core.interfaces.role import ServiceRole
from discomputify_core.interfaces.scheduler import Scheduler
from discomputify_core.interfaces.transport import Transport
from discomputify_core.model.conf import Conf
from discomputify_core.model.conf_fields import Problem, fields_of
from discomputify_core.model.conf_read import SERVICES, Reading, read, with_sections
from discomputify_core.plugins.kinds import KINDS
from discomputify_core.plugins.manager import Plugins
from discomputify_core.plugins.selection import require, select

#: Kinds of which the conf selects one class.
ALL_KINDS = ("transport", "store", "scheduler", "shared_mem")


@attrs.frozen
class Loaded:
    """A checked conf, where it came from, and the classes of the plugins that were asked for."""

    conf: Conf
    plugins: Plugins
    #: Kind -> the class that the conf selects.
    classes: Mapping[str, type[Any]]
    #: Role -> the class of a plugin that runs it.
    roles: Mapping[str, type[Any]]
    path: Path | None = None
    #: Which step of the search found it: "--conf", "current folder"…
    found_by: str = ""
    #: Keys and options (``tcp.NAME``) that the file gave; all others are at their defaults.
    given: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()

    def transport(self) -> Transport:
        """A new instance of the transport."""
        cls = self._class("transport")
        made: Transport = cls(self.conf, self._options(cls, self.conf.transport))
        return made

    def store(self, query: Caller, files: Caller) -> FileStore:
        """A new instance of the store's client side, asking through *query* and *files*."""
        cls = self._class("store")
        made: FileStore = cls(self.conf, self._options(cls, self.conf.store), query, files)
        return made

    def memory(self, service: Caller) -> SharedMemory | None:
        """A new instance of the shared memory's client side, asking through *service*; None where the conf has none."""
        if self.conf.shared_mem is None:
            return None
        cls = self._class("shared_mem")
        made: SharedMemory = cls(self.conf, self._options(cls, self.conf.shared_mem), service)
        return made

    @property
    def memory_role(self) -> str:
        """The role that serves the conf's shared memory; "" where there is none to be started."""
        if self.conf.shared_mem is None:
            return ""
        return select(self.plugins, "shared_mem", self.conf.shared_mem).role

    def scheduler(self) -> Scheduler:
        """A new instance of the scheduling policy."""
        cls = self._class("scheduler")
        made: Scheduler = cls(self._options(cls, self.conf.scheduler))
        return made

    def role(self, name: str) -> ServiceRole:
        """A new instance of the role *name* of a plugin."""
        cls = self.roles[name]
        made: ServiceRole = cls(self.conf, self._options(cls, cls.section))
        return made

    def _class(self, kind: str) -> type[Any]:
        if kind not in self.classes:
            raise OurBug(f"The conf was opened without its {kind}.")
        return self.classes[kind]

    def _options(self, cls: type[Any], section: str) -> Any:
        return None if cls.options is None else self.conf.sections[section]


def open_conf(
    named: Path | None, kinds: Collection[str] = (), roles: Collection[str] = (), *, thorough: bool = False
) -> Loaded | None:
    """The conf of this process, checked together with the plugins of *kinds* and of *roles*, or None without a conf.

    With the kind "transport", for who will bind or dial, the names of services are resolved too (at most 10 s).

    Args:
        named: what ``--conf`` said.
        kinds: kinds to import; of ``ALL_KINDS``.
        roles: roles of plugins to import.
        thorough: to look at a conf rather than to use it: check the sections of all installed plugins, also of those
            that are not selected; a scheduler that is missing is only a warning, since the master alone needs it.

    Raises:
        BadInput: a conf that was named does not exist.
        BadConf: every mistake at once.
        PluginMissing: a plugin that is selected is not installed, and that is the only mistake.
        PluginBroke: a plugin cannot be used.
    """
    found = conf_file.find(named)
    if found is None:
        return None
    text = conf_file.read_text(found)
    plugins = Plugins.load()
    installed = plugins.all_names()

    def reader(options: Mapping[str, type | None]) -> Reading:
        reading = read(text.data, options, installed)
        return attrs.evolve(
            reading,
            conf=conf_file.anchored(reading.conf, found.path.parent),
            problems=(*text.problems, *reading.problems),
            warnings=(*text.warnings, *reading.warnings),
        )

    chosen = _Chosen.by(reader({}), plugins, kinds, roles, lenient=thorough)
    options = chosen.options()
    if thorough:
        options = {**_unselected(plugins, text.data), **options}
    reading = reader(options)
    if "transport" in kinds and reading.wrong.isdisjoint(SERVICES):
        reading = reading.also(*check_services(reading.conf, this_machine()))
    loaded = chosen.judged(reading, str(found.path))
    return attrs.evolve(loaded, path=found.path, found_by=found.by)


def need_conf(
    named: Path | None, kinds: Collection[str] = (), roles: Collection[str] = (), *, thorough: bool = False
) -> Loaded:
    """As :func:`open_conf`, for what cannot go on without a conf.

    Raises:
        BadInput: there is none; says where it was looked for.
    """
    loaded = open_conf(named, kinds, roles, thorough=thorough)
    if loaded is None:
        raise BadInput(f"No conf found (looked at {conf_file.searched()}). 'discomputify init' writes one.")
    return loaded


def equip(conf: Conf, kinds: Collection[str] = (), roles: Collection[str] = ()) -> Loaded:
    """*conf*, made in memory, checked together with its plugins; for embedded clusters and tests.

    Raises:
        As :func:`open_conf`.
    """
    chosen = _Chosen.by(Reading(conf), Plugins.load(), kinds, roles)
    return chosen.judged(with_sections(conf, chosen.options()), "")


@attrs.frozen
class _Chosen:
    """The plugins that a conf names, imported as far as they are installed."""

    plugins: Plugins
    classes: Mapping[str, type[Any]]
    roles: Mapping[str, type[Any]]
    #: Section -> class, of all of them.
    sections: Sequence[tuple[str, type[Any]]]
    #: Key -> what is not installed.
    missing: Mapping[str, PluginMissing]
    warnings: tuple[str, ...]

    @classmethod
    def by(
        cls,
        reading: Reading,
        plugins: Plugins,
        kinds: Collection[str],
        roles: Collection[str],
        *,
        lenient: bool = False,
    ) -> _Chosen:
        """What *reading* names; where *lenient*, a scheduler that nothing like is installed of is only a warning."""
        classes: dict[str, type[Any]] = {}
        sections: list[tuple[str, type[Any]]] = []
        missing: dict[str, PluginMissing] = {}
        warnings: list[str] = []
        # Core itself stands in for an engine, and few use the shared memory: a name that leads nowhere is told here,
        # whoever asks.
        for kind in dict.fromkeys((*kinds, "shared_mem", "engine")):
            key = KINDS[kind].key
            name = getattr(reading.conf, key.lower())
            if name is None or key in reading.wrong:
                continue
            try:
                if require(plugins, kind, name).target and kind in kinds:
                    classes[kind] = select(plugins, kind, name)
                    sections.append((name, classes[kind]))
            except PluginMissing as error:
                if lenient and kind == "scheduler" and not error.fields["near"]:
                    warnings.append(f"{error} (the master needs it) @ {key}")
                else:
                    missing[key] = error
        of_roles = {name: select(plugins, "role", name) for name in roles}
        sections += [(role.section, role) for role in of_roles.values() if role.section]
        return cls(plugins, classes, of_roles, sections, missing, tuple(warnings))

    def options(self) -> dict[str, type | None]:
        """Section -> options class; a store and its service share one section, so they share one class."""
        found: dict[str, type | None] = {}
        for section, cls in self.sections:
            other = found.get(section)
            if other is not None and cls.options not in (None, other):
                raise PluginBroke(
                    f"{cls.__module__}.{cls.__qualname__} describes the section {section!r} by another class than "
                    f"{other.__module__}.{other.__qualname__}.",
                    plugin=section,
                )
            found[section] = cls.options or other
        return found

    def judged(self, reading: Reading, where: str) -> Loaded:
        """The conf in *reading*, if neither it nor the plugins find anything wrong with it."""
        reading = reading.also(_asked(self.sections, reading), self.warnings)
        _refuse(reading, self.missing, where)
        return Loaded(
            reading.conf, self.plugins, self.classes, self.roles, given=reading.given, warnings=reading.warnings
        )


def _unselected(plugins: Plugins, sections: Collection[str]) -> dict[str, type | None]:
    """Options classes of installed plugins that have one of *sections*, whether the conf selects them or not."""
    found: dict[str, type | None] = {}
    for name in sections:
        for kind in (*ALL_KINDS, "role"):
            if name not in found and plugins.find(kind, name):
                found[name] = getattr(select(plugins, kind, name), "options", None)
    return found


def _asked(sections: Collection[tuple[str, type[Any]]], reading: Reading) -> list[Problem]:
    """What the plugins themselves find wrong, without what was found wrong already."""
    found = []
    for section, cls in sections:
        if not hasattr(cls, "check"):
            continue
        options = reading.conf.sections.get(section)
        if options is None and cls.options is not None:
            # A section with mistakes was not read: the check then sees the defaults, as for any wrong key.
            if any(field.default is attrs.NOTHING for field in fields_of(cls.options).values()):
                continue
            options = cls.options()
        try:
            said = tuple(cls.check(reading.conf, options))
        except Exception as error:  # a plugin's code may raise anything; the culprit has to be named
            raise PluginBroke(
                f"The plugin {section!r} ({cls.__module__}) failed to check the conf: {type(error).__name__}: {error}",
                plugin=section,
            ) from error
        for text in said:
            sentence, _, key = text.rpartition(" @ ")
            if key not in reading.wrong:
                found.append(Problem(key, sentence))
    return found


def _refuse(reading: Reading, missing: Mapping[str, PluginMissing], where: str) -> None:
    """Raise what was found, if anything."""
    if not reading.problems and len(missing) == 1:
        ((key, error),) = missing.items()
        raise PluginMissing(f"{error}{f' (or change {key} in {where})' if where else ''}", **error.fields)
    every = [*map(str, reading.problems), *(f"{error} @ {key}" for key, error in missing.items())]
    if every:
        count = "1 mistake" if len(every) == 1 else f"{len(every)} mistakes"
        lines = [f"{where or 'The conf'} cannot be used, {count}:", *(f"  {each}" for each in every)]
        lines += [f"  (also: {each})" for each in reading.warnings]
        raise BadConf("\n".join(lines), path=where, problems=every, warnings=list(reading.warnings))
