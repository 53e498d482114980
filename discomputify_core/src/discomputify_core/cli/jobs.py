"""Commands about jobs: status, logs, wait, stop, fetch, clear."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from discomputify_core.cli import common
from discomputify_core.cli.chains import chain_lines, indented, nested
from discomputify_core.cli.output import note, say, say_json, table
from discomputify_core.cli.progress import Display, away_line
from discomputify_core.cli.shown import counted, counts_line, job_lines, plain, size, when
from discomputify_core.cli.values import DurationType
from discomputify_core.client.client import NEEDED, Client
from discomputify_core.errors import BadInput
from discomputify_core.model.job import JobState, JobStatus

T = TypeVar("T")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def with_client(work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
    """Do *work* with a client of this command line's cluster."""
    loaded = common.need_conf(NEEDED)

    async def connected() -> T:
        async with Client(loaded) as client:
            return await work(client)

    return asyncio.run(connected())


@click.command()
@click.argument("process_id", metavar="[ID]", required=False)
@as_json
def status(process_id: str | None, as_json: bool) -> int:
    """Show all jobs, or one with its failures and warnings; jobs that follow others as a tree."""
    if process_id is not None:
        found, chain = with_client(lambda client: _with_chain(client, process_id, as_json))
        _show(found, as_json)
        for line in chain:
            say(line)
        return 0
    jobs = with_client(lambda client: client.jobs())
    if as_json:
        say_json([plain(job) for job in jobs])
        return 0
    rows = [_row(job, depth) for depth, job in nested(jobs)]
    table(["PROCESS_ID", "STATE", "DONE", "SIZE", "SUBMITTED", "OWNER", "REASON"], rows)
    return 0


async def _with_chain(client: Client, process_id: str, alone: bool) -> tuple[JobStatus, list[str]]:
    """A job, and unless *alone* the lines about what it follows and what follows it."""
    found = await client.status(process_id)
    return found, [] if alone else [line async for line in chain_lines(found, client.status)]


def _row(job: JobStatus, depth: int) -> list[str]:
    done = f"{job.parts.done}/{job.parts.total}"
    held = size(job.tree_bytes + job.output_bytes)
    return [indented(depth, job.process_id), job.state.value, done, held, when(job.submitted_at), job.owner, job.reason]


def _show(found: JobStatus, as_json: bool) -> None:
    if as_json:
        say_json(plain(found))
        return
    for line in job_lines(found):
        say(line)


@click.command()
@click.argument("process_id", metavar="ID")
@click.option("--part", type=click.IntRange(1), default=1, metavar="K", help="Which part (default 1).")
@click.option("--attempt", type=click.IntRange(1), metavar="A", help="Which attempt (default: the newest).")
@click.option("--stream", type=click.Choice(["both", "out", "err"]), default="both", help="Which stream.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the attempt has ended.")
def logs(process_id: str, part: int, attempt: int | None, stream: str, follow: bool) -> int:
    """Show what a part wrote: its stdout on stdout, its stderr on stderr."""

    async def show(client: Client) -> None:
        client.on_away = lambda away: note(away_line(away))
        wanted = ("out", "err") if stream == "both" else (stream,)
        copies = [partial(_copy, client, process_id, part, attempt or 0, each, follow) for each in wanted]
        if follow:
            await _at_once([asyncio.ensure_future(copy()) for copy in copies])
        else:
            for copy in copies:
                await copy()

    with_client(show)
    return 0


async def _at_once(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for all of *tasks*; where one fails, the others are ended before its error goes on."""
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(client: Client, process_id: str, part: int, attempt: int, stream: str, follow: bool) -> None:
    to = sys.stderr.buffer if stream == "err" else sys.stdout.buffer
    async for piece in client.logs(process_id, part, attempt=attempt, stream=stream, follow=follow):
        to.write(piece)
        to.flush()


@click.command()
@click.argument("process_id", metavar="ID")
@click.option("--timeout", type=click.FloatRange(0), metavar="S", help="Seconds after which to give up (exit 4).")
@as_json
def wait(process_id: str, timeout: float | None, as_json: bool) -> int:
    """Wait for a job's end. Exit 0: all parts done; 1: failed or stopped; 4: --timeout ran out."""

    async def watch(client: Client) -> JobStatus:
        with Display(quiet=as_json) as display:
            client.on_away = display.away
            return await client.wait(process_id, timeout, display.job)

    try:
        ended = with_client(watch)
    except KeyboardInterrupt:
        note(f"\ninterrupted; '{process_id}' goes on")
        return 130
    _show(ended, as_json)
    if not ended.ended:
        return 4
    return 0 if ended.state is JobState.DONE else 1


@click.command()
@click.argument("process_id", metavar="ID")
@as_json
def stop(process_id: str, as_json: bool) -> int:
    """End a job's processes and their children."""
    stopped = with_client(lambda client: client.stop(process_id))
    if as_json:
        say_json(plain(stopped))
    elif stopped.ended:
        say(f"{process_id}: {stopped.state.value}, {counts_line(stopped.parts)}")
    else:
        say(f"{process_id}: is being stopped; {stopped.reason}")
    return 0


@click.command()
@click.argument("process_id", metavar="ID")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), metavar="D", help="Where to (default: here).")
@click.option("--part", type=click.IntRange(1), metavar="K", help="Only this part.")
@as_json
def fetch(process_id: str, out: Path, part: int | None, as_json: bool) -> int:
    """Bring outputs and logs of a job's done parts here, into D/ID."""
    fetched = with_client(lambda client: client.fetch(process_id, out, part))
    if as_json:
        say_json(plain(fetched))
    else:
        if fetched.replaced:
            note(f"{fetched.folder}: outputs of an earlier job of that id were removed")
        files = f"{counted(fetched.files, 'file')} ({size(fetched.bytes)})"
        say(f"{fetched.folder}: {counted(fetched.parts, 'part')}, {files}")
    return 0


@click.command()
@click.argument("process_id", metavar="[ID]", required=False)
@click.option("--older-than", type=DurationType(), metavar="T", help="All jobs that ended longer ago, such as 14d.")
@as_json
def clear(process_id: str | None, older_than: float | None, as_json: bool) -> int:
    """Remove an ended job, or all old ones, and all that is kept of it: program, outputs, logs."""
    if (process_id is None) == (older_than is None):
        raise BadInput("Say either which job is to be cleared, or --older-than T for all that ended before that.")
    if older_than is not None:
        _clear_older(older_than, as_json)
        return 0
    done = process_id or ""
    with_client(lambda client: client.clear(done))
    if as_json:
        say_json({"process_id": done, "cleared": True})
    else:
        say(f"{done}: cleared")
    return 0


def _clear_older(seconds: float, as_json: bool) -> None:
    found = with_client(lambda client: client.clear_older(seconds))
    if as_json:
        say_json(plain(found))
        return
    for each in found.cleared:
        say(f"{each}: cleared")
    for process_id, why in found.kept.items():
        note(f"{process_id}: stays. {why}")
    say(f"{counted(len(found.cleared), 'job')} cleared")


__all__ = ["clear", "fetch", "logs", "status", "stop", "wait", "with_client"]
