"""A node's connection to one runner process: start it, exchange messages, notice its end.

Not here: attempts (runner.py), what runs inside the process (runner_process.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from discomputify_core.errors import DiscomputifyError
from discomputify_core.roles.runner.tree import SIGKILL
from discomputify_core.roles.runner.tree_scan import kill_marked
from discomputify_core.roles.runner.wire import Reader, pack

#: An interpreter on a very busy machine may take a while to start.
START_SECONDS = 30.0
#: Killing all parts takes milliseconds; the runner itself gives up after three seconds, its keeper after ten.
END_SECONDS = 15.0
_READ_BYTES = 64 * 1024
_PATHS = "DISCOMPUTIFY_RUNNER_PATHS"

# -I: PYTHON* variables and the current folder cannot change what the runner imports. It gets this process's own
# import path, so that it finds this very package, wherever it is installed.
_BOOT = (
    "import os, sys; "
    f"sys.path[:] = os.environ.pop({_PATHS!r}).split(os.pathsep); "
    "from discomputify_core.roles.runner.process import main; main(*sys.argv[2:])"
)


class Link:
    """One runner process.

    Args:
        on_message: called with each message except the first, ``ready``.
        on_lost: called once with a sentence when the process has ended without having been asked to; no process
            of any part is left then.
        threads: let the runner wait for pipes with threads, as Windows needs.
    """

    def __init__(
        self,
        on_message: Callable[[dict[str, Any]], None],
        on_lost: Callable[[Link, str], None],
        *,
        threads: bool,
    ) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._threads = threads
        self._token = secrets.token_hex(16)
        self._process: Process | None = None
        self._listener: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[int] | None = None
        self._closing = False
        #: Whether nothing can be sent any more.
        self.lost = False
        #: The runner's own processes: its keeper if it has one, and the runner.
        self.pids: tuple[int, ...] = ()

    async def open(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            DiscomputifyError: it does not start.
        """
        self._ready = asyncio.get_running_loop().create_future()
        try:
            self._process = await _spawn(self._token, "threads" if self._threads else "select")
        except OSError as error:
            self.lost = True
            raise DiscomputifyError(
                f"The process that runs parts cannot be started with {sys.executable!r}: {error.strerror or error}."
            ) from error
        self._listener = asyncio.create_task(self._listen(self._process))
        try:
            pid = await asyncio.wait_for(asyncio.shield(self._ready), START_SECONDS)
        except asyncio.TimeoutError:
            await self.close()
            raise DiscomputifyError(
                f"The process that runs parts did not start within {START_SECONDS:.0f} s."
            ) from None
        except BaseException:
            await self.close()
            raise
        self.pids = (pid,) if pid == self._process.pid else (self._process.pid, pid)

    def send(self, message: Mapping[str, object]) -> None:
        """Send *message*. Nothing happens if the process is lost; ``on_lost`` tells.

        Raises:
            MessageTooLong: see runner_wire.py.
        """
        data = pack(message)
        if self._process is not None and self._process.stdin is not None and not self.lost:
            self._process.stdin.write(data)

    def kill(self) -> None:
        """End a process that does not answer; ``on_lost`` follows. A keeper stays to end what it leaves."""
        with contextlib.suppress(ProcessLookupError):
            if len(self.pids) > 1:
                os.kill(self.pids[-1], SIGKILL)
            elif self._process is not None:
                self._process.kill()

    async def close(self) -> None:
        """Make the runner kill all parts and end. Idempotent."""
        self._closing = True
        if self._process is None or self._listener is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        done, _ = await asyncio.wait([self._listener], timeout=END_SECONDS)
        if not done:
            self.kill()
            await asyncio.wait([self._listener], timeout=END_SECONDS)

    async def _listen(self, process: Process) -> None:
        reader = Reader()
        assert process.stdout is not None
        try:
            while data := await process.stdout.read(_READ_BYTES):
                for message in reader.feed(data):
                    self._handle(message)
        except ValueError:
            # Something else wrote to the pipe: the runner's messages cannot be read any more.
            self.kill()
        self.lost = True
        code = await _burial(process)
        why = f"The process that runs this node's parts ended unexpectedly (exit code {code}); a new one is started."
        if not self._closing:
            await asyncio.to_thread(kill_marked, self._token)
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(
                DiscomputifyError(f"The process that runs parts did not start (exit code {code}).")
            )
            self._ready.exception()  # read here once: the one who waits may have given up
        self._on_lost(self, why)

    def _handle(self, message: dict[str, Any]) -> None:
        if message["is"] != "ready":
            self._on_message(message)
        elif self._ready is not None and not self._ready.done():
            self._ready.set_result(message["pid"])


async def _spawn(token: str, loop_name: str) -> Process:
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows only
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-c",
        _BOOT,
        "discomputify-runner",
        token,
        loop_name,
        stdin=PIPE,
        stdout=PIPE,
        env={**os.environ, _PATHS: _import_path()},
        # Ctrl-C in the node's terminal is for the node, which then ends the runner in order.
        start_new_session=True,
        creationflags=flags,
    )


def _import_path() -> str:
    return os.pathsep.join(str(Path(path).absolute()) for path in sys.path if path)


async def _burial(process: Process) -> int:
    """The exit code of a process that closed its output; one that does not end is killed."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        return await asyncio.wait_for(process.wait(), END_SECONDS)
    except asyncio.TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()
