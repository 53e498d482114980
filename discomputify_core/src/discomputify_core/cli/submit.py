"""``discomputify submit DIR``: upload, run, watch, fetch."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from discomputify_core.cli import common
from discomputify_core.cli.output import note, say, say_json
from discomputify_core.cli.progress import Display
from discomputify_core.cli.shown import counted, size
from discomputify_core.cli.values import DurationType, IdsType, LocalCommand, NeedType, SizeType, VariableType
from discomputify_core.cli.watching import Wishes, on_cluster, run, until_terminated
from discomputify_core.client import requirements
from discomputify_core.client.client import NEEDED, Client
from discomputify_core.client.results import Submitted
from discomputify_core.edge import clock
from discomputify_core.edge.machine import usable_cpus
from discomputify_core.edge.opening import Loaded
from discomputify_core.edge.trees import Plan, Scan
from discomputify_core.errors import BadInput
from discomputify_core.model.files import Entry
from discomputify_core.model.ids import ProcessId, check_parts, check_process_id
from discomputify_core.model.inputs import check_inputs
from discomputify_core.model.job import Request
from discomputify_core.model.node import NodeStatus

RETRIES = "Further attempts of a part that fails by itself (default 2)."
LOST_RETRIES = "Further attempts of a part whose node was lost (default 5)."
MEMORY_LIMIT = "End a part whose processes use more memory, such as 4G (default: as --memory)."


@attrs.frozen
class Options:
    """What the command line said."""

    folder: Path
    parts: int | None
    #: Further arguments of Client.submit, by name.
    more: Mapping[str, Any]
    wishes: Wishes
    request: Request
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
@click.option("--retries", type=click.IntRange(0), default=2, metavar="R", help=RETRIES)
@click.option("--lost-retries", type=click.IntRange(0), default=5, metavar="R", help=LOST_RETRIES)
@click.option(
    "--time-limit", type=DurationType(), default=0.0, help="End an attempt that runs longer, such as 10m or 2h."
)
@click.option("--deadline", type=DurationType(), default=0.0, help="End the job so long after it was submitted.")
@click.option("--memory-limit", type=SizeType(), default=0, metavar="M", help=MEMORY_LIMIT)
@click.option("--max-failures", type=click.IntRange(1), metavar="N", help="End the job once N parts failed.")
@click.option("--priority", type=int, default=0, metavar="P", help="Jobs of a higher priority go first (default 0).")
@click.option("--second-attempts", is_flag=True, help="Try parts that run far longer than others elsewhere, too.")
@click.option("--require", multiple=True, metavar="WHAT", help="What nodes must have, such as 'numpy>=2'.")
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
    retries: int,
    lost_retries: int,
    time_limit: float,
    deadline: float,
    memory_limit: int,
    max_failures: int | None,
    priority: int,
    second_attempts: bool,
    require: tuple[str, ...],
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
    pid = check_process_id(clock.new_process_id() if process_id is None else process_id)
    more = {
        "args": args,
        "env": dict(env),
        "inputs": inputs,
        "collect": collect,
        "after": _flat(after),
        "after_any": _flat(after_any),
        "inputs_from": _flat(inputs_from),
        "retries": retries,
        "lost_retries": lost_retries,
        "time_limit": time_limit,
        "deadline": deadline,
        "memory_limit": memory_limit,
        "max_failures": max_failures or 0,
        "priority": priority,
        "second_attempts": second_attempts,
        "require": require,
    }
    wishes = Wishes(pid, out, detach, as_json)
    options = Options(folder, parts, more, wishes, Request(cpus, memory, dict(need)), together)
    loaded = common.open_conf(_needed(local))
    check_inputs(inputs, loaded.conf.input_path if loaded else "INPUT_PATH")
    if loaded is not None and local is None:
        return on_cluster(loaded, pid, lambda client: _work(client, options, only_plan))
    if detach:
        raise BadInput("--detach needs a cluster: a job on this machine alone ends with this command.")
    for option, given in (("--after", after), ("--after-any", after_any), ("--inputs-from", inputs_from)):
        if given:
            raise BadInput(f"{option} needs a cluster: what runs on this machine alone knows no other jobs.")
    if loaded is None:
        note("no conf found: running on this machine only")
    if not only_plan:
        _check_room(local or usable_cpus(), options)
    return _on_this_machine(loaded, local, attrs.evolve(options, wishes=attrs.evolve(wishes, embedded=True)), only_plan)


def _needed(local: int | None) -> tuple[str, ...]:
    """Kinds of plugins that are used."""
    if local is None:
        return NEEDED
    from discomputify_core.roles.local import NEEDED as ALL  # costs time to import; clients of a cluster need no role

    return ALL


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


def _on_this_machine(loaded: Loaded | None, slots: int | None, options: Options, only_plan: bool) -> int:
    from discomputify_core.roles.local import LocalCluster  # costs time to import; clients of a cluster need no role

    async def work() -> int:
        async with LocalCluster(slots, loaded.conf if loaded else None) as cluster, Client(cluster) as client:
            return await _work(client, options, only_plan)

    try:
        return asyncio.run(until_terminated(work()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        note("\ninterrupted: the job was stopped and removed")
        return 130


async def _work(client: Client, options: Options, only_plan: bool) -> int:
    if only_plan:
        return await _plan(client, options)

    here = await client.nodes(packages=True) if options.wishes.embedded else ()

    async def bring(client: Client, display: Display) -> Submitted:
        def scanned(scan: Scan) -> None:
            for node in here:
                _check_packages(node, options, scan)
            display.uploading(scan.manifest.size)

        return await client.submit(
            options.folder,
            options.parts,
            process_id=options.wishes.process_id,
            request=options.request,
            together=options.together,
            moved=display.uploaded,
            scanned=scanned,
            **options.more,
        )

    return await run(client, options.wishes, bring)


def _check_packages(node: NodeStatus, options: Options, scan: Scan) -> None:
    """Refuse what this machine alone could never start for want of packages.

    Raises:
        BadInput: says what it lacks, and how to install it.
    """
    if node.facts is None:
        return
    wanted = requirements.required(options.more["require"], requirements.read(options.folder, scan.manifest))
    if not wanted:
        return
    from discomputify_core.cluster.requirements import (
        lacking,
    )  # costs time to import, and few programs require anything

    lacks = lacking(node.facts, wanted)
    if lacks:
        said = "; ".join(f"{lack.text}: there is {lack.has}" for lack in lacks)
        raise BadInput(
            f"This machine alone does not have what the program requires ({said}). Install it for the interpreter that "
            f"runs parts here, {node.facts.interpreter}, or set PYTHON in a conf to one that has it."
        )


async def _plan(client: Client, options: Options) -> int:
    plan = await client.plan(options.folder)
    if options.wishes.as_json:
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
