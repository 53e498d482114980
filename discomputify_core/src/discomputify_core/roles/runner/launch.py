"""What a node asks its runner to run, and how that ended, as values. Not here: processes, pipes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from discomputify_core.errors import BadConf, BadInput, DiscomputifyError, DiskError
from discomputify_core.model.ids import AttemptId

#: Bytes kept of each stream of an attempt, unless the node asks for another number.
DEFAULT_CAP = 16 * 1024 * 1024


@attrs.frozen
class Launch:
    """One attempt to run.

    ``env`` is the program's whole environment; DISCOMPUTIFY_ATTEMPT_ID and DISCOMPUTIFY_RUNNER are added to it.
    ``out`` and ``err`` receive its streams while it runs, at most ``cap`` bytes of each; ``cwd`` and the
    folders of ``out`` and ``err`` exist. ``time_limit`` (seconds) and ``memory_limit`` (bytes, of all its processes
    together) are kept by the runner; 0: none.
    """

    attempt: AttemptId
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    out: Path
    err: Path
    cap: int = DEFAULT_CAP
    time_limit: float = 0.0
    memory_limit: int = 0


@attrs.frozen
class Exit:
    """How an attempt's program ended. No process of it is left."""

    attempt: AttemptId
    code: int = 0
    #: Number of the signal that ended it, 0 for none.
    signal: int = 0
    #: Why nothing is known of its end: the runner itself was lost.
    broken: str = ""
    #: Whether somebody asked to stop it before it ended.
    stopped: bool = False
    #: Bytes that the program wrote, also what was left out of the files.
    out_bytes: int = 0
    err_bytes: int = 0
    #: The last lines of stderr.
    stderr_tail: str = ""
    #: Why a stream could not be kept whole (a full disk); "" if it was.
    log_fault: str = ""
    #: Unix time.
    started_at: float = 0.0
    ended_at: float = 0.0
    #: Processes that outlived the main one and were killed.
    leftovers: int = 0
    #: Of the main process and the children that it waited for, or of all of them when they were looked at, whichever
    #: is more; 0 where the system does not say. Linux counts the few megabytes of the runner into the memory of a
    #: small program.
    cpu_seconds: float = 0.0
    peak_rss: int = 0
    #: Which limit it was ended for: "time", "memory", or "".
    limit: str = ""
    #: Bytes of memory that were over the limit; 0 where the kernel ended it.
    over: int = 0


def order_of(launch: Launch) -> dict[str, Any]:
    """*launch* as plain data for the runner. Relative paths are meant from the node's current folder."""
    return {
        "attempt": launch.attempt,
        "argv": list(launch.argv),
        "cwd": str(launch.cwd.absolute()),
        "env": dict(launch.env),
        "out": str(launch.out.absolute()),
        "err": str(launch.err.absolute()),
        "cap": launch.cap,
        "time_limit": launch.time_limit,
        "memory_limit": launch.memory_limit,
    }


def refusal(fault: str, what: str, path: str) -> DiscomputifyError:
    """The error for a program that the runner could not start.

    Args:
        fault: ``program``, ``folder``, ``log``, ``arguments`` or ``machine``.
        what: what the system said.
        path: the interpreter, folder or file that it is about.
    """
    if fault == "program":
        problem = (
            f"PYTHON: the interpreter for parts, {path}, cannot be started: {what}. "
            "Set PYTHON in this node's conf to a Python that exists here, or leave it out to use the node's own."
        )
        return BadConf(problem, problems=[problem], path=path)
    if fault == "folder":
        return DiskError(f"The work folder {path} of the part cannot be used: {what}.", path=path)
    if fault == "log":
        return DiskError(f"The log file {path} of the part cannot be written: {what}.", path=path)
    if fault == "arguments":
        return BadInput(
            f"The arguments and environment of the part cannot be given to a program: {what}. "
            "Pass less, or put the data into an input file."
        )
    return DiscomputifyError(
        f"This machine could not start another process: {what}. Its limits of processes, files or memory are reached."
    )
