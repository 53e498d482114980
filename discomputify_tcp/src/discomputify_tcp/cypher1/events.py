"""What the codec reports, and what it is given to send. Frozen values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Union

import attrs


@attrs.frozen
class Content:
    """What a request or an answer says. The defaults are those of the old package's client."""

    path: str = "/"
    operation: str = "NONE"
    #: Anything that JSON holds.
    data: Any = attrs.field(factory=dict)
    metadata: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Received:
    """A message that is authentic and of this time.

    ``digest`` is the same for each arrival of one token, and differs between tokens. ``made_at``: seconds of the epoch.
    """

    content: Content
    digest: bytes
    made_at: int


@attrs.frozen
class Declined:
    """A message that is authentic and must not be acted on; ``reason`` is a sentence for its sender.

    ``missed``: the reason is that nobody knows whether it was done before.
    """

    content: Content
    made_at: int
    reason: str
    missed: bool = False


Event = Union[Received, Declined]
