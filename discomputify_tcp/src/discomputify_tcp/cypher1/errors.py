"""What the codec raises besides ``PeerBroke`` itself. Not here: what the transport makes of these."""

from __future__ import annotations

from discomputify_core.errors import PeerBroke


class CannotOpen(PeerBroke):
    """A token that does not open with our key: it was made with another one, or damaged."""


def broke(clause: str, text: str) -> PeerBroke:
    """The error for a peer that broke *clause* ("token", "text"…) of CYPHER/1."""
    return PeerBroke(f"{text} (CYPHER/1, {clause})", clause=clause)
