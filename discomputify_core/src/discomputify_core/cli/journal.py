"""The command ``journal``: what the master of this machine has written down, and whether all of it can be read.

Reads only, so it may be used while the master runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from discomputify_core.cli.common import need_conf
from discomputify_core.cli.group import Group
from discomputify_core.cli.output import say, say_json, warn
from discomputify_core.cli.shown import counted, size

if TYPE_CHECKING:
    from discomputify_core.roles.master.journal.recovery import Recovered


@click.group(cls=Group)
def journal() -> None:
    """Look at what the master of this machine has written down."""


@journal.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def info(as_json: bool) -> int:
    """Show where the journal is, how large it is, and what it holds."""
    from discomputify_core.roles.master.journal.checking import look  # costs time to import

    folder = _folder()
    facts = _facts(folder, look(folder))
    if as_json:
        say_json(facts)
        return 0
    say(f"{folder}: format {facts['format']}, {size(facts['bytes'])}")
    say(
        f"  {counted(facts['segments'], 'segment')} with {counted(facts['records'], 'record')} after the newest of "
        f"{counted(len(facts['snapshots']), 'snapshot')}"
    )
    say(f"  {counted(facts['jobs'], 'job')}, {facts['jobs_not_ended']} not ended; {facts['parts_done']} parts done")
    return 0


@journal.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def verify(as_json: bool) -> int:
    """Read all of the journal, and say what of it is damaged. Exits with 1 if anything is."""
    from discomputify_core.roles.master.journal.checking import check  # costs time to import

    folder = _folder()
    found = check(folder)
    damage = [each for each in found.damage if not each.torn]
    if as_json:
        say_json(
            {
                **_facts(folder, found),
                "damage": [{**attrs.asdict(each), "path": str(each.path), "said": str(each)} for each in found.damage],
                "does_not_fit": found.faults,
                "touched": found.touched,
            }
        )
    else:
        for each in found.damage:
            (say if each.torn else warn)(str(each))
        for fault in found.faults:
            warn(fault)
        for job, what in found.touched.items():
            warn(f"the job '{job}' may have lost something: {what}")
        if not damage and not found.faults:
            beside = "a snapshot and " if found.snapshot else ""
            say(f"{folder}: {beside}{counted(found.records, 'record')}, all of which can be read")
    return 1 if damage or found.faults else 0


def _folder() -> Path:
    from discomputify_core.edge.connect import master_address  # costs time to import
    from discomputify_core.errors import BadInput
    from discomputify_core.roles.master.journal import folder

    conf = need_conf().conf
    found = folder.place(conf.master_path, master_address(conf), make=False)
    if not found.is_dir():
        raise BadInput(f"There is no journal in {found}: no master with this conf has run on this machine.")
    return found


def _facts(folder: Path, found: Recovered) -> dict[str, Any]:
    from discomputify_core.model.job import PartState  # costs time to import
    from discomputify_core.roles.master.journal import format as bytes_of
    from discomputify_core.roles.master.journal import reading, snapshots

    segments, kept = reading.segments(folder), snapshots.paths(folder)
    jobs = found.state.jobs.values()
    return {
        "folder": str(folder),
        "format": bytes_of.FORMAT,
        "bytes": sum(segment.size for segment in segments) + sum(path.stat().st_size for path in kept),
        "segments": len(segments),
        "records": found.records,
        "next_record": found.next,
        "snapshots": [path.name for path in kept],
        "snapshot": found.snapshot,
        "jobs": len(jobs),
        "jobs_not_ended": sum(not job.ended for job in jobs),
        "parts_done": sum(job.parts.count(PartState.DONE) for job in jobs),
    }
