"""Results as text for people and as plain data for ``--json``."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from discomputify_core.client.deaths import died, facts, when
from discomputify_core.model.job import AttemptReport, JobStatus, PartCounts
from discomputify_core.model.node import NodeStatus
from discomputify_core.model.sizes import memory_size, size

__all__ = [
    "counted",
    "counts_line",
    "death_lines",
    "failure_lines",
    "job_lines",
    "memory_size",
    "node_rows",
    "plain",
    "size",
    "when",
]


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


def job_lines(status: JobStatus) -> Iterable[str]:
    """A job's status, a fact per line."""
    yield f"{status.process_id}: {status.state.value}, {counts_line(status.parts)}"
    if status.reason:
        yield f"  reason     {status.reason}"
    yield f"  submitted  {when(status.submitted_at)} by {status.owner}"
    if status.ended_at:
        yield f"  ended      {when(status.ended_at)} ({status.ended_at - status.submitted_at:.1f} s)"
    if status.tree_bytes or status.output_bytes:
        yield f"  size       program {size(status.tree_bytes)}, outputs and logs {size(status.output_bytes)}"
    if len(status.trees) > 1:
        yield "  programs   " + "; ".join(
            f"{_short(tree)} made {counted(count, 'part')}" for tree, count in status.trees
        )
    if status.nodes:
        yield "  done on    " + ", ".join(f"{name}: {count}" for name, count in sorted(status.nodes.items()))
    if not status.ended and (status.note or status.progress):
        yield f"  progress   {status.progress:.0%} {status.note}".rstrip()
    for warning in status.warnings:
        yield f"  warning    {warning}"
    yield from failure_lines(status)


def failure_lines(status: JobStatus) -> Iterable[str]:
    """The newest attempts that did not end well, and the last lines that each wrote to stderr."""
    for report in status.failures[-5:]:
        yield from _death(report, 10)


def death_lines(attempts: Sequence[AttemptReport]) -> Iterable[str]:
    """Of one part, the attempts that did not end well; of the last one all that is known of its stderr."""
    dead = [report for report in attempts if died(report)]
    for report in dead:
        yield from _death(report, 50 if report is dead[-1] else 10)


def _death(report: AttemptReport, lines: int) -> Iterable[str]:
    yield f"  part {report.part}, attempt {report.number} on {report.node}: {report.reason or report.end}"
    known = facts(report)
    if known:
        yield f"    {known}"
    for line in report.stderr_tail.splitlines()[-lines:]:
        yield f"    | {line}"


def _short(digest: str) -> str:
    """Enough of a digest to tell it from others."""
    algorithm, _, value = digest.rpartition(":")
    return f"{algorithm}:{value[:12]}" if algorithm else value[:12]


def _state(node: NodeStatus) -> str:
    """A node's state, and what else keeps parts off it."""
    more = [word for word, is_so in (("drained", node.drained), ("paused", node.load.paused)) if is_so]
    return ", ".join([node.state, *more])


def _reason(node: NodeStatus) -> str:
    paused = node.load.paused
    return "; ".join(filter(None, (node.reason, "" if paused in node.reason else paused)))


def node_rows(nodes: Sequence[NodeStatus]) -> list[list[str]]:
    """Rows of the table of nodes."""
    return [
        [
            node.name,
            _state(node),
            f"{node.running}/{node.slots}",
            f"{node.load.CPU_LOAD:.0f} %",
            f"{node.load.MEM_LOAD:.0f} %",
            f"{node.load.MEM_USED:.1f} GB",
            node.address,
            _reason(node),
        ]
        for node in nodes
    ]
