"""The whole plugin contract: every hook that discomputify calls.

A plugin is an installed distribution with an entry point in the group ``discomputify`` that names a module.
Functions there marked :data:`hookimpl` answer the hooks. *Register* hooks hand over classes under a
name; the conf chooses one of each kind by that name. *Notify* hooks are read-only.

A plugin's hooks module should import nothing heavy: register hooks return ``{name: "package.module:Class"}``
so that only the plugins a role uses are imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:  # every command that asks for plugins pays for imports here
    from discomputify_core.model.events import Event

PROJECT = "discomputify"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

#: What a register hook returns: the name used in the conf -> ``"package.module:Class"``.
Registration = Mapping[str, str]


@hookspec
def discomputify_register_transports() -> Registration:
    """Name the transports of this plugin, subclasses of ``interfaces.transport.Transport``.

    Called once per process, when the plugins are loaded. An exception stops the process with the plugin's name.
    TRANSPORT in the conf chooses one. Two plugins with one name are an error.
    """
    return {}


@hookspec
def discomputify_register_stores() -> Registration:
    """Name the stores of this plugin, subclasses of ``interfaces.files.FileStore``.

    When, by whom and errors: as for transports. STORE in the conf chooses one.
    """
    return {}


@hookspec
def discomputify_register_memories() -> Registration:
    """Name the shared memories of this plugin, subclasses of ``interfaces.memory.SharedMemory``.

    When, by whom and errors: as for transports. SHARED_MEM in the conf chooses one, or none.
    """
    return {}


@hookspec
def discomputify_register_schedulers() -> Registration:
    """Name the policies of this plugin, subclasses of ``interfaces.scheduler.Scheduler``.

    When, by whom and errors: as for transports. SCHEDULER in the conf chooses one; only the master imports it.
    """
    return {}


@hookspec
def discomputify_register_roles() -> Registration:
    """Name the roles of this plugin, subclasses of ``interfaces.role.ServiceRole``.

    ``discomputify run NAME`` starts one. When, by whom and errors: as for transports. The names of core's own
    roles cannot be taken.
    """
    return {}


@hookspec
def discomputify_register_commands() -> Registration:
    """Name the commands of this plugin, each a ``click.Command``; ``discomputify NAME`` runs one.

    Called when the command line starts with a name that is not one of core's, or lists its help.
    An exception is shown with the plugin's name and does not stop core's commands.
    """
    return {}


@hookspec
def discomputify_on_events(batch: Sequence[Event]) -> None:
    """After the master has handled *batch*, in order. Every plugin, last registered first (pluggy's order).

    Read-only, off the master's loop, through a bounded queue: a slow plugin misses batches (counted in the log)
    and slows nobody. An exception is logged with the plugin's name and does not reach the master.
    """
