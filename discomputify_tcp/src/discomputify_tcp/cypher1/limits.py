"""The numbers of CYPHER/1. Nothing else."""

from __future__ import annotations

#: What every token made before the year 2106 begins with, and what follows each.
BEGIN = b"gAAAA"
END = b"\0"

#: Most bytes of a token that is read: room for a file chunk of 6 MiB, in hexadecimal digits, in base64.
MAX_TOKEN = 16 * 1024 * 1024

#: Seconds that a token's time may lie back, and ahead, when it arrives.
MAX_AGE = 600
MAX_AHEAD = 60

#: How deep lists and objects may lie in each other; no operation needs more than 3.
MAX_DEPTH = 64

#: Bytes and number of answers that are remembered.
MAX_KEPT_BYTES = 64 * 1024 * 1024
MAX_KEPT = 100_000
