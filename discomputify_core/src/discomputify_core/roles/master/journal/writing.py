"""Writing the journal: a thread of its own that puts everything which came meanwhile on the disk with one sync.

Here: group commit, new segments, what happens while the disk is full. Not here: what is written (journal.py).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from discomputify_core.roles.master.journal import format as bytes_of
from discomputify_core.roles.master.journal.reading import segment_path
from discomputify_core.roles.master.journal.snapshots import sync_folder

log = logging.getLogger("discomputify.master")

#: Bytes after which a new segment is begun.
SEGMENT_BYTES = 4 * 1024 * 1024
#: Seconds between two tries to write to a disk that takes nothing.
AGAIN = 1.0


class Writer:
    """Writes records to a folder, in order.

    Args:
        folder: where segments are kept.
        first: the number of the next record.
        durable: called in the writer's thread with the number of the newest record that is on the disk.
        failed: called in the writer's thread with what keeps it from writing, and with "" once it goes on.
        sealed: called in the writer's thread when a segment is full and another one was begun.
    """

    def __init__(
        self,
        folder: Path,
        first: int,
        durable: Callable[[int], None],
        failed: Callable[[str], None],
        sealed: Callable[[], None],
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._folder = folder
        self._next = first
        self._durable, self._failed, self._sealed = durable, failed, sealed
        self._most = segment_bytes
        self._waiting: list[tuple[int, bytes]] = []
        self._news = threading.Condition()
        self._closing = False
        self._file = -1
        self._size = 0
        self._fault = ""
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        """Begin a new segment: what an earlier process left is never written to again.

        Raises:
            OSError: it cannot be made.
        """
        self._begin_segment(self._next)
        self._thread.start()

    def put(self, number: int, frame: bytes) -> None:
        """Let the record *number* be written; returns at once."""
        with self._news:
            self._waiting.append((number, frame))
            self._news.notify()

    def close(self, timeout: float) -> bool:
        """Write what waits, for at most *timeout* seconds, and stop; whether all is written."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive() and not self._waiting

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._waiting and not self._closing:
                    self._news.wait()
                batch, self._waiting = self._waiting, []
            if not batch:
                break
            while not self._written(batch):
                with self._news:
                    if self._closing:
                        self._waiting = batch + self._waiting
                        self._end()
                        return
                    self._news.wait(AGAIN)
            self._durable(batch[-1][0])
        self._end()

    def _end(self) -> None:
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = -1

    def _written(self, batch: list[tuple[int, bytes]]) -> bool:
        """Whether all of *batch* is on the disk; nothing of it is left there else."""
        try:
            if self._file < 0 or self._size >= self._most:
                self._begin_segment(batch[0][0])
                self._sealed()
            data = b"".join(frame for _, frame in batch)
            self._write(data)
            os.fsync(self._file)
        except OSError as error:
            self._take_back()
            self._say(error.strerror or str(error))
            return False
        self._size += len(data)
        self._say("")
        return True

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def _take_back(self) -> None:
        """Cut off what was written of a batch; where even that fails, the next try begins a new segment."""
        if self._file < 0:
            return
        try:
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
        except OSError:
            self._end()

    def _begin_segment(self, first: int) -> None:
        self._end()
        path = segment_path(self._folder, first)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        file = os.open(path, flags, 0o600)
        try:
            header = bytes_of.segment_header(first)
            os.write(file, header)
            os.fsync(file)
        except OSError:
            os.close(file)
            raise
        self._file, self._size = file, len(header)
        sync_folder(self._folder)

    def _say(self, fault: str) -> None:
        if fault != self._fault:
            self._fault = fault
            self._failed(fault)
