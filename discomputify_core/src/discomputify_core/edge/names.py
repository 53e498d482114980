"""Names and addresses: what a computing node is called, and which names in a conf would lead nowhere.

Here: the rules, as functions of a conf, this machine's names and a resolver; and the resolver. Not here: the conf's
syntax (model/conf_kinds.py), binding and dialling (the transport).
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable

import attrs

from discomputify_core.edge.machine import host_name, is_own, own_addresses
from discomputify_core.model.conf import Conf
from discomputify_core.model.conf_fields import Problem
from discomputify_core.model.ids import NodeName, check_node_name

Resolve = Callable[[str], tuple[str, ...]]
"""The addresses of a host name (of an address: itself); none where it is not known in time."""

#: Names that mean this machine to everybody: who writes one wants this machine.
LOCAL = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


@attrs.frozen
class Here:
    """This machine as the rules see it; tests make their own."""

    name: str
    resolve: Resolve
    #: Asked only where a rule needs it.
    addresses: Callable[[], frozenset[str]]

    def owns(self, host: str) -> bool:
        """Whether *host*, a name or an address, is this machine."""
        if host.casefold() in (self.name.casefold(), self.name.partition(".")[0].casefold()):
            return True
        return any(is_own(address, self.addresses()) for address in self.resolve(host))

    def loopback(self, host: str) -> bool:
        """Whether *host* leads to the loopback interface, and nowhere else."""
        found = self.resolve(host)
        return bool(found) and all(is_loopback(address) for address in found)

    def remote(self, host: str) -> bool:
        """Whether *host* is known and leads off the loopback interface."""
        return any(not is_loopback(address) for address in self.resolve(host))


def this_machine(budget: float = 10.0) -> Here:
    """The machine that this process runs on. Each name is resolved once, all of them within *budget* seconds."""
    known: dict[str, tuple[str, ...]] = {}
    end = time.monotonic() + budget

    def resolve_once(host: str) -> tuple[str, ...]:
        if host not in known:
            known[host] = resolve(host, min(5.0, max(0.0, end - time.monotonic())))
        return known[host]

    return Here(host_name(), resolve_once, functools.lru_cache(maxsize=1)(own_addresses))


def resolve(host: str, timeout: float = 5.0) -> tuple[str, ...]:
    """The addresses of *host*; none where nothing answers within *timeout* seconds."""
    if is_address(host):
        return (host,)
    answer: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()

    def ask() -> None:
        found: list[str] = []
        with contextlib.suppress(OSError, UnicodeError):
            for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
                found.append(str(address[0]))
        answer.put(tuple(dict.fromkeys(found)))

    # The system's resolver knows no deadline: it is left behind in a thread that ends with the process.
    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    try:
        return answer.get(timeout=timeout)
    except queue.Empty:
        return ()


def is_address(host: str) -> bool:
    """Whether *host* is an address rather than a name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Whether *address* is one of the loopback interface (127.0.0.0/8, ::1)."""
    return is_address(address) and ipaddress.ip_address(address.partition("%")[0]).is_loopback


def node_name(conf: Conf, here: Here, said: str | None = None) -> NodeName:
    """What this machine's computing node is called.

    *said* (``--name``); else COMP_NODE, unless that is loopback while the master is not; else the first of
    COMPUTING_NODES that is this machine, under the same condition; else the host name.

    Raises:
        BadInput: the name cannot be used.
    """
    if said:
        return check_node_name(said)
    near = here.loopback(conf.master_node)
    if conf.comp_node is not None and (near or not here.loopback(conf.comp_node)):
        return check_node_name(conf.comp_node)
    for name in filter(here.owns, conf.computing_nodes):
        # Many systems give their own host name the address 127.0.1.1: as a node's name it is good all the same.
        if near or not here.loopback(name) or not (is_address(name) or name.casefold() in LOCAL):
            return check_node_name(name)
    return check_node_name(here.name)


def check_services(conf: Conf, here: Here) -> tuple[list[Problem], list[str]]:
    """Services whose host leads to loopback although the cluster spans machines: mistakes, and warnings.

    A *name* that does so is a mistake, most often a line of /etc/hosts. An address that does was meant
    (a tunnel, a test), so that it is only a warning.
    """
    problems, warnings = [], []
    for key, host in _services(conf):
        if not here.loopback(host):
            continue
        (address, *_) = here.resolve(host)
        elsewhere = _elsewhere(conf, here, key)
        if is_address(host):
            if elsewhere and key != "MASTER_NODE":
                warnings.append(f"{key} is {host}, which means each machine itself, while {elsewhere} @ {key}")
        elif elsewhere:
            problems.append(Problem(key, f"{_leads(host, address)}, while {elsewhere}; {_fix(host, address)}"))
        elif host.casefold() not in LOCAL:
            warnings.append(f"{_leads(host, address)}; for more than one machine {_fix(host, address)} @ {key}")
    return problems, warnings


def _services(conf: Conf) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = [("MASTER_NODE", conf.master_node), ("FTP_NODE", conf.ftp_node)]
    if conf.query_node is not None:
        found.append(("QUERY_NODE", conf.query_node))
    if conf.shared_mem is not None and conf.shared_mem_node is not None:
        found.append(("SHARED_MEM_NODE", conf.shared_mem_node))
    return found


def _elsewhere(conf: Conf, here: Here, key: str) -> str:
    """What of the cluster is surely on another machine than *key*, for a message; "" if nothing is."""
    if key != "MASTER_NODE":
        return f"the master is elsewhere ({conf.master_node})" if here.remote(conf.master_node) else ""
    for other, host in [*_services(conf)[1:], *(("COMPUTING_NODES", host) for host in conf.computing_nodes)]:
        if here.remote(host) and not here.owns(host):
            return f"{other} has another machine ({host})"
    return ""


def _leads(host: str, address: str) -> str:
    return f"{host!r} leads to {address} on this machine, which no other machine reaches"


def _fix(host: str, address: str) -> str:
    return f"write the machine's network address instead, or take {host!r} off the line {address} of the hosts file"
