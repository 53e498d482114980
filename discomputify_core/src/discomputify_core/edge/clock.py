"""The clock and chance of this process. Pure code gets what these return as arguments."""

from __future__ import annotations

import secrets
import time


def now() -> float:
    """Seconds that only grow, for leases and deadlines; meaningless on another machine."""
    return time.monotonic()


def wall() -> float:
    """Unix time in seconds, for people; may jump."""
    return time.time()


def token(size: int = 8) -> str:
    """*size* random bytes as lower-case hex."""
    return secrets.token_hex(size)


def random_bytes(size: int) -> bytes:
    """*size* random bytes."""
    return secrets.token_bytes(size)


def new_process_id() -> str:
    """The default process id: microseconds since the epoch, as in the seed."""
    return str(time.time_ns() // 1000)


def jittered(seconds: float) -> float:
    """*seconds* times a random factor between 0.5 and 1, so that many peers do not come back at once."""
    return seconds * (0.5 + secrets.randbelow(1_000_000) / 2_000_000)
