"""Commands that look: nodes, why, doctor."""

from __future__ import annotations

import asyncio

import click

from discomputify_core.cli import common, doctoring
from discomputify_core.cli.jobs import as_json, with_client
from discomputify_core.cli.output import say, say_json, table
from discomputify_core.cli.shown import memory_size, node_rows, plain, size
from discomputify_core.cli.values import job_and_part
from discomputify_core.client.client import Client
from discomputify_core.errors import NoSuchJob
from discomputify_core.model.message import Sentence
from discomputify_core.model.node import NodeStatus


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="Show what each node is and has.")
@as_json
def nodes(verbose: bool, as_json: bool) -> int:
    """Show the computing nodes and their load."""
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


@click.command()
@click.argument("what", metavar="ID[.PART]")
@as_json
def why(what: str, as_json: bool) -> int:
    """Say what a job or part waits for, or why it ended so."""

    async def ask(client: Client) -> Sentence:
        process_id, part = job_and_part(what)
        if part:
            try:
                await client.status(what)
            except NoSuchJob:
                return await client.why(process_id, part)
        return await client.why(what)

    said = with_client(ask)
    if as_json:
        say_json(plain(said))
        return 0
    say(said.text)
    for line in said.details:
        say(f"  {line}")
    return 0


@click.command()
@as_json
def doctor(as_json: bool) -> int:
    """Check conf, services, key, disks and versions, and say what to mend. Exit 0: all is well; 1: something is not."""
    findings = asyncio.run(doctoring.examine(common.conf_named()))
    if as_json:
        say_json([plain(each) for each in findings])
    else:
        for each in findings:
            say(f"{each.verdict:<7} {each.what}")
            if each.fix:
                say(f"        fix: {each.fix}")
    return 1 if any(each.verdict == "wrong" for each in findings) else 0
