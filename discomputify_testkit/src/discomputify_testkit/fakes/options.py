"""The section "memory" of the conf, shared by all fakes."""

from __future__ import annotations

import attrs

from discomputify_core.model.conf import key


@attrs.frozen
class MemoryOptions:
    """Fakes of one *space* know each other; two clusters inside one process use two."""

    space: str = key("default", doc="Name of the network and the store inside this process.")
