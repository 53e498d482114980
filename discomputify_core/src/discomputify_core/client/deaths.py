"""Attempts that did not end well, in words, and the exception that says how a job failed.

Not here: finding out (roles/node/death.py, cluster/), tables and colours (cli/).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import attrs

from discomputify_core.errors import JobFailed
from discomputify_core.model.job import AttemptReport, End, JobStatus
from discomputify_core.model.sizes import memory_size

#: Ends that need no report: what runs, and what ended well.
_WELL = ("", "placed", "running", End.DONE.value)


def died(report: AttemptReport) -> bool:
    """Whether an attempt has ended, and not well."""
    return report.end not in _WELL


def facts(report: AttemptReport) -> str:
    """When an attempt ran, how it ended and what it used, in a line; "" if nothing is known of that."""
    return ", ".join(_facts(report))


def _facts(report: AttemptReport) -> Iterator[str]:
    if report.started_at and report.ended_at:
        seconds = max(report.ended_at - report.started_at, 0.0)
        yield f"{when(report.started_at)} to {when(report.ended_at)} ({seconds:.1f} s)"
    elif report.ended_at:
        yield f"ended {when(report.ended_at)}"
    if report.end == End.EXIT.value and f"exit code {report.code}" not in report.reason:
        yield f"exit code {report.code}"
    elif report.end == End.SIGNAL.value:
        yield f"signal {report.code}"
    if report.cpu_seconds:
        yield f"CPU time {report.cpu_seconds:.1f} s"
    if report.peak_memory:
        yield f"peak memory {memory_size(report.peak_memory)}"


def job_failed(status: JobStatus) -> JobFailed:
    """The exception for a job that ended, and not with all parts done.

    Its ``fields``: ``process_id``, ``state``, ``parts`` (counts) and ``failures``, the newest attempts that did not
    end well, newest last, each with ``part``, ``number``, ``node``, ``end``, ``code``, ``reason``, ``started_at``,
    ``ended_at``, ``cpu_seconds``, ``peak_memory``, ``stderr_tail``…
    """
    said = [f"'{status.process_id}' is {status.state.value}: {status.reason}"]
    for report in status.failures[-1:]:
        known = facts(report)
        said.append(f"Part {report.part}, attempt {report.number} on {report.node}" + (f": {known}" if known else ""))
        said += [f"| {line}" for line in report.stderr_tail.splitlines()[-10:]]
    fields: dict[str, Any] = {
        "process_id": status.process_id,
        "state": status.state.value,
        "parts": attrs.asdict(status.parts),
        "failures": [attrs.asdict(report) for report in status.failures],
    }
    return JobFailed("\n".join(said), **fields)


def when(seconds: float | None) -> str:
    """Unix time for people, in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "-"
