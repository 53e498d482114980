"""What this machine is and has: CPUs, memory, names, addresses, who runs us.

Here: facts. Not here: disks and folders (places.py), what a node makes of the facts (roles/facts.py).
"""

from __future__ import annotations

import functools
import getpass
import ipaddress
import os
import platform
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """How many CPUs this process may use: its affinity, and on Linux its control group's quota; at least 1."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    quotas = [quota for text in _limits("cpu.max") if (quota := cpu_quota(text)) is not None]
    return min([len(os.sched_getaffinity(0)), *quotas])


def memory() -> int:
    """Bytes of memory that this process may use: the machine's, or on Linux its control group's limit."""
    import psutil  # some commands never ask for it

    total: int = psutil.virtual_memory().total
    if sys.platform == "linux":
        limits = [int(text) for text in _limits("memory.max") if text.isdigit()]
        total = min([total, *limits])
    return total


def memory_left() -> tuple[int, int]:
    """Bytes of memory that are available just now, and in all: of the machine, or of a control group with less left."""
    import psutil  # some commands never ask for it

    machine = psutil.virtual_memory()
    left, total = machine.available, machine.total
    if sys.platform == "linux":
        # Own group first and the top one last, which has no limit and may lack some of these files.
        for most, used, stat in zip(*map(_limits, ("memory.max", "memory.current", "memory.stat")), strict=False):
            if most.isdigit() and used.isdigit():
                cached = re.search(r"^inactive_file (\d+)$", stat, re.MULTILINE)  # given back when it is needed
                left = min(left, int(most) - int(used) + int(cached[1] if cached else 0))
                total = min(total, int(most))
    return max(left, 0), total


def cpu_quota(text: str) -> int | None:
    """The CPUs that a ``cpu.max`` file grants, part of one counting as one; None where it sets no limit."""
    quota, _, period = text.partition(" ")
    if not quota.isdigit() or not period.isdigit() or not int(period):
        return None
    return max(1, -(-int(quota) // int(period)))


def _limits(name: str) -> Iterator[str]:
    """The content of the file *name* of this process's control group (version 2) and of each above it."""
    try:
        lines = OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    inside = next((line[3:] for line in lines if line.startswith("0::")), "/")
    folder = CGROUPS / inside.lstrip("/")
    # Inside a container the path may name a place outside of what is mounted: then only the top counts.
    folders = [folder, *folder.parents] if folder.is_dir() and ".." not in folder.parts else [CGROUPS]
    for each in folders:
        if each == CGROUPS or CGROUPS in each.parents:
            try:
                yield (each / name).read_text(encoding="utf-8").strip()
            except OSError:
                continue


def host_name() -> str:
    """This machine's name, or "localhost" where it has none."""
    return socket.gethostname() or "localhost"


def user_name() -> str:
    """Who runs this process; its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # no entry in the user database, as in many containers
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def owner() -> str:
    """``user@host``, as every job records it."""
    return f"{user_name()}@{host_name()}".encode(errors="replace").decode()


def is_root() -> bool:
    """Whether this process runs as root (never on Windows)."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


@functools.lru_cache(maxsize=1)
def architecture() -> str:
    """The processor's architecture as the system names it."""
    return platform.machine()


def own_addresses() -> frozenset[str]:
    """The addresses of this machine's network interfaces, as text, without IPv6 zones."""
    import psutil  # some commands never ask for it

    families = (socket.AF_INET, socket.AF_INET6)
    return frozenset(
        each.address.partition("%")[0]
        for interface in psutil.net_if_addrs().values()
        for each in interface
        if each.family in families
    )


def is_own(address: str, own: frozenset[str]) -> bool:
    """Whether *address* is one of this machine's, *own* being what :func:`own_addresses` gave.

    All of 127.0.0.0/8 is, save on macOS and the BSDs, where only configured addresses are.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if str(found) in own or found.compressed in own:
        return True
    return found.version == 4 and found.is_loopback and sys.platform in ("linux", "win32")
