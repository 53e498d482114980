"""Results as text for people and as plain data for ``--json``."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from discomputify_core.cluster.why import memory_size, size
from discomputify_core.model.job import JobStatus, PartCounts
from discomputify_core.model.node import NodeStatus

__all__ = ["counted", "counts_line", "job_lines", "memory_size", "node_rows", "plain", "size"]


def plain(value: Any) -> Any:
    """*value* as data for JSON, every field of it."""
    if attrs.has(type(value)):
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def counted(count: int, what: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def counts_line(parts: PartCounts) -> str:
    """``12 of 24 parts done, 4 running, 1 failed``."""
    said = [f"{parts.done} of {parts.total} parts done"]
    under_way = parts.running + parts.placed
    for count, word in ((under_way, "running"), (parts.failed, "failed"), (parts.stopped, "stopped")):
        if count:
            said.append(f"{count} {word}")
    return ", ".join(said)


def when(seconds: float | None) -> str:
    """Unix time for people, in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "-"


def job_lines(status: JobStatus) -> Iterable[str]:
    """A job's status, a fact per line."""
    yield f"{status.process_id}: {status.state.value}, {counts_line(status.parts)}"
    if status.reason:
        yield f"  reason     {status.reason}"
    yield f"  submitted  {when(status.submitted_at)} by {status.owner}"
    if status.ended_at:
        yield f"  ended      {when(status.ended_at)} ({status.ended_at - status.submitted_at:.1f} s)"
    if status.nodes:
        yield "  done on    " + ", ".join(f"{name}: {count}" for name, count in sorted(status.nodes.items()))
    if not status.ended and (status.note or status.progress):
        yield f"  progress   {status.progress:.0%} {status.note}".rstrip()
    for warning in status.warnings:
        yield f"  warning    {warning}"
    yield from failure_lines(status)


def failure_lines(status: JobStatus) -> Iterable[str]:
    """The newest failed attempts, and the last lines that each wrote to stderr."""
    for report in status.failures[-5:]:
        yield f"  part {report.part}, attempt {report.number} on {report.node}: {report.reason}"
        for line in report.stderr_tail.splitlines()[-10:]:
            yield f"    | {line}"


def node_rows(nodes: Sequence[NodeStatus]) -> list[list[str]]:
    """Rows of the table of nodes."""
    return [
        [
            node.name,
            node.state,
            f"{node.running}/{node.slots}",
            f"{node.load.CPU_LOAD:.0f} %",
            f"{node.load.MEM_LOAD:.0f} %",
            f"{node.load.MEM_USED:.1f} GB",
            node.address,
            node.reason,
        ]
        for node in nodes
    ]
