"""Ends this process in order when somebody presses Enter: a line on stdin does what SIGTERM does.

Only lines count, and only from a terminal that shows this process in its foreground, or from a pipe: roles run in the
background, from service managers and with stdin closed, too. Not here: what the process does when it is told to end.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
import threading
import time

#: Seconds between two looks at what no event announces: this process coming to the foreground, its being ready to end.
LOOK = 0.1
#: Bytes read at once.
PIECE = 4096


def end_on_a_line() -> None:
    """Begin to watch stdin, if it is a terminal or a pipe; whoever handles SIGTERM may do so later."""
    if sys.stdin is None:  # closed
        return
    try:
        descriptor = sys.stdin.fileno()
        terminal = os.isatty(descriptor)
        if not (terminal or stat.S_ISFIFO(os.fstat(descriptor).st_mode)):
            return
    except (OSError, ValueError):  # not a file at all
        return
    # A daemon: what it waits for may never come, and nothing is lost when Python ends meanwhile.
    threading.Thread(target=_watch, args=(descriptor, terminal), name="enter-key", daemon=True).start()


def _watch(descriptor: int, terminal: bool) -> None:
    if sys.platform != "win32":
        # Reading a terminal from the background would stop this process; where the signal is blocked, it is an error.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTIN})
    try:
        if _line(descriptor, terminal):
            _end()
    except OSError:
        return  # the terminal went away: nobody can press Enter any more


def _line(descriptor: int, terminal: bool) -> bool:
    """Wait for a line; False at the end of the file."""
    while True:
        piece = _piece(descriptor, terminal)
        if piece is None:
            time.sleep(LOOK)
        elif not piece:
            return False
        elif b"\n" in piece:
            return True


def _piece(descriptor: int, terminal: bool) -> bytes | None:
    """What there is to read, as soon as there is something; None if it is meant for somebody else."""
    if sys.platform == "win32":
        return os.read(descriptor, PIECE)
    select.select([descriptor], [], [])
    if not terminal:
        return os.read(descriptor, PIECE)
    if os.tcgetpgrp(descriptor) != os.getpgrp():
        return None
    try:
        return os.read(descriptor, PIECE)
    except OSError:  # sent to the background this very moment
        return None


def _end() -> None:
    """Send SIGTERM to this process once somebody handles it: before, it would end at once and in disorder."""
    while signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signal.SIG_IGN, None):
        time.sleep(LOOK)
    signal.raise_signal(signal.SIGTERM)
