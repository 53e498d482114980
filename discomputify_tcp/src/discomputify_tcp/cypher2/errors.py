"""What the codec raises besides ``PeerBroke`` itself. Not here: errors that the transport makes of these."""

from __future__ import annotations

from discomputify_core.errors import PeerBroke


class CannotOpen(PeerBroke):
    """A handshake message that does not open with our key: the peer holds another one, or is something else."""


def broke(clause: str, text: str) -> PeerBroke:
    """The error for a peer that broke *clause* ("handshake.2", "frames"…) of CYPHER/2."""
    return PeerBroke(f"{text} (CYPHER/2, {clause})", clause=clause)
