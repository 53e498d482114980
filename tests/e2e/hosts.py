"""A cluster whose roles run on hosts of their own: network namespaces that a test cuts, slows and fences off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .cluster_kit import Cluster
from .network_kit import Host


class Hosts(Cluster):
    """A master with the store on the first host, a computing node on each other one, commands on the first."""

    def __init__(self, folder: Path, hosts: list[Host], **conf: Any) -> None:
        first, *others = hosts
        services = ("FTP", "QUERY", "MASTER", "SHARED_MEM")
        where: dict[str, Any] = {f"{service}_NODE": first.address for service in services}
        where.update({f"{service}_PORT": 21111 + number for number, service in enumerate(services)})
        super().__init__(folder, tuple(host.address for host in others), **{**where, **conf})
        self.hosts = {host.address: host for host in hosts}
        self.first = first
        self.on_host[self.write_conf("client")] = first.prefix

    def write_conf(self, name: str, **keys: Any) -> Path:
        """As in any cluster; what uses this conf runs on its host."""
        path = super().write_conf(name, **keys)
        if hasattr(self, "hosts"):
            self.on_host[path] = self.hosts.get(name, self.first).prefix
        return path
