"""Keeps what a part writes to one stream: the first half of the cap live in the file, the last half at the end.

Runs inside the runner process, so it imports nothing heavy and holds next to nothing in memory: the last half
goes round and round in a second file that has no name. Not here: reading pipes (runner_part.py).
"""

from __future__ import annotations

import os
from pathlib import Path

TAIL_BYTES = 16 * 1024
TAIL_LINES = 50
_COPY_BYTES = 1024 * 1024
_FLAGS = os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


class Capture:
    """One stream of one attempt.

    Args:
        path: the file; made empty.
        cap: bytes that are kept at most, without the line that says how many were left out.
        keep_lines: whether :meth:`last_lines` is wanted.

    ``total`` counts every byte written by the program; ``fault`` says why the file could not be written on.

    Raises:
        OSError: *path* cannot be opened.
    """

    def __init__(self, path: str, cap: int, *, keep_lines: bool = False) -> None:
        self.total = 0
        self.fault = ""
        self._path = path
        self._file = os.open(path, _FLAGS | os.O_WRONLY | os.O_TRUNC, 0o600)
        self._room = cap // 2
        self._ring: int | None = None
        self._ring_size = cap - cap // 2
        self._ring_total = 0
        self._keep_lines = keep_lines
        self._lines = bytearray()

    def write(self, data: bytes) -> None:
        """Keep *data*, or the newest of it. A full disk ends the keeping, never the part."""
        self.total += len(data)
        if self._keep_lines:
            self._lines += data[-TAIL_BYTES:]
            if len(self._lines) > 2 * TAIL_BYTES:
                del self._lines[:-TAIL_BYTES]
        if self.fault:
            return
        try:
            if self._room:
                head, data = data[: self._room], data[self._room :]
                _write_all(self._file, head)
                self._room -= len(head)
            if data:
                self._write_ring(data)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Put the last half behind the first, with a mark where bytes are missing. Idempotent."""
        if self._file < 0:
            return
        if not self.fault:
            try:
                self._append_ring()
            except OSError as error:
                self._give_up(error)
        os.close(self._file)
        self._file = -1
        if self._ring is not None:
            os.close(self._ring)
            self._ring = None

    def last_lines(self) -> str:
        """The last lines, at most TAIL_LINES and TAIL_BYTES of them, as text."""
        text = bytes(self._lines[-TAIL_BYTES:]).decode("utf-8", "replace").rstrip("\r\n")
        return "\n".join(text.split("\n")[-TAIL_LINES:])

    def _write_ring(self, data: bytes) -> None:
        self._ring_total += len(data)
        if not self._ring_size:
            return
        if self._ring is None:
            self._ring = _open_nameless(self._path + ".tail")
        newest = data[-self._ring_size :]
        start = (self._ring_total - len(newest)) % self._ring_size
        before_end = self._ring_size - start
        _write_all(self._ring, newest[:before_end], start)
        if len(newest) > before_end:
            _write_all(self._ring, newest[before_end:], 0)

    def _append_ring(self) -> None:
        left_out = max(0, self._ring_total - self._ring_size)
        if left_out:
            mark = f"\n[discomputify: {left_out:,} bytes of output were left out here]\n"
            _write_all(self._file, mark.encode())
        if self._ring is None:
            return
        if left_out:
            turn = self._ring_total % self._ring_size
            self._copy_ring(turn, self._ring_size)
            self._copy_ring(0, turn)
        else:
            self._copy_ring(0, self._ring_total)

    def _copy_ring(self, start: int, end: int) -> None:
        assert self._ring is not None
        os.lseek(self._ring, start, os.SEEK_SET)
        while start < end:
            data = os.read(self._ring, min(_COPY_BYTES, end - start))
            if not data:
                raise OSError(f"{self._path}.tail is shorter than what was written to it")
            _write_all(self._file, data)
            start += len(data)

    def _give_up(self, error: OSError) -> None:
        self.fault = f"The log {self._path} could not be written: {error.strerror or error}."


def _open_nameless(path: str) -> int:
    """A fresh file that goes away when it is closed, also when this process is killed."""
    Path(path).unlink(missing_ok=True)
    delete_on_close = getattr(os, "O_TEMPORARY", 0)
    file = os.open(path, _FLAGS | os.O_RDWR | os.O_EXCL | delete_on_close, 0o600)
    if not delete_on_close:
        Path(path).unlink()
    return file


def _write_all(file: int, data: bytes, at: int | None = None) -> None:
    if at is not None:
        os.lseek(file, at, os.SEEK_SET)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
