"""Processes of attempts by looking at all processes of the machine, where nobody adopts orphans.

A process is an attempt's when it is below its main process, in its session, or has its marks in the environment. A
daemon that gives up all three escapes; only Linux (runner_tree_linux.py) can hold it. psutil is imported when
first needed: the usual runner does without.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterable

from discomputify_core.roles.runner.tree import ATTEMPT_MARK, RUNNER_MARK, SIGKILL, Claim, Tree, Usage

_ROUND_SECONDS = 0.02


def _session(pid: int) -> int:
    getsid: Callable[[int], int] | None = getattr(os, "getsid", None)
    if getsid is None:
        return -1
    try:
        return getsid(pid)
    except OSError:
        return -1


def scan(is_seed: Callable[[int, dict[str, str]], bool]) -> set[int]:
    """Living processes that *is_seed* (pid, environment) says yes to, and everything below them; never this one."""
    import psutil

    below: dict[int, list[int]] = {}
    living: set[int] = set()
    todo: list[int] = []
    for process in psutil.process_iter(["ppid", "status", "environ"]):
        below.setdefault(process.info["ppid"], []).append(process.pid)
        if process.info["status"] != psutil.STATUS_ZOMBIE:
            living.add(process.pid)
        if is_seed(process.pid, process.info["environ"] or {}):
            todo.append(process.pid)
    found: set[int] = set()
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += below.get(pid, [])
    return (found & living) - {os.getpid()}


def kill_marked(token: str, seconds: float = 3.0) -> int:
    """End every process that the runner called *token* left behind; how many there were.

    For the node, after its runner was killed. Blocks up to *seconds*.
    """
    deadline = time.monotonic() + seconds
    killed: set[int] = set()
    while found := scan(lambda _, environment: environment.get(RUNNER_MARK) == token):
        send(found, SIGKILL)
        killed |= found
        if time.monotonic() > deadline:
            break
        time.sleep(_ROUND_SECONDS)
    return len(killed)


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to *pids*; those that are gone or not ours are left alone."""
    import psutil

    for pid in pids:
        try:
            psutil.Process(pid).send_signal(number)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


class ScanTree(Tree):
    """See the module.

    Args:
        token: the mark of this runner's parts: other runners on this machine may know attempts of the same name.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def born(self, pid: int) -> float:
        """See :meth:`Tree.born`. Not needed: nobody without a sign is found here."""
        return 0.0

    def belonging(self, claim: Claim, others: Collection[Claim]) -> set[int]:
        """See :meth:`Tree.belonging`."""
        return self.everything([claim])

    def everything(self, claims: Iterable[Claim]) -> set[int]:
        """See :meth:`Tree.everything`."""
        by_pid = {claim.pid: claim for claim in claims}
        attempts = {claim.attempt for claim in by_pid.values()}

        def is_seed(pid: int, environment: dict[str, str]) -> bool:
            main = by_pid.get(pid)
            return (
                (main is not None and main.alive)
                or (environment.get(RUNNER_MARK) == self._token and environment.get(ATTEMPT_MARK) in attempts)
                or _session(pid) in by_pid
            )

        return scan(is_seed)

    def send(self, pids: Iterable[int], number: signal.Signals) -> None:
        """See :meth:`Tree.send`."""
        send(pids, number)

    def below(self, claim: Claim) -> set[int]:
        """See :meth:`Tree.below`."""
        import psutil

        try:
            return {claim.pid, *(child.pid for child in psutil.Process(claim.pid).children(recursive=True))}
        except psutil.Error:
            return {claim.pid}

    def usage(self, pids: Iterable[int]) -> Usage:
        """See :meth:`Tree.usage`."""
        import psutil

        seconds, memory = 0.0, 0
        for pid in pids:
            try:
                process = psutil.Process(pid)
                with process.oneshot():
                    seconds += sum(process.cpu_times()[:4])  # user, system, and both of children where they are told
                    memory += process.memory_info().rss
            except psutil.Error:
                continue
        return Usage(seconds, memory)
