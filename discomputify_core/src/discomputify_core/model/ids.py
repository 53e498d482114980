"""Identifiers. Here: their types and what is allowed in them. Not here: how they are made up."""

from __future__ import annotations

import re
from typing import NewType

from discomputify_core.errors import BadInput

ProcessId = NewType("ProcessId", str)
"""The user's name of a job, unique in a cluster until it is cleared."""

AttemptId = NewType("AttemptId", str)
"""One try to run one part: ``PROCESS_ID.PART.ATTEMPT.KEY``, KEY being the job's own random key.
Opaque: nobody but :func:`job_of` takes it apart."""

NodeName = NewType("NodeName", str)

MAX_PARTS = 10_000_000
MAX_NAME = 128

_PROCESS_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_NODE_NAME = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9._:\[\]%-]*", re.ASCII)
_WINDOWS_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))]
)


def reserved_on_windows(name: str) -> bool:
    """Whether *name*, with or without an extension, is a device on Windows (CON, NUL, COM1…)."""
    return name.split(".")[0].rstrip(" ").lower() in _WINDOWS_DEVICES


def check_process_id(text: str) -> ProcessId:
    """*text* as a process id.

    Letters, digits, ``.``, ``_`` and ``-``; at most 128; no ``..``; usable as a folder name everywhere.

    Raises:
        BadInput: says what is wrong with it.
    """
    shown = repr(text if len(text) <= 40 else text[:40] + "…")
    if not text:
        raise BadInput("PROCESS_ID is empty.")
    if len(text) > MAX_NAME:
        raise BadInput(f"PROCESS_ID {shown} has {len(text)} characters; at most {MAX_NAME} are allowed.")
    if not _PROCESS_ID.fullmatch(text) or ".." in text or text.endswith(".") or reserved_on_windows(text):
        raise BadInput(
            f"PROCESS_ID {shown} cannot be used: letters, digits, '.', '_' and '-' are allowed, "
            "starting with a letter, digit or '_', without '..' and not a reserved name such as NUL."
        )
    return ProcessId(text)


def check_parts(parts: int) -> int:
    """*parts* if it is a number of parts that a job may have, 1 to 10 million.

    Raises:
        BadInput: otherwise.
    """
    if not 1 <= parts <= MAX_PARTS:
        raise BadInput(f"--parts {parts}: a job has 1 to {MAX_PARTS:,} parts.")
    return parts


def check_node_name(text: str) -> NodeName:
    """*text* as a node's name: a host name, an address, or anything like them.

    Raises:
        BadInput: says what is wrong with it.
    """
    if len(text) > MAX_NAME or not _NODE_NAME.fullmatch(text):
        raise BadInput(
            f"node name {text[:40]!r} cannot be used: letters, digits, '.', '_', '-', ':' are allowed, "
            f"at most {MAX_NAME} of them."
        )
    return NodeName(text)


def attempt_id(process_id: str, part: int, number: int, key: str) -> AttemptId:
    """The id of the *number*-th attempt (from 1) of *part* of the job with random *key*."""
    return AttemptId(f"{process_id}.{part}.{number}.{key}")


def job_of(attempt: str) -> ProcessId:
    """The job that :func:`attempt_id` made *attempt* for."""
    return ProcessId(attempt.rsplit(".", 3)[0])
