"""A job in a terminal from its submission to its end: what is shown, what is fetched, what Ctrl-C does.

Here: what ``submit`` and ``resubmit`` share. Not here: their options.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import attrs

from discomputify_core.cli.output import note, say, say_json
from discomputify_core.cli.progress import Display
from discomputify_core.cli.shown import counted, counts_line, failure_lines, plain, size
from discomputify_core.client.client import Client
from discomputify_core.client.home import look
from discomputify_core.client.results import Submitted
from discomputify_core.edge.opening import Loaded
from discomputify_core.errors import DiscomputifyError, JobForgotten, NoSuchJob
from discomputify_core.model.job import JobState, JobStatus


@attrs.frozen
class Wishes:
    """What becomes of a job once it is accepted, as its user wants it."""

    process_id: str
    #: Where its folder of outputs goes.
    out: Path
    detach: bool
    as_json: bool
    #: Whether the cluster is this command's own, and ends with it.
    embedded: bool = False


#: Brings a job to the cluster, and shows how far that is.
Bring = Callable[[Client, Display], Awaitable[Submitted]]


def on_cluster(loaded: Loaded, process_id: str, work: Callable[[Client], Awaitable[int]]) -> int:
    """Do *work* with a client of a cluster; the exit code. When it is interrupted the job goes on."""

    async def connected() -> int:
        async with Client(loaded) as client:
            return await work(client)

    try:
        return asyncio.run(until_terminated(connected()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        note(
            f"\ninterrupted. If '{process_id}' was accepted it goes on. Watch it: discomputify wait {process_id}; "
            f"bring its outputs: discomputify fetch {process_id}; end it: discomputify stop {process_id}"
        )
        return 130


async def until_terminated(work: Coroutine[object, object, int]) -> int:
    """Await *work*; Ctrl-C, SIGTERM and a closed terminal cancel it, and nothing else, so that it can tidy up.

    Signals that come while it does are ignored: tidying up is short, and what it leaves would stay for ever.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    asked: list[bool] = []

    def interrupted() -> None:
        if not asked:
            asked.append(task.cancel())

    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # it is ignored under nohup
        numbers.append(signal.SIGHUP)
    for number in numbers:
        # Windows: asyncio takes no handlers there, and Ctrl-C cancels by itself. Not the main thread: nor does it.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, interrupted)
    return await task


async def run(client: Client, wishes: Wishes, bring: Bring) -> int:
    """Bring a job to the cluster, show it until it ends, fetch its outputs; the exit code."""
    if not wishes.detach:
        await asyncio.to_thread(look, wishes.out / wishes.process_id)
    with Display(quiet=wishes.as_json) as display:
        client.on_away = display.away
        submitted = await bring(client, display)
        display.upload_ended()
        _say_accepted(display, submitted)
        status = submitted.status if wishes.detach else await _watch(client, wishes, display)
    if wishes.as_json:
        upload = attrs.asdict(submitted.upload)
        say_json({**plain(status), "upload": upload})
    elif wishes.detach and not status.ended:
        pid = status.process_id
        say(f"{pid}: accepted, {counted(status.parts.total, 'part')}. Watch it: discomputify wait {pid}")
    else:
        _summary(status, wishes)
    accepted = wishes.detach and not status.ended  # a job that is to follow one that has failed fails at once
    return 0 if accepted or status.state is JobState.DONE else 1


def _say_accepted(display: Display, submitted: Submitted) -> None:
    up = submitted.upload
    for each in submitted.ignored[:5]:
        display.say(f"left out: {each.path} ({each.reason})")
    if len(submitted.ignored) > 5:
        display.say(f"left out: {len(submitted.ignored) - 5} more (--plan lists them)")
    if submitted.unchecked:
        more = f" and {len(submitted.unchecked) - 3} more" if len(submitted.unchecked) > 3 else ""
        lines = ", ".join(repr(line) for line in submitted.unchecked[:3])
        display.say(f"not checked on nodes, since they are no plain requirements: {lines}{more} (requirements.txt)")
    display.say(
        f"{submitted.process_id}: {counted(submitted.status.parts.total, 'part')}; "
        f"{counted(up.files, 'file')} ({size(up.bytes)}), "
        f"sent {up.blobs_sent} ({size(up.bytes_sent)})"
    )


async def _watch(client: Client, wishes: Wishes, display: Display) -> JobStatus:
    """Show the job until it ends, and fetch outputs as parts are done."""
    pid = wishes.process_id
    fetching = asyncio.ensure_future(client.fetch(pid, wishes.out, follow=True))
    waiting = asyncio.ensure_future(client.wait(pid, changed=display.job))
    try:
        # A fetch that fails (a full disk here) is told at once, and not after hours.
        done, _ = await asyncio.wait([fetching, waiting], return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        if fetching.result().replaced:
            display.say(f"{fetching.result().folder}: outputs of an earlier job of that id were removed")
        return waiting.result()
    except (JobForgotten, NoSuchJob):  # cleared by somebody, or the master was started again: nothing goes on
        raise
    except DiscomputifyError:
        if not wishes.embedded:
            display.say(f"{pid} goes on; bring its outputs later: discomputify fetch {pid}")
        raise
    finally:
        for each in (fetching, waiting):
            each.cancel()
        await asyncio.gather(fetching, waiting, return_exceptions=True)


def _summary(status: JobStatus, wishes: Wishes) -> None:
    seconds = (status.ended_at or 0) - status.submitted_at
    say(f"{status.process_id}: {status.state.value}, {counts_line(status.parts)}, {seconds:.1f} s")
    if status.reason:
        say(f"  {status.reason}")
    for warning in status.warnings:
        say(f"  warning: {warning}")
    if status.state is not JobState.DONE:
        for line in failure_lines(status):
            say(line)
    if not wishes.detach:
        say(f"  outputs: {wishes.out / status.process_id}")
