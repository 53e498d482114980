"""The Gantt chart of a simulation: what ran where and when; of many nodes how busy each group of them was.

matplotlib draws it, which comes with ``pip install 'discomputify-testkit[chart]'`` and is imported when it is needed.
"""

from __future__ import annotations

from pathlib import Path

from discomputify_core.errors import BadInput
from discomputify_testkit.simulator.result import Result

#: Most nodes that have a row each, most bars; rows and columns of the chart of more.
ROWS, BARS, GROUPS, STEPS = 60, 20_000, 60, 400
COLORS = {"done": "#4c78a8", "lost": "#e45756", "stopped": "#bab0ac", "returned": "#f2cf5b"}
#: Of attempts that failed by themselves.
FAILED = "#b279a2"


def draw(result: Result, file: Path) -> None:
    """Write the chart of *result* to *file*; its suffix says how: .png, .svg, .pdf.

    Raises:
        BadInput: matplotlib is not installed, or cannot write such a file.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise BadInput(
            "--chart needs matplotlib, which is not installed here. Install it with: "
            "pip install 'discomputify-testkit[chart]'"
        ) from None
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.add_subplot()
    names = list(dict.fromkeys(name for name, *_ in result.spans))
    if len(names) <= ROWS and len(result.spans) <= BARS:
        rows = {name: at for at, name in enumerate(sorted(names, key=_in_order))}
        colors = [COLORS.get(end, FAILED) for *_, end in result.spans]
        axes.barh(
            [rows[name] for name, *_ in result.spans],
            [until - since for _, _, since, until, _ in result.spans],
            left=[since for _, _, since, _, _ in result.spans],
            height=0.8,
            color=colors,
            alpha=0.6,
        )
        axes.set_yticks(list(rows.values()), list(rows), fontsize=7)
    else:
        image = axes.imshow(
            _busy(result, sorted(names, key=_in_order)),
            aspect="auto",
            origin="lower",
            extent=(0.0, max(result.makespan, 0.001), 0.0, float(len(names))),
            cmap="viridis",
        )
        axes.set_ylabel("nodes")
        figure.colorbar(image, ax=axes, label="CPUs in use per node")
    axes.axvline(result.ideal, color="black", linestyle=":", label="ideal")
    axes.set_xlabel("seconds")
    axes.set_title(f"{result.parts:,} parts, {result.nodes:,} nodes, {result.policy}, seed {result.seed}")
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BadInput(f"The chart cannot be written to {file}: {why}.") from error


def _in_order(name: str) -> tuple[str, int]:
    """Where a node's row is: node2 before node10."""
    text = name.rstrip("0123456789")
    return text, int(name[len(text) :] or 0)


def _busy(result: Result, names: list[str]) -> list[list[float]]:
    """How many CPUs of a node are in use on average: one row for each group of nodes, one column for each step."""
    group = {name: at * GROUPS // len(names) for at, name in enumerate(names)}
    step = max(result.makespan, 0.001) / STEPS
    rows = [[0.0] * STEPS for _ in range(GROUPS)]
    sizes = [0] * GROUPS
    for at in group.values():
        sizes[at] += 1
    for name, cpus, since, until, _ in result.spans:
        row = rows[group[name]]
        for at in range(min(int(since / step), STEPS - 1), min(int(until / step), STEPS - 1) + 1):
            row[at] += cpus * max(min(until, (at + 1) * step) - max(since, at * step), 0.0) / step
    return [[value / max(size, 1) for value in row] for row, size in zip(rows, sizes, strict=True)]
