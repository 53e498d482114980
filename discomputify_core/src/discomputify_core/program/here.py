"""Which part this process is: what its computing node wrote into the environment, and nothing else."""

from __future__ import annotations

import os

from discomputify_core.errors import NotInAPart


def variable(name: str) -> str:
    """The variable ``DISCOMPUTIFY_<name>`` that the computing node set.

    Raises:
        NotInAPart: it is not there.
    """
    value = os.environ.get("DISCOMPUTIFY_" + name)
    if value is None:
        raise NotInAPart(
            f"This program does not run as a part of a job (DISCOMPUTIFY_{name} is not set). "
            "Start it with 'discomputify submit DIR --local' to run it on this machine, "
            "or with 'discomputify submit DIR' to run it on a cluster; DIR is the folder of main.py.",
            variable="DISCOMPUTIFY_" + name,
        )
    return value


def number(name: str) -> int:
    """The variable ``DISCOMPUTIFY_<name>`` as a number above 0.

    Raises:
        NotInAPart: it is not there, or not a number.
    """
    text = variable(name)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise NotInAPart(
            f"DISCOMPUTIFY_{name} is {text!r} and not a number above 0. "
            "Computing nodes set it; remove whatever else sets it in your environment.",
            variable="DISCOMPUTIFY_" + name,
        )
    return int(text)


def part() -> int:
    """Which part of the job this is, counted from 1.

    Raises:
        NotInAPart: this process is not a part of a job.
    """
    return number("PART")


def total_parts() -> int:
    """How many parts the job has.

    Raises:
        NotInAPart: this process is not a part of a job.
    """
    return number("TOTAL_PARTS")


def process_id() -> str:
    """The job's PROCESS_ID.

    Raises:
        NotInAPart: this process is not a part of a job.
    """
    return variable("PROCESS_ID")


def attempt() -> int:
    """Which try of this part this is: 1, and more after a failure or the loss of a node.

    Raises:
        NotInAPart: this process is not a part of a job.
    """
    return number("ATTEMPT")
