"""Which protocol a client speaks, from the first byte that it sends. Pure."""

from __future__ import annotations

#: First byte -> version of CYPHER: a Fernet token begins with "g", the preamble of version 2 with "C".
_FIRST = {0x67: 1, 0x43: 2}


def sniff(first: int) -> int | None:
    """The version of CYPHER that begins with the byte *first*; None where no version does."""
    return _FIRST.get(first)
