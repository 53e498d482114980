"""From a service's answer to what the old client is told. Pure. Not here: tokens (cypher1/), waiting (the channel)."""

from __future__ import annotations

from typing import Any

import attrs

from discomputify_core.errors import OurBug, PeerBroke
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.old_clients import MISSED, OldAnswer, OldRequest
from discomputify_tcp.cypher1 import Content


def plain_request(request: Content) -> Any:
    """*request* as the data of a message to a service."""
    return to_plain(OldRequest(request.path, request.operation, request.data, request.metadata))


def missed(request: Content) -> Content:
    """What a service is told of *request*, which is refused because it may have been done before."""
    return attrs.evolve(request, operation=MISSED, data=[request.operation, request.data])


def answer_to(request: Content, data: Any) -> Content:
    """What the *data* of a service's answer to *request* is in the old protocol: the request, with DATA replaced, and
    METADATA where the answer has any.

    Raises:
        OurBug: it is no answer to an old client.
    """
    if isinstance(data, dict) and isinstance(data.get("error"), dict):
        return no(request, str(data["error"].get("message", "")))
    found = data.get("ok") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise _no_answer(request, "no data")
    try:
        answer = from_plain(found, OldAnswer)
    except PeerBroke as error:
        raise _no_answer(request, str(error)) from error
    return attrs.evolve(request, data=answer.data, metadata=answer.metadata or request.metadata)


def _no_answer(request: Content, why: str) -> OurBug:
    return OurBug(f"'{request.operation[:60]}' of an old client was answered with something else: {why}.")


def no(request: Content, reason: str) -> Content:
    """The old protocol's negative answer to *request*."""
    return attrs.evolve(request, data="NONE", metadata={"ERROR": reason})


def weight(content: Content) -> int:
    """About how many bytes *content* takes, at a glance."""
    data = content.data
    if isinstance(data, str):
        return len(data)
    if isinstance(data, (list, dict)):
        return 32 * len(data) + sum(len(item) for item in list(data)[:8] if isinstance(item, str))
    return 0
