"""The group ``discomputify``: names and help of its commands without importing them, plugins' commands.

Here: looking commands up. Not here: the commands, and what becomes of their errors (main.py).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from discomputify_core.cli.common import accept_conf
from discomputify_core.cli.output import warn

if TYPE_CHECKING:
    from discomputify_core.plugins.manager import Plugins

#: Command -> where it is (``module:attribute``) and what the list of commands says of it.
Table = Mapping[str, tuple[str, str]]

#: Commands of well-known distributions that need not be installed.
BROUGHT = {"simulate": "discomputify-testkit"}


class Group(click.Group):
    """A group that shows its help where a command is missing, and calls that wrong usage."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, the same in all its versions where there is nothing to parse."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)


class LazyGroup(Group):
    """A group that imports a command when it is run."""

    def __init__(self, table: Table, **settings: Any) -> None:
        super().__init__(**settings)
        self._table = table
        self._plugins: Plugins | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Core's commands in the order of the table, then those of plugins."""
        return [*self._table, *self._of_plugins()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None where there is none of that name."""
        if cmd_name in self._table:
            module, _, attribute = self._table[cmd_name][0].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return accept_conf(command)
        if cmd_name not in self._of_plugins():
            return None
        from discomputify_core.plugins.selection import command as of_plugin

        return accept_conf(of_plugin(self._loaded(), cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a hint where a name is nearly right."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            if name in BROUGHT:
                ctx.fail(f"The command {name!r} is not installed here. Install it with: pip install {BROUGHT[name]}")
            near = difflib.get_close_matches(name, self.list_commands(ctx), 1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in the help, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._table.items()])
        brought = [(name, f"from {origin}") for name, origin in self._of_plugins().items()]
        if brought:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(brought)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands from the table, then options."""
        names = [(name, text) for name, (_, text) in self._table.items()]
        names += [(name, f"from {origin}") for name, origin in self._of_plugins().items()]
        found = [CompletionItem(name, help=text) for name, text in names if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def _of_plugins(self) -> dict[str, str]:
        """Commands of plugins, and the distribution that brings each; core's names cannot be taken."""
        plugins = self._loaded()
        found = {}
        for name in plugins.names("command"):
            registered = plugins.find("command", name)
            if registered is not None and name not in self._table:
                found[name] = str(registered.origin)
        return found

    def _loaded(self) -> Plugins:
        if self._plugins is None:
            from discomputify_core.plugins.manager import Plugins  # costs time to import

            # A broken plugin must not stop core's commands: it is named, and left out.
            self._plugins = Plugins.load(tolerant=True, with_commands=True)
            for error in self._plugins.broken:
                warn(str(error))
        return self._plugins
