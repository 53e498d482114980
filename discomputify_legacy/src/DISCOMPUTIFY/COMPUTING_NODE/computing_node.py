"""The class COMPUTING_NODE: runs parts of jobs. It does not wait for the master; it joins as soon as there is one."""

from __future__ import annotations

from DISCOMPUTIFY.hosting import HostedRole
from discomputify_core.edge.opening import Loaded
from discomputify_core.roles.starting import CORE_ROLES, Role, node_role


class COMPUTING_NODE(HostedRole):
    """This machine's computing node."""

    KINDS = CORE_ROLES["computing_node"]

    def _made(self, loaded: Loaded) -> Role:
        return node_role(loaded)
