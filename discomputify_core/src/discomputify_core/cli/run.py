"""``discomputify run ROLE``: a role of this machine, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from discomputify_core.cli import common
from discomputify_core.cli.output import note, say, warn
from discomputify_core.edge.connect import (
    MEMORY_ROLE,
    STORE_ROLE,
    keys_of,
    master_address,
    memory_address,
    store_addresses,
)
from discomputify_core.edge.machine import is_root
from discomputify_core.edge.names import Here, this_machine
from discomputify_core.edge.opening import Loaded
from discomputify_core.errors import AddressInUse, BadInput, PluginMissing, Unreachable
from discomputify_core.interfaces.transport import Address
from discomputify_core.roles.log_setup import set_up
from discomputify_core.roles.starting import (
    CORE_ROLES,
    SERVICE_KINDS,
    NodeRole,
    Role,
    master_role,
    node_role,
    service_role,
)

log = logging.getLogger("discomputify.run")

#: Seconds after which a node without a master says so.
PATIENCE = 5.0


@click.command()
@click.argument("role", metavar="ROLE")
@click.option("--name", metavar="N", help="The computing node's name (default: from the conf or this machine).")
@click.option("--slots", type=click.IntRange(1), metavar="N", help="CPUs that parts may use (default: SLOTS).")
@click.option("--log-file", type=click.Path(path_type=Path), metavar="F", help="Log there instead of to stderr.")
def run(role: str, name: str | None, slots: int | None, log_file: Path | None) -> int:
    """Run a role of this machine: master_node, computing_node, ftp_node, shared_mem_node, a plugin's, or all.

    Prints "ready: ROLE on ADDRESS" when it serves. Ctrl-C or SIGTERM stops it cleanly; a part that runs then is
    given back and costs nothing.
    """
    loaded, roles = opened(role)
    set_up(loaded.conf.debug1, loaded.conf.debug2, log_file)
    if is_root() and "computing_node" in roles:
        warn(
            "running as root: programs of jobs run as root too. Run nodes under an account of their own "
            "(docs/security.md)."
        )
    asyncio.run(_serve(loaded, roles, name, slots))
    return 0


def opened(role: str) -> tuple[Loaded, Sequence[str]]:
    """The conf with what *role* needs, and the roles to start, in order."""
    if role in CORE_ROLES:
        return common.need_conf(CORE_ROLES[role]), [role]
    if role != "all":
        try:
            return common.need_conf(SERVICE_KINDS, [role]), [role]
        except PluginMissing as error:
            raise BadInput(f"There is no role {role!r}. {error} Core's roles: {', '.join(CORE_ROLES)}, all.") from error
    loaded = common.need_conf()
    roles = here_roles(loaded, this_machine())
    if not roles:
        raise BadInput(
            f"The conf gives this machine no role: MASTER_NODE ({loaded.conf.master_node}), FTP_NODE "
            f"({loaded.conf.ftp_node}) and COMPUTING_NODES are other machines."
        )
    kinds = {kind for each in roles for kind in CORE_ROLES.get(each, SERVICE_KINDS)}
    return common.need_conf(sorted(kinds), [each for each in roles if each not in CORE_ROLES]), roles


def here_roles(loaded: Loaded, here: Here) -> list[str]:
    """The roles of this machine, store first, since the others dial it."""
    conf = loaded.conf
    roles = []
    if here.owns(conf.ftp_node):
        roles.append(STORE_ROLE)
    memory = loaded.memory_role
    if memory and here.owns(conf.shared_mem_node_or_default):
        roles.append(memory)
    if here.owns(conf.master_node):
        roles.append("master_node")
    if not conf.computing_nodes or any(here.owns(name) for name in conf.computing_nodes):
        roles.append("computing_node")
    return roles


async def _serve(loaded: Loaded, names: Sequence[str], name: str | None, slots: int | None) -> None:
    stop = _stop_event()
    started: list[Role] = []
    waiting: list[asyncio.Future[Any]] = []
    try:
        for each in names:
            if stop.is_set():
                break
            role = _made(loaded, each, name, slots)
            started.append(role)
            try:
                addresses = await role.start()
            except AddressInUse as error:
                raise await _all_in_use(loaded, error, names[names.index(each) + 1 :]) from error
            if isinstance(role, NodeRole):
                waiting.append(asyncio.ensure_future(_announce_node(role, loaded)))
            else:
                say(f"ready: {each} on {_named(loaded, each, addresses)}")
        stopped = asyncio.ensure_future(stop.wait())
        waiting.append(stopped)
        while not stopped.done():
            done, _ = await asyncio.wait(
                [task for task in waiting if not task.done()], return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()  # a refused node ends the command
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await _close_all(started)


async def _close_all(started: Sequence[Role]) -> None:
    """Close roles, last first; the trouble of one does not keep the others open."""
    for role in reversed(started):
        try:
            await role.close()
        except Exception:  # said, and the next one is closed
            log.exception("closing %s failed", role.name)


async def _all_in_use(loaded: Loaded, first: AddressInUse, others: Sequence[str]) -> AddressInUse:
    """*first*, and what the services that would have been started next cannot bind, each with its keys."""
    each = _each(first)
    for name in others:
        if name == "computing_node":  # it serves nowhere
            continue
        role = _made(loaded, name, None, None)
        try:
            await role.start()
        except AddressInUse as error:
            each += _each(error)
        finally:
            await role.close()
    said = [f"{text.rstrip('.')} @ {keys_of(loaded.conf, address)}".rstrip(" @") for address, text in each]
    text = said[0] if len(said) == 1 else f"{len(said)} addresses cannot be used:" + "".join(f"\n  {s}" for s in said)
    return AddressInUse(text, each=each)


def _each(error: AddressInUse) -> list[tuple[str, str]]:
    return list(error.fields.get("each") or [(str(error.fields.get("address")), str(error))])


def _made(loaded: Loaded, role: str, name: str | None, slots: int | None) -> Role:
    if role == "master_node":
        return master_role(loaded)
    if role == "computing_node":
        return node_role(loaded, name, slots)
    return service_role(loaded, role)


def _named(loaded: Loaded, role: str, addresses: Sequence[Address]) -> str:
    """The address in the ready line: as the conf writes it, so that people recognise it."""
    conf = loaded.conf
    known = {
        "master_node": master_address(conf),
        STORE_ROLE: store_addresses(conf)[0],
        MEMORY_ROLE: memory_address(conf),
    }
    asked = known.get(role)
    if asked is None or not asked.port:
        return str(addresses[0])
    return str(asked)


async def _announce_node(role: NodeRole, loaded: Loaded) -> None:
    """Say that the node is ready once the master accepted it; without a master say that, and go on waiting."""
    try:
        await role.joined(PATIENCE)
    except Unreachable:
        note(f"no master at {master_address(loaded.conf)} yet; this node joins as soon as there is one")
        await role.joined()
    say(f"ready: computing_node on {role.node.node}")


def _stop_event() -> asyncio.Event:
    """An event that Ctrl-C and SIGTERM set."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows: asyncio takes no handlers there, Python's own do
            with contextlib.suppress(ValueError):
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    return stop
