"""The class MASTER_NODE: knows jobs and nodes, and decides what runs where."""

from __future__ import annotations

from DISCOMPUTIFY.hosting import HostedRole
from discomputify_core.edge.opening import Loaded
from discomputify_core.roles.starting import CORE_ROLES, Role, master_role


class MASTER_NODE(HostedRole):
    """The master of the cluster."""

    KINDS = CORE_ROLES["master_node"]

    def _made(self, loaded: Loaded) -> Role:
        return master_role(loaded)
