"""The runner process of a computing node: starts the parts, captures their streams, waits, ends what they leave.

The node starts it (runner_link.py) and speaks with it over its stdin and stdout (runner_wire.py). When stdin
ends, the node is gone: everything is killed at once. It has one thread and imports little, so that it
starts fast and may fork. Messages from the node: ``run``, ``stop``; to it: ``ready``, ``started``, ``refused``,
``ended``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection
from typing import Any, NoReturn

from discomputify_core.roles.runner import cgroup
from discomputify_core.roles.runner.cgroup import Groups
from discomputify_core.roles.runner.keeper import split_off_keeper
from discomputify_core.roles.runner.loop import Loop, SelectLoop, ThreadLoop
from discomputify_core.roles.runner.part import CannotStart, Order, Part
from discomputify_core.roles.runner.tree import SIGKILL, Claim, Tree
from discomputify_core.roles.runner.tree_linux import LinuxTree, become_subreaper
from discomputify_core.roles.runner.tree_scan import ScanTree
from discomputify_core.roles.runner.wire import Reader, pack

_SHUTDOWN_SECONDS = 3.0
_ROUND_SECONDS = 0.005


class Runner:
    """The parts of this process, and the messages about them."""

    def __init__(self, loop: Loop, tree: Tree, token: str, groups: Groups | None = None) -> None:
        self._loop = loop
        self._groups = groups
        self._tree = tree
        self._token = token
        self._reader = Reader()
        self._parts: dict[str, Part] = {}

    def serve(self) -> NoReturn:
        """Do what the node asks until it closes our stdin; then end everything and this process."""
        self._loop.read(sys.stdin.fileno(), self._from_node)
        self._send({"is": "ready", "pid": os.getpid()})
        self._loop.run()
        raise AssertionError("the loop ends only with the process")

    def watch_keeper(self, alive: int) -> None:
        """End everything when *alive* is at its end: without a keeper nobody would do it after us."""
        self._loop.read(alive, lambda data: None if data else self._shut_down())

    def _from_node(self, data: bytes) -> None:
        if not data:
            self._shut_down()
        for message in self._reader.feed(data):
            if message["do"] == "run":
                self._run(Order(**message["order"]))
            elif message["attempt"] in self._parts:
                self._parts[message["attempt"]].stop(message["grace"])

    def _run(self, order: Order) -> None:
        try:
            part = Part(self._loop, self._tree, order, self._token, self._others, self._ended, self._groups)
        except CannotStart as error:
            facts = {"fault": error.fault, "what": error.what, "path": error.path}
            self._send({"is": "refused", "attempt": order.attempt, **facts})
            return
        self._parts[order.attempt] = part
        self._send({"is": "started", "attempt": order.attempt, "pid": part.claim.pid, "at": part.started_at})

    def _others(self, part: Part) -> Collection[Claim]:
        return [other.claim for other in self._parts.values() if other is not part]

    def _ended(self, part: Part, facts: dict[str, Any]) -> None:
        del self._parts[part.claim.attempt]
        self._send({"is": "ended", "attempt": part.claim.attempt, "exit": facts})

    def _send(self, message: dict[str, Any]) -> None:
        rest = memoryview(pack(message))
        try:
            while rest:
                rest = rest[os.write(sys.stdout.fileno(), rest) :]
        except BrokenPipeError:
            self._shut_down()

    def _shut_down(self) -> NoReturn:
        """Kill every process of every part, at once, and end."""
        deadline = time.monotonic() + _SHUTDOWN_SECONDS
        while found := self._tree.everything([part.claim for part in self._parts.values()]):
            self._tree.send(found, SIGKILL)
            if time.monotonic() > deadline:
                break
            time.sleep(_ROUND_SECONDS)
        os._exit(0)


def main(token: str, loop_name: str) -> NoReturn:
    """Entry point of the process.

    Args:
        token: marks the processes of this runner's parts.
        loop_name: ``select``, or ``threads`` where pipes cannot be waited for.
    """
    if sys.platform == "win32" or loop_name == "threads":
        Runner(ThreadLoop(), ScanTree(token), token).serve()
    if not become_subreaper():
        Runner(SelectLoop(), ScanTree(token), token).serve()
    node = os.getppid()
    alive = split_off_keeper()
    become_subreaper()  # the child of a fork is none
    groups = cgroup.find((node, os.getppid(), os.getpid()))
    runner = Runner(SelectLoop(), LinuxTree(), token, groups)
    runner.watch_keeper(alive)
    runner.serve()
