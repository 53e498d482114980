"""What redis-py raises, as what it means: try again, the server was started again, or an error for the user.

Here: the mapping. Not here: how often and how long something is tried (server.py).
"""

from __future__ import annotations

import asyncio
import errno

from redis import exceptions

from discomputify_core.errors import BadConf, DiscomputifyError, MemoryFull, OurBug, PeerBroke, Refused

#: What may be otherwise in a moment.
PASSING = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
    OSError,
    asyncio.TimeoutError,
)
_LOGIN = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.AuthenticationWrongNumberOfArgsError,
    exceptions.NoPermissionError,
)
#: Beginnings of what a server says that cannot answer just now.
_BUSY = ("BUSY", "LOADING", "MASTERDOWN", "UNKILLABLE", "NOREPLICAS")


class Restarted(exceptions.RedisError):
    """The server is another one than before, or runs anew: what it held for us is lost."""


class Moved(exceptions.RedisError):
    """Another server of the Redis Cluster keeps what has our prefix."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port}")
        self.host, self.port = host, port


def moved(error: Exception) -> Moved | None:
    """Where *error* points to, if it says that a server of a cluster is not the right one."""
    if isinstance(error, exceptions.MovedError):
        return Moved(str(error.host), int(error.port))
    # Older redis-py leaves the words of the server: "MOVED SLOT HOST:PORT".
    host, _, port = str(error).rpartition(" ")[2].rpartition(":")
    return Moved(host, int(port)) if str(error).startswith("MOVED ") and port.isdigit() else None


def for_user(error: Exception, where: str) -> DiscomputifyError | None:
    """What *error* of the server at *where* means to the user; None where it may pass."""
    said = str(error)  # what happens inside a script has no class of its own
    if isinstance(error, _LOGIN) or "NOPERM" in said or "The user executing the script" in said:
        return _bad_conf(
            f"the Redis server at {where} refuses the user or password ({error}); put those that it wants into the URL"
        )
    if isinstance(error, exceptions.ReadOnlyError) or "READONLY You can't write" in said:
        return _bad_conf(f"the Redis server at {where} is a replica, which takes no changes; name its master")
    if isinstance(error, exceptions.OutOfMemoryError) or "OOM command not allowed" in said:
        return MemoryFull(
            f"The Redis server at {where} has no memory left: raise its 'maxmemory', or share less.", limit="maxmemory"
        )
    if isinstance(error, exceptions.InvalidResponse):
        return PeerBroke(f"What answers at {where} is no Redis server.", clause="RESP", address=where)
    if isinstance(error, PASSING) or said.startswith(_BUSY):
        return None
    return _other(said, where)


def _other(said: str, where: str) -> DiscomputifyError:
    if "DB index" in said or "SELECT is not allowed" in said:
        return _bad_conf(f"the Redis server at {where} has no database of that number ({said})")
    if ("user_script" in said and "MISCONF" not in said) or "rror compiling script" in said:
        return OurBug(f"A script of discomputify-redis failed: {said[:400]}")
    return Refused(f"The Redis server at {where} refuses: {said[:400]}", address=where)


def evicting(where: str, policy: str) -> BadConf:
    """That the server throws keys away by itself."""
    return _bad_conf(
        f"the Redis server at {where} throws away any keys when its memory is full (maxmemory-policy {policy}), "
        "so that values would vanish; set 'maxmemory-policy noeviction' there, or use another server"
    )


def _bad_conf(problem: str) -> BadConf:
    text = f"{problem} @ redis.url"
    return BadConf(f"The conf cannot be used: {text}", problems=[text])


def is_refusal(error: BaseException) -> bool:
    """Whether *error* says that nobody listens at the address any more: the server ended."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, (ConnectionRefusedError, FileNotFoundError)):
        return True
    # Several addresses of one host were tried: asyncio puts what each said into one text.
    said = str(cause)
    return isinstance(cause, OSError) and said.count("[Errno ") == said.count(f"[Errno {errno.ECONNREFUSED}]") > 0
