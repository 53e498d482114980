"""What ``discomputify doctor`` looks at: conf, addresses, services, key, disks, versions; each with its fix."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import attrs

from discomputify_core import __version__
from discomputify_core.client.client import NEEDED, Client
from discomputify_core.edge.connect import Connection, hello, master_address, memory_address, store_addresses
from discomputify_core.edge.deadline import within
from discomputify_core.edge.names import this_machine
from discomputify_core.edge.opening import Loaded, open_conf
from discomputify_core.edge.places import default_folder, disk
from discomputify_core.errors import BadConf, DiscomputifyError, KeysDiffer, PluginMissing, Unreachable, VersionsDiffer
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.memory import Scope
from discomputify_core.model.sizes import size

#: Seconds that a shared memory has to answer.
MEMORY_ANSWER = 5.0
#: Free space below which a disk is told to be nearly full.
NEARLY_FULL = 2_000_000_000


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    #: "ok", "note" or "wrong".
    verdict: str
    what: str
    fix: str = ""


async def examine(named: Path | None) -> list[Finding]:
    """Everything, in the order in which it should be mended."""
    try:
        loaded = await asyncio.to_thread(open_conf, named, (*NEEDED, "shared_mem"), thorough=True)
    except (BadConf, PluginMissing) as error:
        return [Finding("wrong", str(error), "mend the conf, then run doctor again")]
    if loaded is None:
        return [Finding("note", "no conf found: submit runs on this machine only", "discomputify init, for a cluster")]
    found = [Finding("ok", f"conf {loaded.path} ({loaded.found_by})")]
    found += [Finding("note", warning) for warning in loaded.warnings]
    found += await asyncio.to_thread(lambda: [*_disks(loaded), *_versions(loaded)])
    async with Client(loaded) as client:
        found += [each async for each in _master(client, loaded)]
        found += [each async for each in _store(client, loaded)]
    found += [each async for each in _memory(loaded)]
    return found


def _disks(loaded: Loaded) -> Iterator[Finding]:
    conf = loaded.conf
    places = {
        "WORK_PATH": Path(conf.work_path or default_folder("work")),
        "CACHE_PATH": Path(conf.cache_path or default_folder("cache")),
    }
    if this_machine().owns(conf.ftp_node):
        places["FTP_BASE_PATH"] = Path(conf.ftp_base_path)
    if this_machine().owns(conf.master_node):
        places["MASTER_PATH"] = Path(conf.master_path or default_folder("master"))
    for key, place in places.items():
        try:
            under = disk(place)
        except DiscomputifyError as error:
            yield Finding("wrong", f"{key} {place}: {error}", f"set {key} to a folder that this account can write")
            continue
        about = f"{key} {place}: {size(under.free)} free of {size(under.total)} ({under.kind or 'unknown file system'})"
        if under.network:
            yield Finding("wrong", f"{about}, a network file system", f"set {key} to a folder on a local disk")
        elif under.memory:
            yield Finding("note", f"{about}, in memory: gone after a reboot", f"set {key} to a folder on a disk")
        elif under.free < NEARLY_FULL:
            yield Finding("wrong", f"{about}: nearly full", f"free some space, or set {key} to another disk")
        else:
            yield Finding("ok", about)


def _versions(loaded: Loaded) -> Iterator[Finding]:
    yield Finding("ok", f"discomputify {__version__} here; plugins: {_told(loaded.plugins.versions(loaded.conf))}")


def _told(plugins: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(plugins.items()))


async def _master(client: Client, loaded: Loaded) -> AsyncIterator[Finding]:
    where = f"master_node at {master_address(loaded.conf)}"
    try:
        info = await client.info()
        nodes = await client.nodes()
    except DiscomputifyError as error:
        yield _unreached(where, error, "discomputify run master_node")
        return
    yield Finding(
        "ok",
        f"{where}: discomputify {info.version}, scheduler {info.scheduler}, {info.jobs} jobs; "
        f"plugins: {_told(info.plugins)}; keys and protocol match",
    )
    if info.store:
        yield Finding("wrong", f"the master cannot use the store: {info.store}", "start it: discomputify run ftp_node")
    if info.journal:
        yield Finding("wrong", info.journal, "make room there")
    if not any(node.state == "live" for node in nodes):
        yield Finding("wrong", "no computing node is connected", "start one: discomputify run computing_node")
    for node in nodes:
        version = node.facts.version if node.facts else ""
        said = f"computing node {node.name}: {node.state}" + (f", discomputify {version}" if version else "")
        if node.state == "live":
            yield Finding("ok" if not node.reason else "note", said + (f", {node.reason}" if node.reason else ""))
        else:
            yield Finding("note", f"{said}, {node.reason}", "start it there: discomputify run computing_node")


async def _store(client: Client, loaded: Loaded) -> AsyncIterator[Finding]:
    files, query = store_addresses(loaded.conf)
    where = f"store at {files} (query service at {query})"
    try:
        found = await client.store_status()
    except DiscomputifyError as error:
        yield _unreached(where, error, "discomputify run ftp_node")
        return
    about = f"{where}: version {found.version}, {size(found.free)} free of {size(found.total)} in {found.place}"
    if found.warning:
        yield Finding(
            "note", f"{about}; {found.warning}", "set FTP_BASE_PATH on that machine to a folder on a local disk"
        )
    elif found.free < NEARLY_FULL:
        yield Finding(
            "wrong", f"{about}: nearly full", "free some space there, or clear old jobs: discomputify clear ID"
        )
    else:
        yield Finding("ok", about)


async def _memory(loaded: Loaded) -> AsyncIterator[Finding]:
    connection = Connection(loaded, hello("client"))
    memory = connection.memory()
    if memory is None:
        return
    where = f"shared memory '{loaded.conf.shared_mem}'"
    if memory.role:
        where += f" at {memory_address(loaded.conf)}"
    try:
        await within(MEMORY_ANSWER, memory.look(Scope(ProcessId("doctor"), "")))
        yield Finding("ok", f"{where} answers")
    except asyncio.TimeoutError:
        late = Unreachable(f"no answer within {MEMORY_ANSWER:.0f} s")
        yield _unreached(where, late, f"discomputify run {memory.role}" if memory.role else "its server")
    except DiscomputifyError as error:
        yield _unreached(where, error, f"discomputify run {memory.role}" if memory.role else "its server")
    finally:
        await memory.close()
        await connection.close()


def _unreached(where: str, error: DiscomputifyError, start: str) -> Finding:
    if isinstance(error, KeysDiffer):
        return Finding("wrong", f"{where}: {error}", "copy one conf to all machines unchanged")
    if isinstance(error, VersionsDiffer):
        return Finding("wrong", f"{where}: {error}", "install the same version on all machines")
    if isinstance(error, Unreachable):
        return Finding("wrong", f"{where}: {error}", f"start it there ({start}); look at firewalls")
    return Finding("wrong", f"{where}: {error}")
