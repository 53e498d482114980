"""Hosts on a network of their own: network namespaces on one bridge, made and removed by the test.

Here: hosts, links between them, and what can go wrong with these. Needs Linux, root, iproute2, and nftables for hosts
that take no connections; tests are skipped with the reason where that is not to be had. Not here: what runs on hosts.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

#: Seconds for one command that changes the network.
PROMPT = 20.0
#: The most hosts of one network.
MOST_HOSTS = 8


class Host:
    """A host: a network namespace with one interface, ``eth0``."""

    def __init__(self, network: Network, number: int) -> None:
        self._network = network
        self.namespace = f"{network.name}-{number}"
        self.address = f"10.213.77.{number}"
        self._port = f"port{number}"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command line begins with that is to run here."""
        return ("ip", "netns", "exec", self.namespace)

    def plug_in(self) -> None:
        """Make the namespace, and connect it to the bridge."""
        hub, near = self._network.hub, f"v{self._network.tag}{self._port[4:]}"
        ip("netns", "add", self.namespace)
        ip("link", "add", near, "netns", hub, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        ip("-n", hub, "link", "set", near, "name", self._port)
        ip("-n", hub, "link", "set", self._port, "master", "bridge", "up")
        ip("-n", self.namespace, "address", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.namespace, "link", "set", device, "up")

    def link(self, up: bool) -> None:
        """Pull the cable, or put it back. Nobody is told."""
        ip("-n", self._network.hub, "link", "set", self._port, "up" if up else "down")

    def lose_all_to(self, other: Host) -> None:
        """What this host sends to *other* is lost from now on; the other way is as it was."""
        ip("-n", self.namespace, "route", "add", "blackhole", f"{other.address}/32")

    def reach_again(self, other: Host) -> None:
        """Undo :meth:`lose_all_to`."""
        ip("-n", self.namespace, "route", "delete", "blackhole", f"{other.address}/32")

    def slow_down(self, rate: str) -> None:
        """Let at most *rate* (``1mbit``) pass, in either direction."""
        for namespace, device in ((self.namespace, "eth0"), (self._network.hub, self._port)):
            shape = ("root", "tbf", "rate", rate, "burst", "32kbit", "latency", "400ms")
            _done("tc", "-n", namespace, "qdisc", "replace", "dev", device, *shape)

    def speed_up(self) -> None:
        """Undo :meth:`slow_down`."""
        for namespace, device in ((self.namespace, "eth0"), (self._network.hub, self._port)):
            _done("tc", "-n", namespace, "qdisc", "delete", "dev", device, "root")

    def take_no_connections(self) -> None:
        """From now on nothing reaches this host but answers, as behind a router that translates addresses."""
        if shutil.which("nft") is None:
            pytest.skip("nft is not installed (Debian: nftables)")
        rules = (
            "add table inet nat_like",
            "add chain inet nat_like input { type filter hook input priority 0; policy drop; }",
            "add rule inet nat_like input ct state established,related accept",
            'add rule inet nat_like input iif "lo" accept',
        )
        try:
            for rule in rules:
                _done(*self.prefix, "nft", rule)
        except RuntimeError as error:
            pytest.skip(f"connections cannot be filtered here: {error}")


class Network:
    """Hosts on one bridge. Use :func:`network`."""

    def __init__(self) -> None:
        self.tag = secrets.token_hex(3)
        self.name = f"net{self.tag}"
        self.hub = f"{self.name}-hub"
        self.hosts: list[Host] = []

    def open(self, hosts: int) -> None:
        """Make everything."""
        ip("netns", "add", self.hub)
        ip("-n", self.hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.hub, "link", "set", "bridge", "up")
        for number in range(1, hosts + 1):
            host = Host(self, number)
            self.hosts.append(host)
            host.plug_in()

    def close(self) -> None:
        """Remove everything; interfaces go with their namespaces."""
        for namespace in (*(host.namespace for host in self.hosts), self.hub):
            with contextlib.suppress(RuntimeError):
                ip("netns", "delete", namespace)


@contextlib.contextmanager
def network(hosts: int) -> Iterator[list[Host]]:
    """*hosts* hosts that reach each other; a test is skipped where they cannot be made."""
    if not 1 <= hosts <= MOST_HOSTS:
        raise ValueError(f"a network here has 1 to {MOST_HOSTS} hosts")
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("network namespaces need Linux and root")
    if shutil.which("ip") is None or shutil.which("tc") is None:
        pytest.skip("ip and tc are not installed (Debian: iproute2)")
    made = Network()
    try:
        try:
            made.open(hosts)
        except RuntimeError as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        yield made.hosts
    finally:
        made.close()


def ip(*args: str) -> None:
    """``ip ARGS``.

    Raises:
        RuntimeError: with what it printed.
    """
    _done("ip", *args)


def _done(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PROMPT, check=False)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ran.stderr.strip() or ran.stdout.strip() or ran.returncode}")
