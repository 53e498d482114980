"""Redis servers on free loopback ports, started and ended by tests; and a way to look into them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from discomputify_core.model.memory import Limits
from discomputify_redis.memory import RedisMemory
from discomputify_redis.options import RedisOptions
from discomputify_testkit.confs import make_conf

#: Seconds within which a server starts or ends.
DEADLINE = 20.0


def find_program() -> str:
    """The program. Where it is absent the tests are skipped, but not in CI."""
    found = shutil.which("redis-server")
    if found is None and os.environ.get("CI"):
        pytest.fail("redis-server is not installed: apt-get install redis-server")
    if found is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """One server, which may be ended and started again on its port."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def bus_port(self) -> str:
        """Where servers of a cluster speak to it."""
        return self._more[self._more.index("--cluster-port") + 1]

    def start(self) -> None:
        """Start it; returns when it answers."""
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--appendonly", "no"]
        words += ["--daemonize", "no", *(() if "--save" in self._more else ("--save", "")), *self._more]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([find_program(), *words], stdout=log, stderr=log)
        until = time.monotonic() + DEADLINE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError((self.folder / "log").read_text(encoding="utf-8", errors="replace"))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
            connection.sendall(b"PING\r\n")
            return bool(connection.recv(1))
        return False

    def stop(self, kill: bool = True) -> None:
        """End it, without or with its saying goodbye. Idempotent."""
        if self._process is None:
            return
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait(DEADLINE)
        self._process = None

    def say(self, *words: str) -> bytes:
        """What it answers to one command (the first 64 KiB)."""
        return self.say_all(words)

    def say_all(self, *commands: Sequence[str]) -> bytes:
        """What it answers to the last of some commands of one connection; OK to those before."""
        answer = b"+OK\r\n"
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as connection:
            for words in commands:
                assert answer == b"+OK\r\n", answer
                parts = [f"*{len(words)}\r\n", *(f"${len(word.encode())}\r\n{word}\r\n" for word in words)]
                connection.sendall("".join(parts).encode())
                answer = connection.recv(65536)
        return answer

    def keys(self, prefix: str) -> list[str]:
        """Names of the keys that have *prefix*."""
        answer = self.say("KEYS", f"{{{prefix}}}*").decode()
        return sorted(line for line in answer.split("\r\n") if line.startswith("{"))


def options_with(options: RedisOptions, limits: Limits) -> RedisOptions:
    """*options* with other limits."""
    names = ("job_bytes", "job_entries", "value_bytes", "history_bytes", "history_rounds")
    more = {name: getattr(limits, name) for name in names}
    return RedisOptions(url=options.url, prefix=options.prefix, **more)


@contextlib.asynccontextmanager
async def client(options: RedisOptions) -> AsyncIterator[RedisMemory]:
    """A client, closed at the end."""
    memory = RedisMemory(make_conf(), options)
    try:
        yield memory
    finally:
        await memory.close()
