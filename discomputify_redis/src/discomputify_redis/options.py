"""The section "redis" of the conf: where the server is, what our keys there are called, and the limits of a job."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import attrs
from redis.asyncio.connection import parse_url

from discomputify_core.model.conf import Count, Size, key
from discomputify_core.model.memory import Limits

_DEFAULTS = Limits()
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
#: Redis itself takes no string over 512 MiB.
_MOST_VALUE = 256 * 1024 * 1024


@attrs.frozen(kw_only=True)
class RedisOptions:
    """What the section "redis" of the conf may say."""

    url: str = key(
        "redis://127.0.0.1:6379/0",
        doc="Where the Redis server is: redis://, rediss:// (TLS) or unix://; with user and password if need be.",
        secret=True,
    )
    prefix: str = key("discomputify", doc="What the names of all keys begin with; equal on all machines of a cluster.")
    job_bytes: Size = key(Size(_DEFAULTS.job_bytes), doc="Bytes of all shared entries of a job.")
    job_entries: Count = key(
        Count(_DEFAULTS.job_entries), doc="Shared entries and locks of a job; also values of all its lists together."
    )
    value_bytes: Size = key(Size(_DEFAULTS.value_bytes), doc="Bytes of one shared value.", most=_MOST_VALUE)
    history_bytes: Size = key(
        Size(_DEFAULTS.history_bytes), doc="Bytes of results of complete rounds, kept for parts that run again."
    )
    history_rounds: Count = key(Count(_DEFAULTS.history_rounds), doc="How many results of complete rounds are kept.")

    @property
    def limits(self) -> Limits:
        """The limits of one scope."""
        return Limits(
            job_bytes=self.job_bytes,
            job_entries=self.job_entries,
            value_bytes=self.value_bytes,
            history_bytes=self.history_bytes,
            history_rounds=self.history_rounds,
        )

    @property
    def where(self) -> str:
        """The server for people: no user, no password."""
        parts = urlsplit(self.url)
        return parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"

    def problems(self) -> list[str]:
        """What cannot be used, one sentence each, as ``SharedMemory.check`` wants it. Never shows the URL."""
        found = [] if _PREFIX.fullmatch(self.prefix) else [_WRONG_PREFIX]
        return found if _is_url(self.url) else [*found, _WRONG_URL]


_WRONG_PREFIX = "expected 1 to 64 letters, digits, '.', '_', ':' or '-' @ redis.prefix"
_WRONG_URL = (
    "expected the address of a Redis server, such as redis://:PASSWORD@HOST:6379/0, "
    "with rediss:// for TLS or unix:// for a socket @ redis.url"
)


def _is_url(url: str) -> bool:
    try:
        parse_url(url)
        parts = urlsplit(url)
        port_or_none = parts.port
    except (ValueError, TypeError):
        return False
    if parts.scheme == "unix":
        return bool(parts.path)
    return bool(parts.hostname) and port_or_none != 0 and re.fullmatch(r"/?|/\d{1,9}", parts.path) is not None
