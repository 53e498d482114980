"""The folder of the journal: where it is, that one master alone uses it, and that it is on a disk of this machine."""

from __future__ import annotations

import re
from pathlib import Path

from discomputify_core.edge.places import default_folder, disk, made_default_folder
from discomputify_core.errors import BadConf, DiskError
from discomputify_core.interfaces.transport import Address
from discomputify_core.roles.node.disk import FolderLock

KEY = "MASTER_PATH"


def place(named: str | None, address: Address, *, make: bool = True) -> Path:
    """The folder in which the master at *address* writes things down.

    Args:
        named: what the conf says; None: a folder of this user on this host.
        make: whether it is made where it is not there; looking at a journal makes nothing.

    Raises:
        BadConf: it is on a network file system.
        DiskError: it cannot be made.
    """
    usual = made_default_folder if make else default_folder
    base = Path(named) if named is not None else usual("master")
    # Two clusters of one user, or one conf key for several masters, must not meet.
    folder = base / re.sub(r"[^A-Za-z0-9._-]", "_", f"{address.host}_{address.port}")
    under = disk(folder)
    if under.network:
        raise BadConf(
            f"{folder} is on a network file system ({under.kind} at {under.mount}), which can lose or tear what the "
            f"master writes down. Set {KEY} in the master's conf to a folder on a disk of its machine.",
            problems=[f"{KEY}: {folder} is on a network file system ({under.kind})"],
            path=str(folder),
        )
    if make:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(
                f"The folder {folder} cannot be made: {error.strerror or error}. Set {KEY} in the master's conf to a "
                "folder that this account may write to.",
                path=str(folder),
            ) from error
    return folder


def lock(folder: Path) -> FolderLock:
    """Keep *folder* for this process.

    Raises:
        BadConf: another master has it.
        DiskError: it cannot be used.
    """
    held = FolderLock(folder, KEY)
    try:
        held.take()
    except BadConf as error:
        raise BadConf(
            f"The folder {folder} is in use by another master of this machine. Stop that one, or set another {KEY} "
            "in this one's conf.",
            problems=[f"{KEY}: {folder} is in use by another master"],
            path=str(folder),
        ) from error
    return held
