"""``discomputify resubmit ID [DIR]``: the parts of an ended job that are not done, with the program as it is now."""

from __future__ import annotations

from pathlib import Path

import click

from discomputify_core.cli import common
from discomputify_core.cli.progress import Display
from discomputify_core.cli.watching import Wishes, on_cluster, run
from discomputify_core.client.client import NEEDED, Client
from discomputify_core.client.results import Submitted
from discomputify_core.model.ids import check_process_id


@click.command()
@click.argument("process_id", metavar="ID")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path(), metavar="D", help="Where outputs go, default here."
)
@click.option("--detach", is_flag=True, help="Return as soon as the job is accepted.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def resubmit(process_id: str, folder: Path | None, out: Path, detach: bool, as_json: bool) -> int:
    """Run those parts of an ended job again that are not done, with the program in DIR (default: as it was uploaded).

    Outputs that are finished stay. Options, arguments and limits are those that the job was submitted with.
    """
    pid = check_process_id(process_id)

    async def bring(client: Client, display: Display) -> Submitted:
        return await client.resubmit(
            pid,
            folder,
            moved=display.uploaded,
            scanned=lambda scan: display.uploading(scan.manifest.size),
        )

    wishes = Wishes(pid, out, detach, as_json)
    return on_cluster(common.need_conf(NEEDED), pid, lambda client: run(client, wishes, bring))
