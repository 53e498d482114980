"""Names of keys in the Redis server. Pure.

All of them have the prefix in braces: a Redis Cluster keeps what has the same text in braces on one of its servers,
and a script can only use keys of one.
"""

from __future__ import annotations

import functools
from urllib.parse import quote

from discomputify_core.model.memory import Scope


def table_key(prefix: str) -> str:
    """Where the name of the table is kept."""
    return f"{{{prefix}}}:table"


def scopes_key(prefix: str) -> str:
    """Where the keys of all scopes are listed."""
    return f"{{{prefix}}}:scopes"


def channel(prefix: str, client: str) -> str:
    """Where a client is told which of its waiters are to look again."""
    return f"{table_key(prefix)}:{client}"


@functools.lru_cache(maxsize=1024)
def keys_of(prefix: str, scope: Scope) -> tuple[str, ...]:
    """The keys of every script that works on *scope*, in the order that lua/base.lua wants."""
    parts = (quote(scope.process_id, safe=""), quote(scope.key, safe=""), str(scope.generation))
    own = f"{{{prefix}}}:scope:" + ":".join(parts)
    return f"{own}:h", f"{own}:x", f"{own}:cleared", table_key(prefix), scopes_key(prefix)
