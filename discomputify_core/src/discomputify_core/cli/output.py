"""How commands speak: answers on stdout, remarks on stderr, tables, JSON.

Here: wording of nothing, only its way out. rich is imported where a terminal shows it, never for pipes.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import click

MASK = "********"
_CONTROL = {code: "?" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def safe_streams() -> None:
    """Make stdout and stderr take any text: what a terminal cannot show comes as an escape, never as an error.

    A stream that was closed before this program started (``>&-``) takes text, too, and drops it.
    """
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    """A stream for text that nobody reads. It stays open until Python ends, as the one that it stands for would."""
    return io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8")


def harmless(text: str) -> str:
    """*text* without control characters but new lines and tabs: notes, names and reasons come from programs and
    peers, and must not steer the terminal of whoever looks at them."""
    return text.translate(_CONTROL)


def say(text: str = "") -> None:
    """A line of the answer, on stdout."""
    click.echo(harmless(text))


def note(text: str) -> None:
    """A remark, on stderr."""
    click.echo(harmless(text), err=True)


def warn(text: str) -> None:
    """A warning, on stderr."""
    note(f"warning: {text}")


def say_json(data: Any) -> None:
    """*data* as JSON, on stdout, in ASCII so that it survives any terminal and pipe."""
    click.echo(json.dumps(data, indent=2))


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether *stream* (stdout) is shown to a person."""
    return (sys.stdout if stream is None else stream).isatty()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """*rows* under *columns*, on stdout: drawn on a terminal (plain where NO_COLOR is set), aligned text in a pipe."""
    cells = [[harmless(str(cell)) for cell in row] for row in rows]
    if is_terminal():
        _drawn(columns, cells)
        return
    widths = [max(len(line[number]) for line in [list(columns), *cells]) for number in range(len(columns))]
    for line in [list(columns), *cells]:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _drawn(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # costs time to import; only people need it
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout).print(drawn)
