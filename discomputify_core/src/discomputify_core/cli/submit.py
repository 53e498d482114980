"""``discomputify submit DIR``: upload, run, watch, fetch."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path

import attrs
import click

from discomputify_core.cli import common
from discomputify_core.cli.output import note, say, say_json
from discomputify_core.cli.progress import Display
from discomputify_core.cli.shown import counted, counts_line, failure_lines, plain, size
from discomputify_core.cli.values import IdsType, LocalCommand, NeedType, SizeType, VariableType
from discomputify_core.client.client import NEEDED, Client
from discomputify_core.client.home import look
from discomputify_core.client.results import Submitted
from discomputify_core.edge import clock
from discomputify_core.edge.machine import usable_cpus
from discomputify_core.edge.opening import Loaded
from discomputify_core.edge.trees import Plan
from discomputify_core.errors import BadInput, DiscomputifyError, JobForgotten, NoSuchJob
from discomputify_core.model.files import Entry
from discomputify_core.model.ids import ProcessId, check_parts, check_process_id
from discomputify_core.model.inputs import check_inputs
from discomputify_core.model.job import JobState, JobStatus, Request
from discomputify_core.roles.local import NEEDED as LOCAL_NEEDED
from discomputify_core.roles.local import LocalCluster


@attrs.frozen
class Options:
    """What the command line said."""

    folder: Path
    parts: int | None
    process_id: str
    request: Request
    env: dict[str, str]
    inputs: str
    collect: tuple[str, ...]
    out: Path
    args: tuple[str, ...]
    detach: bool
    as_json: bool
    #: Whether the cluster is this command's own, and ends with it.
    embedded: bool = False
    after: tuple[ProcessId, ...] = ()
    after_any: tuple[ProcessId, ...] = ()
    inputs_from: tuple[ProcessId, ...] = ()
    together: bool = False


@click.command(cls=LocalCommand)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("-n", "--parts", type=int, metavar="N", help="How many parts (default: the cluster's slots).")
@click.option("--process-id", metavar="ID", help="The job's name (default: microseconds since the epoch).")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path(), metavar="D", help="Where outputs go, default here."
)
@click.option("--cpus", type=click.IntRange(1), default=1, metavar="C", help="CPUs that a part needs (default 1).")
@click.option("--memory", type=SizeType(), default=0, metavar="M", help="Memory that a part needs, such as 2G.")
@click.option("--need", type=NeedType(), multiple=True, help="A named resource that a part needs, such as gpu=1.")
@click.option("--env", type=VariableType(), multiple=True, help="An environment variable of every part.")
@click.option("--inputs", default="all", metavar="HOW", help="all, lazy, or a pattern such as 'INPUT_PATH/{part}/**'.")
@click.option("--collect", multiple=True, metavar="PATTERN", help="Files outside OUTPUT_PATH to bring home.")
@click.option("--after", type=IdsType(), multiple=True, help="Jobs that have to be done before this one starts.")
@click.option("--after-any", type=IdsType(), multiple=True, help="Jobs that have to have ended in any way before.")
@click.option("--inputs-from", type=IdsType(), multiple=True, help="As --after; their outputs are under INPUT_PATH/ID.")
@click.option("--together", is_flag=True, help="Start all parts at once, or none.")
@click.option("--detach", is_flag=True, help="Return as soon as the job is accepted.")
@click.option("--local", type=click.IntRange(0), metavar="[SLOTS]", help="Run on this machine only.")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be uploaded, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def submit(
    folder: Path,
    args: tuple[str, ...],
    parts: int | None,
    process_id: str | None,
    out: Path,
    cpus: int,
    memory: int,
    need: tuple[tuple[str, int], ...],
    env: tuple[tuple[str, str], ...],
    inputs: str,
    collect: tuple[str, ...],
    after: tuple[tuple[ProcessId, ...], ...],
    after_any: tuple[tuple[ProcessId, ...], ...],
    inputs_from: tuple[tuple[ProcessId, ...], ...],
    together: bool,
    detach: bool,
    local: int | None,
    only_plan: bool,
    as_json: bool,
) -> int:
    """Run the program directory DIR, which holds main.py, as N parts.

    Each part runs main.py PART TOTAL_PARTS PROCESS_ID [ARGS…]; write -- before ARGS. Outputs come
    to OUT/PROCESS_ID/PROCESS_ID_PART_TOTAL/. Without a conf it runs on this machine only.
    """
    if parts is not None:
        check_parts(parts)
    options = Options(
        folder,
        parts,
        check_process_id(clock.new_process_id() if process_id is None else process_id),
        Request(cpus, memory, dict(need)),
        dict(env),
        inputs,
        collect,
        out,
        args,
        detach,
        as_json,
        after=_flat(after),
        after_any=_flat(after_any),
        inputs_from=_flat(inputs_from),
        together=together,
    )
    loaded = common.open_conf(NEEDED if local is None else LOCAL_NEEDED)
    check_inputs(inputs, loaded.conf.input_path if loaded else "INPUT_PATH")
    if loaded is not None and local is None:
        return _on_cluster(loaded, options, only_plan)
    if detach:
        raise BadInput("--detach needs a cluster: a job on this machine alone ends with this command.")
    for option, given in (("--after", after), ("--after-any", after_any), ("--inputs-from", inputs_from)):
        if given:
            raise BadInput(f"{option} needs a cluster: what runs on this machine alone knows no other jobs.")
    if loaded is None:
        note("no conf found: running on this machine only")
    if not only_plan:
        _check_room(local or usable_cpus(), options)
    return _on_this_machine(loaded, local, attrs.evolve(options, embedded=True), only_plan)


def _flat(given: tuple[tuple[ProcessId, ...], ...]) -> tuple[ProcessId, ...]:
    return tuple(dict.fromkeys(each for ids in given for each in ids))


def _check_room(slots: int, options: Options) -> None:
    """Refuse what this machine alone could never start: no other node will come.

    Raises:
        BadInput: says how many slots it takes.
    """
    cpus = options.request.cpus
    at_once = cpus * (options.parts or max(slots // cpus, 1)) if options.together else cpus
    if at_once > slots:
        what = f"{options.parts} parts that start together need" if options.together else "a part needs"
        raise BadInput(
            f"{what[0].upper()}{what[1:]} {at_once} CPUs at once; on this machine alone there are {slots} slots. "
            f"Ask for less, or let parts share its CPUs: --local {at_once}"
        )


def _on_cluster(loaded: Loaded, options: Options, only_plan: bool) -> int:
    async def work() -> int:
        async with Client(loaded) as client:
            return await (_plan(client, options) if only_plan else _submit(client, options))

    try:
        return asyncio.run(_until_terminated(work()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        pid = options.process_id
        note(
            f"\ninterrupted. If '{pid}' was accepted it goes on. Watch it: discomputify wait {pid}; "
            f"bring its outputs: discomputify fetch {pid}; end it: discomputify stop {pid}"
        )
        return 130


def _on_this_machine(loaded: Loaded | None, slots: int | None, options: Options, only_plan: bool) -> int:
    async def work() -> int:
        async with LocalCluster(slots, loaded.conf if loaded else None) as cluster, Client(cluster) as client:
            return await (_plan(client, options) if only_plan else _submit(client, options))

    try:
        return asyncio.run(_until_terminated(work()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        note("\ninterrupted: the job was stopped and removed")
        return 130


async def _until_terminated(work: Coroutine[object, object, int]) -> int:
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


async def _submit(client: Client, options: Options) -> int:
    if not options.detach:
        await asyncio.to_thread(look, options.out / options.process_id)
    with Display(quiet=options.as_json) as display:
        submitted = await _upload(client, options, display)
        if options.detach:
            status = submitted.status
        else:
            status = await _watch(client, options, display, submitted)
    if options.as_json:
        upload = attrs.asdict(submitted.upload)
        say_json({**plain(status), "upload": upload})
    elif options.detach and not status.ended:
        pid = status.process_id
        say(f"{pid}: accepted, {counted(status.parts.total, 'part')}. Watch it: discomputify wait {pid}")
    else:
        _summary(status, options)
    accepted = options.detach and not status.ended  # a job that is to follow one that has failed fails at once
    return 0 if accepted or status.state is JobState.DONE else 1


async def _upload(client: Client, options: Options, display: Display) -> Submitted:
    submitted = await client.submit(
        options.folder,
        options.parts,
        process_id=options.process_id,
        request=options.request,
        args=options.args,
        env=options.env,
        inputs=options.inputs,
        collect=options.collect,
        after=options.after,
        after_any=options.after_any,
        inputs_from=options.inputs_from,
        together=options.together,
        moved=display.uploaded,
        scanned=lambda scan: display.uploading(scan.manifest.size),
    )
    display.upload_ended()
    up = submitted.upload
    for each in submitted.ignored[:5]:
        display.say(f"left out: {each.path} ({each.reason})")
    if len(submitted.ignored) > 5:
        display.say(f"left out: {len(submitted.ignored) - 5} more (--plan lists them)")
    display.say(
        f"{options.process_id}: {counted(submitted.status.parts.total, 'part')}; "
        f"{counted(up.files, 'file')} ({size(up.bytes)}), "
        f"sent {up.blobs_sent} ({size(up.bytes_sent)})"
    )
    return submitted


async def _watch(client: Client, options: Options, display: Display, submitted: Submitted) -> JobStatus:
    """Show the job until it ends, and fetch outputs as parts are done."""
    pid = options.process_id
    fetching = asyncio.ensure_future(client.fetch(pid, options.out, follow=True))
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
        if not options.embedded:
            display.say(f"{pid} goes on; bring its outputs later: discomputify fetch {pid}")
        raise
    finally:
        for each in (fetching, waiting):
            each.cancel()
        await asyncio.gather(fetching, waiting, return_exceptions=True)


def _summary(status: JobStatus, options: Options) -> None:
    seconds = (status.ended_at or 0) - status.submitted_at
    say(f"{status.process_id}: {status.state.value}, {counts_line(status.parts)}, {seconds:.1f} s")
    if status.reason:
        say(f"  {status.reason}")
    for warning in status.warnings:
        say(f"  warning: {warning}")
    if status.state is not JobState.DONE:
        for line in failure_lines(status):
            say(line)
    if not options.detach:
        say(f"  outputs: {options.out / status.process_id}")


async def _plan(client: Client, options: Options) -> int:
    plan = await client.plan(options.folder)
    if options.as_json:
        say_json(_plan_data(plan))
        return 0
    for kind, paths in (("new", plan.new), ("known", plan.known)):
        say(f"{kind}: {counted(len(paths), 'file')}, {size(sum(entry.size for entry in paths))}")
        for entry in paths[:20]:
            say(f"  {entry.path}  {size(entry.size)}")
        if len(paths) > 20:
            say(f"  … and {len(paths) - 20} more")
    say(f"ignored: {len(plan.ignored)}")
    for each in plan.ignored:
        say(f"  {each.path}  ({each.reason})")
    return 0


def _plan_data(plan: Plan) -> dict[str, object]:
    def rows(entries: Sequence[Entry]) -> list[dict[str, object]]:
        return [{"path": each.path, "size": each.size} for each in entries]

    return {
        "new": rows(plan.new),
        "known": rows(plan.known),
        "new_bytes": plan.new_bytes,
        "ignored": [{"path": each.path, "reason": each.reason} for each in plan.ignored],
    }
