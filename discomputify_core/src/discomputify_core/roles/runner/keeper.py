"""The keeper: on Linux, a process between the node and the runner that outlives the runner by a moment.

If the runner is killed, the kernel hands all it looked after to the keeper, which ends them and then itself. The
keeper holds the runner's output pipe until then: when the node reads its end, no process of any part is left.
It is forked from the runner, shares its memory, and does nothing but wait. Not here: parts.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from discomputify_core.roles.runner.tree_linux import everything_below_me, send

_ROUND_SECONDS = 0.005
_KILL_SECONDS = 10.0


def split_off_keeper() -> int:
    """Fork: the calling process, a subreaper, becomes the keeper and never returns; its child, the runner, does.

    Returns:
        A file descriptor that reaches its end when the keeper is gone.
    """
    alive, held = os.pipe()
    runner = os.fork()
    if runner == 0:
        os.close(held)
        return alive
    os.close(alive)
    os.close(sys.stdin.fileno())
    os._exit(_keep(runner))


def _keep(runner: int) -> int:
    _, status = os.waitpid(runner, 0)
    _end_everything(_KILL_SECONDS)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _end_everything(seconds: float) -> None:
    """Kill all descendants of this process, again and again until none is left or *seconds* are over."""
    deadline = time.monotonic() + seconds
    while found := everything_below_me():
        send(found, signal.SIGKILL)
        if time.monotonic() > deadline:
            break
        time.sleep(_ROUND_SECONDS)
