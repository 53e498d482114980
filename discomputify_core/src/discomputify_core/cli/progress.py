"""Live progress of a submit: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from discomputify_core.cli.output import harmless, note
from discomputify_core.cli.shown import counts_line, size
from discomputify_core.client.away import Away
from discomputify_core.edge import clock
from discomputify_core.model.job import JobStatus

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Seconds between two plain lines.
LINE_GAP = 2.0


def away_line(away: Away) -> str:
    """What is said of a service that went away while a command waits for it, or that is back."""
    if away.back:
        return f"the {away.role} at {away.address} is back"
    since = time.strftime("%H:%M:%S", time.localtime(away.since))
    return f"the {away.role} at {away.address} is away since {since}; waiting (Ctrl-C detaches)"


class Display:
    """What a submit shows while it runs, on stderr. A context manager.

    Args:
        quiet: show nothing (``--json``).
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bars: Progress | None = None
        self._upload: TaskID | None = None
        self._parts: TaskID | None = None
        self._last_line = ""
        self._last_at = clock.now()

    def __enter__(self) -> Display:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[said]}", markup=False),
                TimeRemainingColumn(),
            )
            self._bars = Progress(*columns, console=Console(stderr=True))
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        if not self._quiet:
            if self._bars:
                self._bars.console.print(harmless(line), markup=False, highlight=False)
            else:
                note(line)

    def away(self, away: Away) -> None:
        """A service that is waited for went away, or is back."""
        self.say(away_line(away))

    def uploading(self, total: int) -> None:
        """An upload of at most *total* bytes begins."""
        if self._bars:
            self._upload = self._bars.add_task("upload", total=total, said=f"0 B of {size(total)}")

    def uploaded(self, count: int) -> None:
        """*count* more bytes were sent."""
        if self._bars and self._upload is not None:
            self._bars.advance(self._upload, count)
            task = self._bars.tasks[0]
            self._bars.update(self._upload, said=f"{size(int(task.completed))} of {size(int(task.total or 0))}")

    def upload_ended(self) -> None:
        """Everything is in the store."""
        if self._bars and self._upload is not None:
            self._bars.update(self._upload, visible=False)

    def job(self, status: JobStatus) -> None:
        """The job changed."""
        parts = status.parts
        said = counts_line(parts) + (f" ({harmless(status.note)})" if status.note else "")
        if self._bars:
            if self._parts is None:
                self._parts = self._bars.add_task("parts", total=parts.total, said=said)
            ended = parts.done + parts.failed + parts.stopped + status.progress * (parts.running + parts.placed)
            waits = "" if parts.running else harmless(status.reason)
            self._bars.update(self._parts, completed=ended, said=waits or said)
            return
        if status.ended:  # the command's own last words say it
            return
        line = said if parts.running or parts.placed or not status.reason else f"{said}; {status.reason}"
        if line != self._last_line and clock.now() - self._last_at >= LINE_GAP:
            self._last_line, self._last_at = line, clock.now()
            self.say(line)
