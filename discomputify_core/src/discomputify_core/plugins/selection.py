"""From a name in the conf to one class: imported, checked against its interface, or an error that helps.

Here: what a name stands for and whether it keeps its interface's promises. Not here: finding plugins (manager.py),
reading the conf (model/conf_read.py), making instances (edge/opening.py).
"""

from __future__ import annotations

import difflib
import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, overload

from discomputify_core.errors import PluginBroke, PluginMissing
from discomputify_core.plugins.kinds import KINDS, distribution_of
from discomputify_core.plugins.manager import Plugins, Registered

if TYPE_CHECKING:
    from discomputify_core.interfaces.files import FileStore
    from discomputify_core.interfaces.memory import SharedMemory
    from discomputify_core.interfaces.role import ServiceRole
    from discomputify_core.interfaces.scheduler import Scheduler
    from discomputify_core.interfaces.transport import Transport


@overload
def select(plugins: Plugins, kind: Literal["transport"], name: str) -> type[Transport]: ...
@overload
def select(plugins: Plugins, kind: Literal["store"], name: str) -> type[FileStore]: ...
@overload
def select(plugins: Plugins, kind: Literal["shared_mem"], name: str) -> type[SharedMemory]: ...
@overload
def select(plugins: Plugins, kind: Literal["scheduler"], name: str) -> type[Scheduler]: ...
@overload
def select(plugins: Plugins, kind: Literal["role"], name: str) -> type[ServiceRole]: ...
@overload
def select(plugins: Plugins, kind: str, name: str) -> type: ...
def select(plugins: Plugins, kind: str, name: str) -> type:
    """The class of the plugin *name* of *kind*, imported now.

    Raises:
        PluginMissing: no such plugin is installed; says which are, and the pip command.
        PluginBroke: it cannot be imported or does not keep its interface.
    """
    found = require(plugins, kind, name)
    cls = _imported(found)
    interface = _interface(KINDS[kind].interface)
    if not isinstance(cls, type) or not issubclass(cls, interface):
        raise _broke(found, f"is not a subclass of {interface.__module__}.{interface.__qualname__}")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise _broke(found, f"lacks what its interface asks for: {missing}")
    if getattr(cls, "name", name) != name:
        raise _broke(found, f"calls itself {getattr(cls, 'name', None)!r}")
    return cls


def command(plugins: Plugins, name: str) -> Any:
    """The ``click.Command`` that a plugin brings under *name*, or None.

    Raises:
        PluginBroke: it cannot be imported or is no command.
    """
    found = plugins.find("command", name)
    if found is None:
        return None
    value = _imported(found)
    if not isinstance(value, _interface(KINDS["command"].interface)):
        raise _broke(found, "is not a click.Command")
    return value


def require(plugins: Plugins, kind: str, name: str) -> Registered:
    """What *name* stands for among the installed plugins of *kind*; imports nothing.

    Raises:
        PluginMissing: it is not installed.
    """
    found = plugins.find(kind, name)
    if found is not None:
        return found
    row, installed = KINDS[kind], plugins.names(kind)
    near = difflib.get_close_matches(name.lower(), installed, 1)
    pip = f"pip install {distribution_of(name)}"
    way = "Install it with" if not near else f"Did you mean {near[0]!r}? Otherwise install it with"
    raise PluginMissing(
        f"The {row.label} {name!r} is not installed here (installed: {', '.join(installed) or 'none'}). {way}: {pip}",
        kind=kind,
        name=name,
        installed=list(installed),
        pip=pip,
        near=near,
    )


def _imported(found: Registered) -> Any:
    module, _, attribute = found.target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:  # a plugin's import may raise anything; the culprit has to be named
        raise _broke(found, f"cannot be imported: {type(error).__name__}: {error}") from error


def _interface(target: str) -> type:
    module, _, attribute = target.partition(":")
    interface: type = getattr(import_module(module), attribute)
    return interface


def _broke(found: Registered, what: str) -> PluginBroke:
    return PluginBroke(
        f"The {KINDS[found.kind].label} {found.name!r} of {found.origin} ({found.target}) {what}.",
        plugin=found.name,
        distribution=found.origin.distribution,
        version=found.origin.version,
    )
