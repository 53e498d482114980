"""What a request of an old client (CYPHER/1) is to a service: the seam between transports and services.

A transport that serves old clients hands each of their requests on as a message with the operation
:data:`OLD_REQUEST`, from a peer of the role :data:`OLD_CLIENT`; a service that knows their operations answers it with
an :class:`OldAnswer`. Not here: the wire format (the transport's), what the operations do (each service's).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

#: Operation of a message that holds an :class:`OldRequest`.
OLD_REQUEST = "old.request"
#: Role of a peer that speaks CYPHER/1: nothing else can send :data:`OLD_REQUEST`.
OLD_CLIENT = "old_client"
#: Operation of an :class:`OldRequest` that the transport makes: its client was told no, since nobody knows whether its
#: request, made before the service was started, was done by then. DATA is [operation, DATA] of that request, which must
#: not be done now. Old clients go on in spite of a no, so a service may have to remember what it lacks.
MISSED = "MISSED"


@attrs.frozen
class OldRequest:
    """A request as its client wrote it; only the types of these fields have been checked."""

    path: str
    operation: str
    #: Anything that JSON holds.
    data: Any = None
    metadata: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class OldAnswer:
    """What replaces the request's DATA and METADATA in the answer. Both hold what JSON can."""

    data: Any = None
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
