"""Commands that look: why, doctor."""

from __future__ import annotations

import asyncio

import click

from discomputify_core.cli import common, doctoring
from discomputify_core.cli.jobs import as_json, with_client
from discomputify_core.cli.output import say, say_json
from discomputify_core.cli.shown import death_lines, plain
from discomputify_core.cli.values import job_and_part
from discomputify_core.client.client import Client
from discomputify_core.client.deaths import died
from discomputify_core.errors import NoSuchJob
from discomputify_core.model.job import AttemptReport
from discomputify_core.model.message import Sentence


@click.command()
@click.argument("what", metavar="ID[.PART]")
@as_json
def why(what: str, as_json: bool) -> int:
    """Say what a job or part waits for, or why it ended so."""

    async def ask(client: Client) -> tuple[Sentence, tuple[AttemptReport, ...]]:
        process_id, part = job_and_part(what)
        if part:
            try:
                await client.status(what)
            except NoSuchJob:
                return await client.why(process_id, part), await client.attempts(process_id, part)
        return await client.why(what), ()

    said, attempts = with_client(ask)
    if as_json:
        say_json({**plain(said), "attempts": plain(attempts)})
        return 0
    say(said.text)
    told = {(each.number, each.node) for each in attempts if died(each)}
    for line in said.details:
        # What is told of an attempt below is not said twice.
        if not any(line.startswith(f"attempt {number} on {node}: ") for number, node in told):
            say(f"  {line}")
    for line in death_lines(attempts):
        say(line)
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
