"""``discomputify init``: a new conf."""

from __future__ import annotations

import os
from pathlib import Path

import click

from discomputify_core.cli.common import conf_named
from discomputify_core.cli.output import say, warn
from discomputify_core.errors import BadInput, DiskError

#: The shared memory that a new conf names, where it is installed.
MEMORY = "sharedmem"


@click.command()
@click.option(
    "--master", metavar="HOST", default="127.0.0.1", help="Where the master will run (default: this machine)."
)
@click.option("--store", metavar="HOST", help="Where the store will run (default: as the master).")
@click.option("--force", is_flag=True, help="Replace a conf that is there, and its key.")
def init(master: str, store: str | None, force: bool) -> None:
    """Write discomputify_conf.json with a fresh key, to be copied unchanged to every machine."""
    from discomputify_core.edge.conf_file import ENVIRONMENT, write_new  # costs time to import
    from discomputify_core.model.conf import CONF_NAME
    from discomputify_core.plugins.manager import Plugins

    path = (conf_named() or Path(CONF_NAME)).expanduser().absolute()
    if path.is_dir():
        raise BadInput(f"--conf names the folder {path}; it should name a file such as {path / CONF_NAME}.")
    if not path.parent.is_dir():
        raise DiskError(f"The folder {path.parent} does not exist.", path=str(path.parent))
    store = store if store is not None else master
    for option, host in (("--master", master), ("--store", store)):
        _check_host(option, host)
    memory = MEMORY if Plugins.load(tolerant=True).find("shared_mem", MEMORY) else ""
    write_new(path, master, store, force, memory)
    say(f"wrote {path}")
    say("It holds the cluster's key and is readable by you alone; keep it so.")
    say()
    _say_next(master, store, memory)
    if conf_named() is None and os.environ.get(ENVIRONMENT):
        warn(f"{ENVIRONMENT} names another conf ({os.environ[ENVIRONMENT]}), which is used as long as it does.")


def _check_host(option: str, host: str) -> None:
    from discomputify_core.model.conf import Host  # costs time to import
    from discomputify_core.model.conf_kinds import KINDS, Wrong

    try:
        KINDS[Host].take(host)
    except Wrong as error:
        raise BadInput(f"{option}: {str(error) or f'expected a host name or address, got {host!r}'}") from error


def _say_next(master: str, store: str, memory: str) -> None:
    if master.startswith("127.") or master in ("localhost", "::1"):
        say("What to do next, on this machine:")
        say("  discomputify run all                 all services and a computing node")
        say("  discomputify submit DIR -n 8         run DIR/main.py as 8 parts")
        say("For more machines write the conf again with --master HOST, an address that they all reach.")
        return
    lines = [
        (f"on {master}", "discomputify run master_node"),
        (f"on {store}", "discomputify run ftp_node"),
        *([(f"on {master}", "discomputify run shared_mem_node")] if memory else []),
        ("on every machine that computes", "discomputify run computing_node"),
        ("anywhere", "discomputify submit DIR -n 8"),
    ]
    width = max(len(where) for where, _ in lines)
    say("What to do next: copy the file unchanged to every machine, and in the folder that holds it start")
    for where, command in lines:
        say(f"  {where.ljust(width)}   {command}")
