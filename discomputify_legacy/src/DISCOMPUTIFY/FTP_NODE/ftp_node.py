"""The class FTP_NODE: keeps programs, inputs and outputs, and answers queries about them."""

from __future__ import annotations

from DISCOMPUTIFY.hosting import HostedRole
from discomputify_core.edge.connect import STORE_ROLE
from discomputify_core.edge.opening import Loaded
from discomputify_core.roles.starting import SERVICE_KINDS, Role, service_role


class FTP_NODE(HostedRole):
    """The store of the cluster, with its query service."""

    KINDS = SERVICE_KINDS
    ROLES = (STORE_ROLE,)

    def _made(self, loaded: Loaded) -> Role:
        return service_role(loaded, STORE_ROLE)
