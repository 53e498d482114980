"""The section ``"tcp"`` of the conf. Nothing else."""

from __future__ import annotations

import attrs

from discomputify_core.model.conf import key


@attrs.frozen(kw_only=True)
class TcpOptions:
    """What a conf may say under ``"tcp"``."""

    allow_published_key: bool = key(
        False, doc="Accept the example key of the old package's README, which everybody knows. For trials only."
    )
    cypher1: bool = key(
        False, doc="Serve clients of the old package too, over their weaker protocol (CYPHER/1), at the same ports."
    )
