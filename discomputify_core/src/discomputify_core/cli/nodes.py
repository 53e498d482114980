"""The command ``nodes``: the computing nodes as they are, and draining one."""

from __future__ import annotations

import click

from discomputify_core.cli.jobs import as_json, with_client
from discomputify_core.cli.output import say, say_json, table
from discomputify_core.cli.shown import counted, memory_size, node_rows, plain, size
from discomputify_core.model.node import NodeStatus


@click.group(invoke_without_command=True)
@click.option("-v", "--verbose", is_flag=True, help="Show what each node is and has.")
@as_json
@click.pass_context
def nodes(context: click.Context, verbose: bool, as_json: bool) -> int:
    """Show the computing nodes and their load, or drain one."""
    if context.invoked_subcommand is not None:
        return 0
    found = with_client(lambda client: client.nodes(packages=verbose))
    if as_json:
        say_json([plain(node) for node in found])
        return 0
    table(["NAME", "STATE", "RUNNING", "CPU", "MEM", "MEM USED", "ADDRESS", "REASON"], node_rows(found))
    if verbose:
        for node in found:
            _details(node)
    return 0


def _details(node: NodeStatus) -> None:
    facts = node.facts
    if facts is None:
        return
    has = ", ".join(f"{count} {name}" for name, count in facts.resources.items()) or "none"
    say(f"\n{node.name}")
    say(f"  system     {facts.os} {facts.architecture}, {facts.slots} slots, {memory_size(facts.memory)} of memory")
    say(f"  resources  {has}")
    say(f"  cache      {size(facts.cache_limit)}")
    say(f"  python     {facts.python} at {facts.interpreter}")
    say(f"  runs as    {facts.owner}, discomputify {facts.version}")
    say(f"  packages   {', '.join(f'{name} {version}' for name, version in facts.packages.items())}")


@nodes.command()
@click.argument("name", metavar="NAME")
@click.option("--undo", is_flag=True, help="Give it parts again.")
@as_json
def drain(name: str, undo: bool, as_json: bool) -> int:
    """Let a node finish what it runs, and give it no more parts."""
    found = with_client(lambda client: client.drain(name, undo=undo))
    if as_json:
        say_json(plain(found))
    elif undo:
        say(f"{name}: gets parts again")
    else:
        say(
            f"{name}: gets no more parts; {counted(found.running, 'part')} under way there. Take it back: "
            f"discomputify nodes drain {name} --undo"
        )
    return 0
